"""The methods: what a user would try against imbalance and wrong labels, each with a grid of four settings.

A method is prepared once for a problem (weights learned, labels cleaned) and then trained with a setting of its grid.
All of them see the same training rows and, where they use one, the same meta set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.quality.head import STEPS, Head, Objective
from benchmarks.quality.meta_learning import LearningToReweight, MetaWeightNet, Paper
from benchmarks.quality.method import Method, OneByOne, Setting, grid
from benchmarks.quality.prepared import (
    Prepared,
    balanced_sampling,
    cleaned,
    inverse_frequency,
    transport,
    weighted,
    with_meta_rows,
)
from hf_otw.losses import Focal, LogitAdjusted

DEFERRED = 0.8  # share of the steps before LDAM's class weights


@dataclass(frozen=True)
class EffectiveNumber(OneByOne):
    """Class weights `(1 - beta) / (1 - beta^n)` (Cui et al. 2019)."""

    settings: tuple[Setting, ...] = field(default_factory=lambda: grid("beta", (0.99, 0.9999)))

    def objective(self, prepared: Prepared, setting: Setting, seed: int) -> Objective:
        problem, beta = prepared.problem, setting["beta"]
        weights = (1 - beta) / (1 - beta ** problem.class_counts.double())
        heads = Method.objectives(self, weighted(problem, weights.float()[problem.labels]), [setting], seed)
        return lambda head, rows, step: heads(Head(head.weight[None], head.bias[None]), rows, step)[0]


@dataclass(frozen=True)
class PostHoc(Method):
    """Cross-entropy, and `tau log prior` taken off the logits afterwards (Menon et al. 2021, eq. 9)."""

    settings: tuple[Setting, ...] = field(default_factory=lambda: grid("tau", (0.5, 1.0)))

    def predictor(self, head: Head, prepared: Prepared, setting: Setting) -> Callable[[Tensor], Tensor]:
        shift = setting["tau"] * prepared.prior.log()
        return lambda features: head(features) - shift


@dataclass(frozen=True)
class LDAM(OneByOne):
    """Label-dependent margins on normalised logits; class weights in the last fifth (Cao et al. 2019)."""

    settings: tuple[Setting, ...] = field(default_factory=lambda: grid("margin", (0.3, 0.5)))
    scale: float = 30.0
    beta: float = 0.9999

    def objective(self, prepared: Prepared, setting: Setting, seed: int) -> Objective:
        problem = prepared.problem
        counts = problem.class_counts.double()
        margins = (counts.min() / counts).pow(0.25).float() * setting["margin"]  # (K,)
        class_weights = (1 - self.beta) / (1 - self.beta**counts)
        class_weights = (class_weights / class_weights.mean()).float()

        def loss(head: Head, rows: Tensor, step: int) -> Tensor:
            labels = problem.labels[rows]
            logits = self.cosines(head, problem.features[rows])
            logits = logits - F.one_hot(labels, problem.num_classes) * margins
            return F.cross_entropy(self.scale * logits, labels, class_weights if step >= DEFERRED * STEPS else None)

        return loss

    @staticmethod
    def cosines(head: Head, features: Tensor) -> Tensor:
        start = head.weight + 1e-3 * torch.eye(*head.weight.shape)  # the head starts at 0, which has no direction
        return F.normalize(features, dim=1) @ F.normalize(start, dim=1).T

    def predictor(self, head: Head, prepared: Prepared, setting: Setting) -> Callable[[Tensor], Tensor]:
        return lambda features: self.scale * self.cosines(head, features)


def adjusted(setting: Setting) -> LogitAdjusted:
    """Logit-adjusted cross-entropy, of strength 1 unless the grid says otherwise."""
    return LogitAdjusted(setting.get("tau", 1.0))


METHODS: dict[str, Method] = {
    "cross_entropy": Method(),
    "inverse_frequency": Method(prepare=inverse_frequency),
    "effective_number": EffectiveNumber(),
    "focal": Method(grid("gamma", (1.0, 2.0)), example_loss=lambda setting: Focal(setting["gamma"])),
    "ldam_drw": LDAM(),
    "logit_adjustment": Method(grid("tau", (0.5, 1.0)), example_loss=adjusted),
    "logit_adjustment_post_hoc": PostHoc(),
    "balanced_sampling": Method(prepare=balanced_sampling),
    "meta_in_training": Method(prepare=with_meta_rows),
    "meta_in_training_logit_adjustment": Method(prepare=with_meta_rows, example_loss=adjusted),
    "logit_adjustment_meta_term": Method(
        grid("coefficient", (0.1, 1.0)),
        example_loss=adjusted,
        meta_coefficient=lambda setting: setting["coefficient"],
    ),
    "learning_to_reweight": LearningToReweight(),
    "meta_weight_net": MetaWeightNet(),
    "confident_learning": Method(prepare=cleaned, example_loss=adjusted),
    "paper": Paper(),
    "paper_without_transport": Paper(transport=False),
    "closed_form": Method(
        prepare=transport(weighting="closed_form", target_points="prototypes", target_mass="class_prior"),
        example_loss=adjusted,
        meta_coefficient=lambda setting: 0.1,
    ),
    "default": Method(
        prepare=transport(weighting="clean_posterior", target_mass="square_root"),
        example_loss=adjusted,
        meta_coefficient=lambda setting: 0.1,
    ),
}
