"""The methods: what a user would try against imbalance and wrong labels, each with a grid of settings.

A method is prepared once for a problem (weights learned, labels cleaned) and then trained with a setting of its grid.
All of them see the same training rows and, where they use one, the same meta set, and search the same penalties.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from benchmarks.quality.head import Head
from benchmarks.quality.meta_learning import LearningToReweight, MetaWeightNet, Paper
from benchmarks.quality.method import Method, Setting, grid
from benchmarks.quality.prepared import (
    Prepared,
    balanced_sampling,
    cleaned,
    inverse_frequency,
    meta_rows_alone,
    oracle,
    transport,
    with_meta_rows,
    without_doubts,
)
from benchmarks.quality.robust import (
    LDAM,
    EarlyLearning,
    EffectiveNumber,
    GeneralisedCrossEntropy,
    GoldLossCorrection,
    relabelled,
    with_channel,
)
from benchmarks.quality.trusted import ContinuedTraining
from benchmarks.quality.trusting import Trusting
from hf_otw.losses import Focal, LogitAdjusted
from hf_otw.weighting.target import square_root_mass


@dataclass(frozen=True)
class PostHoc(Method):
    """Cross-entropy, and `tau log prior` taken off the logits afterwards (Menon et al. 2021, eq. 9)."""

    settings: tuple[Setting, ...] = field(default_factory=lambda: grid(tau=(0.5, 1.0)))

    def predictor(self, head: Head, prepared: Prepared, setting: Setting) -> Callable[[Tensor], Tensor]:
        shift = setting["tau"] * prepared.prior.log()
        return lambda features: head(features) - shift


def adjusted(setting: Setting) -> LogitAdjusted:
    """Logit-adjusted cross-entropy, of strength 1 unless the grid says otherwise."""
    return LogitAdjusted(setting.get("tau", 1.0))


def as_default(prepare: Callable[..., Prepared], coefficient: float = 0.1) -> Method:
    """The loss and the meta term of the default, with other weights."""
    return Method(prepare=prepare, example_loss=adjusted, meta_coefficient=lambda setting: coefficient)


METHODS: dict[str, Method] = {
    "cross_entropy": Method(),
    "inverse_frequency": Method(prepare=inverse_frequency),
    "effective_number": EffectiveNumber(),
    "focal": Method(grid(gamma=(1.0, 2.0)), example_loss=lambda setting: Focal(setting["gamma"])),
    "ldam_drw": LDAM(),
    "logit_adjustment": Method(grid(tau=(0.5, 1.0)), example_loss=adjusted),
    "logit_adjustment_post_hoc": PostHoc(),
    "early_stopping": Method(grid(steps=(20.0, 60.0, 200.0)), example_loss=adjusted),
    "balanced_sampling": Method(prepare=balanced_sampling),
    "generalised_cross_entropy": GeneralisedCrossEntropy(),
    "early_learning": EarlyLearning(example_loss=adjusted),
    "meta_in_training": Method(prepare=with_meta_rows),
    "meta_in_training_logit_adjustment": Method(prepare=with_meta_rows, example_loss=adjusted),
    "logit_adjustment_meta_term": Method(
        grid(coefficient=(0.1, 1.0)),
        example_loss=adjusted,
        meta_coefficient=lambda setting: setting["coefficient"],
    ),
    "trusted_rows_alone": Method(prepare=meta_rows_alone),
    "continued_on_trusted_rows": ContinuedTraining(example_loss=adjusted),
    "gold_loss_correction": GoldLossCorrection(prepare=with_channel),
    "relabelled": Method(prepare=relabelled, example_loss=adjusted),
    "learning_to_reweight": LearningToReweight(),
    "meta_weight_net": MetaWeightNet(),
    "confident_learning": Method(prepare=cleaned, example_loss=adjusted),
    "paper": Paper(),
    "paper_without_transport": Paper(transport=False),
    "closed_form": as_default(
        transport(weighting="closed_form", target_points="prototypes", target_mass="class_prior")
    ),
    "default_without_doubts": as_default(without_doubts),
    "belief_gate": as_default(transport(weighting="clean_posterior", target_mass="square_root")),
    "default": as_default(transport(weighting=Trusting(class_mass=square_root_mass))),
    "oracle": as_default(oracle),
}

#: Those that a first run does everywhere, before the others: what the targets are about.
FIRST = (
    "cross_entropy",
    "inverse_frequency",
    "logit_adjustment",
    "logit_adjustment_meta_term",
    "meta_in_training_logit_adjustment",
    "generalised_cross_entropy",
    "trusted_rows_alone",
    "continued_on_trusted_rows",
    "gold_loss_correction",
    "relabelled",
    "confident_learning",
    "default_without_doubts",
    "default",
    "oracle",
)
