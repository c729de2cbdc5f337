"""Baselines without transport: uniform weights, one factor per class, and weights from a column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hf_otw._utils import required
from hf_otw.types import Cost, Measure, Weights
from hf_otw.weighting.base import Facts, WeightModel, exact


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


class InverseFrequency(ClassWeighted):
    """`w_i` proportional to `1 / n_{y_i}`: what transport with the label cost alone comes down to.

    Args:
        class_counts: `(K,)`, training examples of each class.
    """

    def __init__(self, class_counts: Sequence[int] | Tensor) -> None:
        counts = _counts(class_counts)
        super().__init__(1 / counts, counts)

    @classmethod
    def from_facts(cls, facts: Facts, **kwargs: Any) -> WeightModel:
        """From the class counts."""
        return cls(facts.class_counts, **kwargs)


class EffectiveNumber(ClassWeighted):
    """`w_i` proportional to `(1 - beta) / (1 - beta^n)` (https://huggingface.co/papers/1901.05555, eq. 4).

    Args:
        class_counts: `(K,)`, training examples of each class.
        beta: in `[0, 1)`.

    Raises:
        ValueError: a class without training examples, or `beta` out of range.
    """

    def __init__(self, class_counts: Sequence[int] | Tensor, *, beta: float = 0.9999) -> None:
        if not 0 <= beta < 1:
            raise ValueError(f"Expected 0 <= beta < 1, got {beta}. Cui et al. use 0.9 to 0.9999.")
        counts = _counts(class_counts)
        super().__init__((1 - beta) / (1 - beta**counts), counts)

    @classmethod
    def from_facts(cls, facts: Facts, **kwargs: Any) -> WeightModel:
        """From the class counts."""
        return cls(facts.class_counts, **kwargs)


def _counts(class_counts: Sequence[int] | Tensor) -> Tensor:
    counts = torch.as_tensor(class_counts, dtype=torch.float64)
    if not (counts > 0).all():
        raise ValueError(
            f"Expected at least one training example a class, got counts {counts.long().tolist()}. "
            "Remove empty classes."
        )
    return counts


class Uniform(WeightModel):
    """`w_i = 1`."""

    needs_transport = False

    def forward(self, index: Tensor, source: Measure, target: Measure | None, cost: Cost | None) -> Weights:
        return exact(torch.ones_like(source.mass))


class Column(WeightModel):
    """`w_i` from a column of the training set, rescaled to mean 1.

    Args:
        values: `(N,)`, one weight a row of the training set.

    Raises:
        ValueError: weights that are negative, not finite, or all zero.
    """

    needs_transport = False
    values: Tensor

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        values = torch.as_tensor(values, dtype=torch.float64)
        if not torch.isfinite(values).all():
            bad = int((~torch.isfinite(values)).sum())
            raise ValueError(
                f"Expected finite weights, but {bad} of {len(values)} are NaN or infinite. Fill them "
                "in or drop the rows."
            )
        if (values < 0).any():
            raise ValueError(
                f"Expected non-negative weights, got a minimum of {values.min().item():.6g}. Use 0 to leave a row out."
            )
        if not (values > 0).any():
            raise ValueError(f"Expected at least one positive weight, but all {len(values)} are zero.")
        self.register_buffer("values", values / values.mean())  # (N,)

    @classmethod
    def from_facts(cls, facts: Facts, **kwargs: Any) -> WeightModel:
        """From a column of the training set, `weight` unless another is named."""
        return cls(required(facts.read_column, "a training set with columns")(kwargs.get("column", "weight")))

    def forward(self, index: Tensor, source: Measure, target: Measure | None, cost: Cost | None) -> Weights:
        return exact(self.values[index].to(source.mass.dtype))
