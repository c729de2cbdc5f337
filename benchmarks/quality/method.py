"""A method: a grid of settings, what is prepared once for a problem, and a loss to train heads with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby, product

import torch
from torch import Tensor

from benchmarks.quality.head import STEPS, Head, Objective, one_by_one, train_heads
from benchmarks.quality.prepared import Prepared, uniform
from benchmarks.quality.problems import Problem
from hf_otw.losses import CrossEntropy, ExampleLoss

Setting = dict[str, float]
#: The same for every method. Closer together where labels are wrong: there the best of them lies.
PENALTIES = (1e-3, 1e-2, 1e-1, 0.5, 2.0, 10.0)
#: Of settings that do as well on the rows held out, the one whose penalty is nearest to this.
MIDDLE_PENALTY = 0.1
META_BATCH = 8  # of the default preset

#: `(logits (H, B, K), rows (B,), step) -> losses (H, B)`.
GroupLoss = Callable[[Tensor, Tensor, int], Tensor]


def grid(**own: Sequence[float]) -> tuple[Setting, ...]:
    """All penalties, with all values of the method's own settings."""
    names = list(own)
    return tuple(
        {**dict(zip(names, values, strict=True)), "l2": l2} for values in product(*own.values()) for l2 in PENALTIES
    )


def at_edge(setting: Setting) -> bool:
    """Whether the penalty is the smallest or the largest of the grid."""
    return setting["l2"] in (PENALTIES[0], PENALTIES[-1])


def own_part(setting: Setting) -> Setting:
    """The setting without the penalty."""
    return {name: value for name, value in setting.items() if name != "l2"}


@dataclass(frozen=True)
class Method:
    """A weighted loss a row, plus a term on the meta set if its coefficient is above 0.

    Attributes:
        settings: the grid.
        prepare: weights and prior of a problem.
        example_loss: by setting.
        meta_coefficient: by setting.
    """

    settings: tuple[Setting, ...] = field(default_factory=grid)
    prepare: Callable[[Problem, int], Prepared] = lambda problem, seed: uniform(problem)
    example_loss: Callable[[Setting], ExampleLoss] = lambda setting: CrossEntropy()
    meta_coefficient: Callable[[Setting], float] = lambda setting: 0.0

    def fit(self, prepared: Prepared, settings: Sequence[Setting], seed: int) -> list[Callable[[Tensor], Tensor]]:
        """Train with each of some settings; returns functions from features `(T, D)` to logits `(T, K)`."""
        heads = self.heads(prepared, settings, seed)
        return [self.predictor(head, prepared, setting) for head, setting in zip(heads, settings, strict=True)]

    def heads(self, prepared: Prepared, settings: Sequence[Setting], seed: int) -> list[Head]:
        """The trained heads, one a setting; a setting `steps` stops early."""
        return train_heads(
            prepared.problem,
            self.objectives(prepared, settings, seed),
            [setting["l2"] for setting in settings],
            seed=seed,
            row_probabilities=prepared.row_probabilities,
            stops=[int(setting.get("steps", STEPS)) for setting in settings],
        )

    def group_loss(self, prepared: Prepared, setting: Setting) -> GroupLoss:
        """The loss of each row, for the heads that differ in their penalty alone."""
        problem, loss = prepared.problem, self.example_loss(setting)

        def losses(logits: Tensor, rows: Tensor, step: int) -> Tensor:
            labels = problem.labels[rows].expand(logits.shape[:2])
            return loss(logits.flatten(0, 1), labels.flatten(), prepared.prior).view(logits.shape[:2])

        return losses

    def objectives(self, prepared: Prepared, settings: Sequence[Setting], seed: int) -> Objective:
        """The losses of a batch, one for each setting's head."""
        problem, weights = prepared.problem, prepared.weights
        groups = [(self.group_loss(prepared, own), len(list(same))) for own, same in groupby(settings, own_part)]
        sizes = [size for _, size in groups]
        coefficients = torch.tensor([self.meta_coefficient(setting) for setting in settings])
        generator = torch.Generator().manual_seed(seed)

        def losses(heads: Head, rows: Tensor, step: int) -> Tensor:
            logits = heads(problem.features[rows]).split(sizes)
            found = [loss(part, rows, step) for (loss, _), part in zip(groups, logits, strict=True)]
            value = (weights[rows] * torch.cat(found)).mean(dim=1)
            if coefficients.any():
                meta = torch.randperm(len(problem.meta_labels), generator=generator)[:META_BATCH]
                value = value + coefficients * meta_loss(heads, problem, meta)
            return value

        return losses

    def predictor(self, head: Head, prepared: Prepared, setting: Setting) -> Callable[[Tensor], Tensor]:
        """Logits of features."""
        return head


@dataclass(frozen=True)
class OneByOne(Method):
    """A method whose loss is more than weights and a loss a row: each head has its own."""

    def objectives(self, prepared: Prepared, settings: Sequence[Setting], seed: int) -> Objective:
        return one_by_one([self.objective(prepared, setting, seed) for setting in settings])

    def objective(self, prepared: Prepared, setting: Setting, seed: int) -> Objective:
        """The loss of a batch with one setting."""
        raise NotImplementedError


def meta_loss(head: Head, problem: Problem, rows: Tensor) -> Tensor:
    """Plain mean loss of meta examples, shape `()`; of several heads `(H,)`."""
    logits = head(problem.meta_features[rows])
    own = logits.log_softmax(dim=-1)[..., torch.arange(len(rows)), problem.meta_labels[rows]]
    return -own.mean(dim=-1)
