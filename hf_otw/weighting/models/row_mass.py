"""Rows between "uniform" and "free": relaxed or bounded row marginals."""

from __future__ import annotations

import torch
from torch import Tensor

from hf_otw.transport.blocks import CostBlocks
from hf_otw.transport.rows import RelaxedRows, RowMarginal
from hf_otw.transport.sinkhorn import solve_sinkhorn
from hf_otw.types import Cost, Measure, Weights
from hf_otw.weighting.base import WeightModel, mean_one


class RowMass(WeightModel):
    """`w = n * T 1`, the row masses of the plan, under a row marginal that holds them near the prior.

    Args:
        reg: entropic strength, in units of the cost.
        rows: `RelaxedRows(rho)` or `BoundedRows(cap)`.
    """

    divisible = True
    streams = True

    def __init__(
        self, *, reg: float = 0.1, rows: RowMarginal | None = None, tol: float = 1e-3, max_iter: int = 500
    ) -> None:
        super().__init__()
        self.reg, self.rows, self.tol, self.max_iter = reg, rows or RelaxedRows(), tol, max_iter

    def forward(self, index: Tensor, source: Measure, target: Measure, cost: Cost) -> Weights:
        result = solve_sinkhorn(
            CostBlocks(cost, source, target),
            source.mass,
            target.mass,
            reg=self.reg,
            rows=self.rows,
            tol=self.tol,
            max_iter=self.max_iter,
            value_linear=False,
        )
        converged = result.converged.to(torch.get_default_dtype())
        return Weights(mean_one(result.marginal_a), result.value, converged, result.marginal_error)
