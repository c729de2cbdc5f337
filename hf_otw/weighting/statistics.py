"""Class totals and effective sample sizes of weights."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


def class_totals(weights: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Share of the total weight that each class holds, shape `(K,)`, sums to 1."""
    sums = weights.new_zeros(num_classes).index_add_(0, labels, weights)
    return sums / sums.sum()


def effective_sample_size(weights: Tensor) -> Tensor:
    """`(sum w)^2 / sum w^2`: how many equally weighted examples the weighted ones are worth, shape `()`."""
    return weights.sum().square() / weights.square().sum().clamp_min(torch.finfo(weights.dtype).tiny)


def effective_sample_size_per_class(weights: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """`effective_sample_size` of each class's rows, shape `(K,)`; 0 for a class without weight."""
    zero = weights.new_zeros(num_classes)
    sums, squares = zero.index_add(0, labels, weights), zero.index_add(0, labels, weights.square())
    return torch.where(squares > 0, sums.square() / squares.clamp_min(torch.finfo(weights.dtype).tiny), zero)


class WeightsResult(NamedTuple):
    """Result of `learn_weights`: arrays of the kind that came in.

    Shape:
        - weights: `(n,)`, non-negative, mean 1. Ready for scikit-learn's `sample_weight`.
        - class_totals: `(K,)`, share of the total weight that each class holds, sums to 1.
        - ess: effective sample size, `(sum w)^2 / sum w^2`, between 1 and `n`.
        - ess_per_class: `(K,)`, the same inside each class.
        - value: the objective at the weights, NaN where there is none.
        - converged: whether the solver met its tolerance.
        - marginal_error: L1 violation of the column marginal.
    """

    weights: np.ndarray | Tensor
    class_totals: np.ndarray | Tensor
    ess: float
    ess_per_class: np.ndarray | Tensor
    value: float
    converged: bool
    marginal_error: float


def summarise(
    weights: Tensor, labels: Tensor, num_classes: int, value: float, converged: bool, marginal_error: float = math.nan
) -> WeightsResult:
    """Describe weights `(n,)` of rows with labels `(n,)`."""
    totals, ess = class_totals(weights, labels, num_classes), effective_sample_size(weights)
    per_class = effective_sample_size_per_class(weights, labels, num_classes)
    return WeightsResult(weights, totals, float(ess), per_class, value, converged, marginal_error)


def as_numpy(result: WeightsResult) -> WeightsResult:
    """The same with NumPy arrays."""
    arrays = {name: getattr(result, name).cpu().numpy() for name in ("weights", "class_totals", "ess_per_class")}
    return result._replace(**arrays)
