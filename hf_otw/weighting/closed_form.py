"""Free rows: the weights are the row masses of semi-relaxed transport, in closed form."""

from __future__ import annotations

from torch import Tensor

from hf_otw.costs import CostBlocks
from hf_otw.transport.semi_relaxed import solve_semi_relaxed
from hf_otw.types import Cost, Measure, TransportResult, Weights
from hf_otw.weighting.base import WeightModel, mean_one
from hf_otw.weighting.reg import reg_for_ess


class ClosedForm(WeightModel):
    """`w = n * argmin_w OT_reg(w, b; C)` under the `entropy` objective (arXiv 2208.02951, eq. 4, solved exactly).

    With the label cost alone this is inverse class frequency; the features move weight *inside* the classes, towards
    rows that look like the meta set.

    Args:
        reg: entropic strength, in units of the cost.
        target_ess: choose `reg` instead, so that the effective sample size is this fraction of the rows.
    """

    divisible = True
    streams = True

    def __init__(self, *, reg: float = 0.1, target_ess: float | None = None) -> None:
        super().__init__()
        self.reg, self.target_ess = reg, target_ess

    def forward(self, index: Tensor, source: Measure, target: Measure, cost: Cost) -> Weights:
        blocks = CostBlocks(cost, source, target)
        reg = self.reg
        if self.target_ess is not None:
            reg = reg_for_ess(
                lambda trial: self._solve(blocks, trial).marginal_a,
                self.target_ess,
            )
        result = self._solve(blocks, reg)
        converged = result.converged.to(source.mass.dtype)
        return Weights(mean_one(result.marginal_a), result.value, converged, result.marginal_error)

    @staticmethod
    def _solve(blocks: CostBlocks, reg: float) -> TransportResult:
        return solve_semi_relaxed(blocks, blocks.source.mass, blocks.target.mass, reg=reg, value_linear=False)
