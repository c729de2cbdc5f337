"""Re-weighting inside the classes only."""

from __future__ import annotations

import torch
from torch import Tensor

from hf_otw.types import Cost, Measure, Weights
from hf_otw.weighting.base import WeightModel, mean_one


class KeepClassTotals(WeightModel):
    """Rescale another model's weights so that every class keeps the share of the prior mass that it had.

    Guards the rare classes: while features are still poor, a plan takes weight away from them, so they are not
    learned, so they stay badly placed. A class whose weights are all zero gets the prior's weights back.

    Args:
        inner: the weight model whose weights are rescaled.
    """

    def __init__(self, inner: WeightModel) -> None:
        super().__init__()
        self.inner = inner
        self.needs_transport, self.divisible = inner.needs_transport, inner.divisible
        self.streams = inner.streams
        self.learns_cost = inner.learns_cost

    @property
    def name(self) -> str:
        """The inner model's name as well."""
        return f"{type(self).__name__}({self.inner.name})"

    def forward(self, index: Tensor, source: Measure, target: Measure | None, cost: Cost | None) -> Weights:
        solved = self.inner(index, source, target, cost)
        k = int(source.labels.max()) + 1
        zero = solved.weights.new_zeros(k)
        learned = zero.index_add(0, source.labels, solved.weights)[source.labels]  # (n,)
        prior = zero.index_add(0, source.labels, source.mass)[source.labels]  # (n,)
        # Divide first: weights that are almost zero in a whole class must not underflow on the way.
        weights = torch.where(learned > 0, solved.weights / learned * prior, source.mass)
        return solved._replace(weights=mean_one(weights))
