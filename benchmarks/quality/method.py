"""A method: a grid of four settings, what is prepared once for a problem, and a loss to train heads with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from benchmarks.quality.head import Head, Objective, one_by_one, train_heads
from benchmarks.quality.prepared import Prepared, uniform
from benchmarks.quality.problems import Problem
from hf_otw.losses import CrossEntropy, ExampleLoss

Setting = dict[str, float]
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
TWO_PENALTIES = (1e-2, 1e-1)
META_BATCH = 8  # of the default preset


def grid(name: str | None = None, values: tuple[float, float] = (0.0, 0.0)) -> tuple[Setting, ...]:
    """Four settings: four penalties, or two of a setting of the method's own by two penalties."""
    if name is None:
        return tuple({"l2": l2} for l2 in PENALTIES)
    return tuple({name: value, "l2": l2} for value in values for l2 in TWO_PENALTIES)


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
        heads = train_heads(
            prepared.problem,
            self.objectives(prepared, settings, seed),
            [setting["l2"] for setting in settings],
            seed=seed,
            row_probabilities=prepared.row_probabilities,
        )
        return [self.predictor(head, prepared, setting) for head, setting in zip(heads, settings, strict=True)]

    def objectives(self, prepared: Prepared, settings: Sequence[Setting], seed: int) -> Objective:
        """The losses of a batch, one for each setting's head."""
        problem, weights, prior = prepared.problem, prepared.weights, prepared.prior
        loss_of = [self.example_loss(setting) for setting in settings]
        coefficients = torch.tensor([self.meta_coefficient(setting) for setting in settings])
        generator = torch.Generator().manual_seed(seed)

        def losses(heads: Head, rows: Tensor, step: int) -> Tensor:
            labels, w = problem.labels[rows], weights[rows]
            logits = heads(problem.features[rows]).unbind()
            value = torch.stack([(w * f(x, labels, prior)).mean() for f, x in zip(loss_of, logits, strict=True)])
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
