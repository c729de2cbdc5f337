"""Named sets of defaults. An option that the user sets wins over its preset."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

#: Measured to serve clean and noisy data alike; see docs/quality.md.
DEFAULT: dict[str, Any] = {
    "weighting": "clean_posterior",
    "weighting_kwargs": {},
    "weight_scope": "dataset",
    "cost": "feature",
    "cost_kwargs": {},
    "target_mass": None,
    "target_points": "prototypes",
    "feature_memory": "replicated",
    "standardize_features": True,
    "example_loss": "logit_adjusted",
    "example_loss_kwargs": {},
    "weight_warmup": None,
    "weight_refresh_steps": None,
    "encode_at_solve": False,
    "head_only_after_warmup": False,
    "meta_examples_per_class": 10,
    "meta_loss_coefficient": 0.1,
    "meta_batch_size": 8,
    "label_bins": 10,
}

#: Guo et al. 2022 (arXiv 2208.02951) as its authors ran it on long-tailed CIFAR. Stage 1 trains everything on plain
#: cross-entropy for 160 of 250 epochs (0.64); stage 2 trains the head alone. Each step of stage 2 moves a batch's
#: weight logits by one SGD step (lr 0.01, weight decay 5e-4) on <T, C>, T from Sinkhorn with reg 0.1 and C half the
#: cosine cost plus half the mean squared difference of one-hot labels, 2 / K: our cost is twice that, hence reg 0.2
#: and lr 0.005. The loss is multiplied by the raw logits, which start at effective-number class weights. The authors
#: add 10 times the mean meta loss to the *sum* over a batch of 16; our loss is a mean, hence 10 / 16.
PAPER: dict[str, Any] = DEFAULT | {
    "weighting": "table",
    "weighting_kwargs": {"objective": "sharp", "reg": 0.2, "steps": 1, "lr": 0.005, "raw": True},
    "weight_scope": "batch",
    "cost": "combined",
    "cost_kwargs": {"label_weight": None},
    "target_mass": "balanced",
    "standardize_features": False,
    "example_loss": "cross_entropy",
    "weight_warmup": 0.64,
    "head_only_after_warmup": True,
    "meta_loss_coefficient": 10 / 16,
    "meta_batch_size": None,
}

PRESETS: MappingProxyType[str, dict[str, Any]] = MappingProxyType({"default": DEFAULT, "paper": PAPER})
