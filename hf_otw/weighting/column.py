"""Weights that come with the data set."""

from __future__ import annotations

import torch
from torch import Tensor

from hf_otw.types import Cost, Measure, Weights
from hf_otw.weighting.base import WeightModel, exact


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

    def forward(self, index: Tensor, source: Measure, target: Measure | None, cost: Cost | None) -> Weights:
        return exact(self.values[index].to(source.mass.dtype))
