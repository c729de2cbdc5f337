"""Named sets of defaults. An argument that the user sets wins over its preset."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from hf_otw._utils import look_up
from hf_otw.config.options import OF_A_GIVEN_COST

# Measured to serve clean and noisy data alike; see docs/quality.md.
DEFAULT = {
    "weighting": "clean_posterior",
    "weight_scope": "dataset",
    "cost": "feature",
    "label_weight": 1.0,
    "objective": "entropy",
    "reg": 0.1,
    "target_ess": None,
    "target_mass": "class_prior",
    "target": "prototypes",
    "standardize_features": True,
    "keep_class_totals": False,
    "example_loss": "logit_adjusted",
    "weight_warmup": None,
    "weight_refresh_steps": None,
    "encode_at_solve": False,
    "weight_smoothing": 0.0,
    "weight_steps": 20,
    "weight_lr": None,
    "raw_weight_logits": False,
    "head_only_after_warmup": False,
    "meta_loss_coefficient": 0.1,
    "meta_batch_size": 8,
}

# Guo et al. 2022 (arXiv 2208.02951) as its authors ran it on long-tailed CIFAR. Stage 1 trains everything on plain
# cross-entropy for 160 of 250 epochs (0.64); stage 2 trains the head alone. Each step of stage 2 moves a batch's
# weight logits by one SGD step (lr 0.01, weight decay 5e-4) on <T, C>, T from Sinkhorn with reg 0.1 and C half the
# cosine cost plus half the mean squared difference of one-hot labels, 2 / K: our cost is twice that, hence reg 0.2 and
# lr 0.005. The loss is multiplied by the raw logits, which start at effective-number class weights. The authors add 10
# x the mean meta loss to the *sum* over a batch of 16; our loss is a mean, hence 10 / 16.
PAPER = {
    "weighting": "table",
    "weight_scope": "batch",
    "cost": "combined",
    "label_weight": None,
    "objective": "sharp",
    "reg": 0.2,
    "target_ess": None,
    "target_mass": "balanced",
    "target": "prototypes",
    "standardize_features": False,
    "keep_class_totals": False,
    "example_loss": "cross_entropy",
    "weight_warmup": 0.64,
    "weight_refresh_steps": None,
    "encode_at_solve": False,
    "weight_smoothing": 0.0,
    "weight_steps": 1,
    "weight_lr": 0.005,
    "raw_weight_logits": True,
    "head_only_after_warmup": True,
    "meta_loss_coefficient": 10 / 16,
    "meta_batch_size": None,
}

# Weightings that learn nothing from features: plain cross-entropy from the first step, unless the user asks for more.
BASELINE = {
    "example_loss": "cross_entropy",
    "weight_warmup": 0.0,
    "meta_loss_coefficient": 0.0,
    "keep_class_totals": False,
    "raw_weight_logits": False,
    "head_only_after_warmup": False,
}
BASELINES = ("uniform", "inverse_frequency", "effective_number", "column")
# Labels are judged once, after the warm-up: by features of one and the same model, which has seen each example once.
# What training stores of an example in the first epoch comes from as many models as there are steps; what it stores
# later, from models that begin to know wrong labels by heart. Meta examples, not their means, count.
JUDGED_ONCE = {"weight_scope": "dataset", "target": "examples", "weight_refresh_steps": 0, "encode_at_solve": True}
# Rare classes by weights and by the loss's prior, half each: weights alone change little in a model that fits every
# example, and a prior alone asks too much of a small head.
JUDGED_ONCE |= {"target_mass": "square_root"}
# Its cost is learned: what describes a given one has no value.
JUDGED_ONCE |= dict.fromkeys(name for name in OF_A_GIVEN_COST if name in DEFAULT)
# Rows whose mass is free learn of the labels through the cost alone; the other weightings judge the labels, so that
# their cost must not see them.
FREE_ROWS = {"cost": "combined"}
FREE_ROW_WEIGHTINGS = ("closed_form", "relaxed_rows", "bounded_rows", "table", "net")

PRESETS: MappingProxyType[str, dict[str, Any]] = MappingProxyType({"default": DEFAULT, "paper": PAPER})


def defaults(preset: str, weighting: str | None) -> dict[str, Any]:
    """Return the values of the arguments that the user left open.

    Raises:
        ValueError: an unknown preset.
    """
    found = look_up(PRESETS, preset, "preset")
    if (weighting or found["weighting"]) == "clean_posterior":
        found = found | JUDGED_ONCE
    if weighting in BASELINES:
        return found | BASELINE
    if weighting in FREE_ROW_WEIGHTINGS:
        found = found | FREE_ROWS
    # The raw logits of the paper are a table's; what its implicit weight net multiplies the loss by is their softmax.
    return found if weighting in (None, "table") else found | {"raw_weight_logits": False}
