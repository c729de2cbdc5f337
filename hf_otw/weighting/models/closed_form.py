"""Free rows: the weights are the row masses of semi-relaxed transport, in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from hf_otw.transport.blocks import CostBlocks
from hf_otw.transport.semi_relaxed import solve_semi_relaxed
from hf_otw.types import Cost, Measure, TransportResult, Weights
from hf_otw.weighting.base import WeightModel, mean_one
from hf_otw.weighting.statistics import effective_sample_size


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


LOWEST_REG, HIGHEST_REG = 1e-3, 1e2


STEPS = 20


def reg_for_ess(weights_at: Callable[[float], Tensor], target_ess: float) -> float:
    """The smallest `reg` in `[1e-3, 1e2]` whose weights keep `ess >= target_ess * n`, by bisection in `log reg`.

    The ess of a closed form or a plan grows with `reg`, so bisection finds it to one part in 10^5 in 20 solves. Where
    even the largest `reg` stays below the target (a cost that ranges over hundreds), that `reg` is returned.

    Args:
        weights_at: `reg -> weights (n,)`.
        target_ess: fraction of the number of rows, in `(0, 1)`.

    Raises:
        ValueError: a fraction that is not in `(0, 1)`.
    """
    if not 0 < target_ess < 1:
        raise ValueError(f"Expected 0 < target_ess < 1 (a fraction of the training examples), got {target_ess}.")
    low, high = math.log(LOWEST_REG), math.log(HIGHEST_REG)
    for _ in range(STEPS):
        middle = (low + high) / 2
        weights = weights_at(math.exp(middle))
        if effective_sample_size(weights).item() < target_ess * len(weights):
            low = middle
        else:
            high = middle
    return math.exp(high)
