"""Agreement: the first half step of the plan, before any marginal is enforced."""

from __future__ import annotations

import torch
from torch import Tensor

from hf_otw.transport.blocks import CostBlocks
from hf_otw.transport.costs import label_agreement
from hf_otw.types import Cost, Measure, Weights
from hf_otw.weighting.base import WeightModel, exact, mean_one


class Agreement(WeightModel):
    """`w_i` proportional to `sum_j softmax_j(-C_ij / reg) [y_j = y_i]`, with a cost that does not see the labels.

    Each row ships its own mass by a softmax over the columns; the weight is the part that arrives at the row's own
    class. Target masses play no part. A row that sits well in its class keeps weight near the class's best, however
    rare the class.

    Args:
        reg: entropic strength, in units of the cost.
    """

    divisible = True
    streams = True

    def __init__(self, *, reg: float = 0.1) -> None:
        super().__init__()
        self.reg = reg

    def forward(self, index: Tensor, source: Measure, target: Measure, cost: Cost) -> Weights:
        return exact(mean_one(own_class_share(source, target, cost, self.reg)))


@torch.no_grad()
def own_class_share(source: Measure, target: Measure, cost: Cost, reg: float) -> Tensor:
    """The share of a row's mass that a softmax over the columns sends to its class, shape `(n,)`, in `[0, 1]`."""
    out = torch.empty_like(source.mass)
    blocks = CostBlocks(cost, source, target)
    for rows, C in blocks:
        shipped = (C / -reg).softmax(dim=1)  # (rows, m)
        own = label_agreement(source.rows(rows), target)  # (rows, m)
        out[rows] = (shipped * own).sum(dim=1)
    return blocks.all_rows(out)
