"""The methods of full fine-tuning: training arguments, and what happens before and after training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from torch.nn import functional as F

from benchmarks.quality.prepared import Prepared, cleaned, oracle, without_doubts
from benchmarks.quality.problems import Problem
from benchmarks.quality.robust import LEAST_PROBABILITY

#: Steps on the trusted rows alone, after training on all rows.
CONTINUED_STEPS = 50


class Drawn(NamedTuple):
    """A cell's data: texts, labels as given, the training rows' true labels, and row numbers of the pool."""

    train: Dataset
    meta: Dataset
    test: Dataset
    rows: np.ndarray
    num_classes: int
    true_labels: np.ndarray


@dataclass(frozen=True)
class FineTuned:
    """A method.

    Attributes:
        arguments: of training.
        prepare: what is done to the data first.
        weigh: weights of the training rows from features after an epoch, or none.
        adjust: logits `(T, K)` in the end, given the training rows a class `(K,)`.
        continued: train on the meta rows alone for `CONTINUED_STEPS` more.
        corrected: train with a channel estimated by a first training (Hendrycks et al. 2018).
    """

    arguments: dict[str, Any] = field(default_factory=lambda: {"weighting": "uniform"})
    prepare: Callable[[Drawn], Drawn] = lambda drawn: drawn
    weigh: Callable[[Problem, int], Prepared] | None = None
    adjust: Callable[[Tensor, Tensor], Tensor] = lambda logits, counts: logits
    continued: bool = False
    corrected: bool = False


@dataclass(frozen=True)
class Corrected:
    """Cross-entropy of predictions multiplied by a channel `(K, K)`, from true to given labels."""

    channel: Tensor

    def __call__(self, logits: Tensor, labels: Tensor, class_prior: Tensor) -> Tensor:
        given = logits.float().softmax(dim=-1) @ self.channel.to(logits.device)
        return F.nll_loss(given.clamp_min(LEAST_PROBABILITY).log(), labels, reduction="none")


def channel_of(probabilities: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Mean answer to the trusted rows of each class, `(K, K)`. Shape: probabilities `(m, K)`, labels `(m,)`."""
    known = F.one_hot(labels, num_classes).float()
    return known.T @ probabilities / known.sum(dim=0).clamp_min(1)[:, None]


def with_meta_rows(drawn: Drawn) -> Drawn:
    """Meta examples are training examples."""
    both = {name: [*drawn.train[name], *drawn.meta[name]] for name in ("text", "label")}
    true = np.concatenate([drawn.true_labels, drawn.meta["label"]])
    return drawn._replace(train=Dataset.from_dict(both), true_labels=true)


def meta_rows_alone(drawn: Drawn) -> Drawn:
    """Nothing but the meta examples is trained on."""
    return drawn._replace(train=drawn.meta, true_labels=np.array(drawn.meta["label"]))


ADJUSTED = {"example_loss": "logit_adjusted"}
#: Logit adjustment and the meta term of the default, with weights from a column.
AS_DEFAULT = {"weighting": "column", **ADJUSTED, "meta_loss_coefficient": 0.1}
METHODS: dict[str, FineTuned] = {
    "cross_entropy": FineTuned(),
    "logit_adjustment": FineTuned({"weighting": "uniform", **ADJUSTED}),
    "logit_adjustment_post_hoc": FineTuned(adjust=lambda logits, counts: logits - counts.log()),
    "logit_adjustment_meta_term": FineTuned({"weighting": "uniform", **ADJUSTED, "meta_loss_coefficient": 0.1}),
    "meta_in_training_logit_adjustment": FineTuned({"weighting": "uniform", **ADJUSTED}, with_meta_rows),
    "trusted_rows_alone": FineTuned(prepare=meta_rows_alone),
    "continued_on_trusted_rows": FineTuned({"weighting": "uniform", **ADJUSTED}, continued=True),
    "gold_loss_correction": FineTuned({"weighting": "uniform", "meta_loss_coefficient": 1.0}, corrected=True),
    "confident_learning": FineTuned({"weighting": "column", **ADJUSTED}, with_meta_rows, weigh=cleaned),
    "inverse_frequency": FineTuned({"weighting": "inverse_frequency"}),
    "focal": FineTuned({"weighting": "uniform", "example_loss": "focal"}),
    "effective_number": FineTuned({"weighting": "effective_number"}),
    "paper": FineTuned({"preset": "paper"}),
    "closed_form": FineTuned({"weighting": "closed_form", "target_mass": "class_prior"}),
    "default": FineTuned({}),
    "default_without_doubts": FineTuned(AS_DEFAULT, weigh=without_doubts),
    "oracle": FineTuned(AS_DEFAULT, weigh=oracle),
}
#: Choices of the default, compared on held-out training rows.
VARIANTS: dict[str, FineTuned] = {"balanced_mass": FineTuned({"target_mass": "balanced"})}


def problem_of(features: Tensor, meta_features: Tensor, drawn: Drawn) -> Problem:
    """The training rows as a problem of heads, standardised; the meta rows are in the place of a test set.

    Shape:
        - features: `(n, D)`, meta_features: `(m, D)`.
    """
    mean, scale = features.mean(dim=0), features.std(dim=0) + 1e-6
    meta, known = (meta_features - mean) / scale, torch.tensor(drawn.meta["label"])
    labels, true = torch.tensor(drawn.train["label"]), torch.tensor(drawn.true_labels)
    return Problem((features - mean) / scale, labels, meta, known, meta, known, known, drawn.num_classes, true)
