"""Baselines that see the class counts alone: one factor a class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hf_otw.types import Cost, Measure, Weights
from hf_otw.weighting.base import WeightModel, exact


class ClassWeighted(WeightModel):
    """`w_i = class_weight[y_i]`, rescaled to mean 1 over the training set.

    Args:
        class_weight: `(K,)`, non-negative.
        class_counts: `(K,)`, training examples of each class.

    Raises:
        ValueError: a class without training examples.
    """

    needs_transport = False
    class_weight: Tensor

    def __init__(self, class_weight: Tensor, class_counts: Tensor) -> None:
        super().__init__()
        mean = (class_weight * class_counts).sum() / class_counts.sum()
        self.register_buffer("class_weight", class_weight / mean)  # (K,)

    def forward(self, index: Tensor, source: Measure, target: Measure | None, cost: Cost | None) -> Weights:
        return exact(self.class_weight[source.labels].to(source.mass.dtype))


def inverse_frequency(class_counts: Sequence[int] | Tensor) -> ClassWeighted:
    """`w_i` proportional to `1 / n_{y_i}`: what transport with the label cost alone comes down to."""
    counts = _counts(class_counts)
    return ClassWeighted(1 / counts, counts)


def effective_number(class_counts: Sequence[int] | Tensor, *, beta: float = 0.9999) -> ClassWeighted:
    """`w_i` proportional to `(1 - beta) / (1 - beta^n)` (https://huggingface.co/papers/1901.05555, eq. 4)."""
    if not 0 <= beta < 1:
        raise ValueError(f"Expected 0 <= beta < 1, got {beta}. Cui et al. use 0.9 to 0.9999.")
    counts = _counts(class_counts)
    return ClassWeighted((1 - beta) / (1 - beta**counts), counts)


def _counts(class_counts: Sequence[int] | Tensor) -> Tensor:
    counts = torch.as_tensor(class_counts, dtype=torch.float64)
    if not (counts > 0).all():
        raise ValueError(
            f"Expected at least one training example a class, got counts {counts.long().tolist()}. "
            "Remove empty classes."
        )
    return counts
