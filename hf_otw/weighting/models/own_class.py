"""The mass that a row's plan ships to its own class: transport as a judge of labels."""

from __future__ import annotations

import torch
from torch import Tensor

from hf_otw.transport.blocks import CostBlocks
from hf_otw.transport.sinkhorn import own_class_mass, solve_sinkhorn
from hf_otw.types import Cost, Measure, Weights
from hf_otw.weighting.base import WeightModel, mean_one


class OwnClassMass(WeightModel):
    """`w_i` proportional to `sum_j T_ij [y_j = y_i]`, both marginals fixed and a cost that does not see the labels.

    Rows whose features belong where their label says keep their mass; a mislabelled row ships its mass to another
    class's columns and loses its weight. The column marginals calibrate what a softmax over prototypes (`Agreement`)
    gets wrong for rare classes.

    Args:
        reg: entropic strength, in units of the cost.
    """

    divisible = True
    streams = True

    def __init__(self, *, reg: float = 0.1, tol: float = 1e-3, max_iter: int = 500) -> None:
        super().__init__()
        self.reg, self.tol, self.max_iter = reg, tol, max_iter

    def forward(self, index: Tensor, source: Measure, target: Measure, cost: Cost) -> Weights:
        blocks = CostBlocks(cost, source, target)
        result = solve_sinkhorn(
            blocks, source.mass, target.mass, reg=self.reg, tol=self.tol, max_iter=self.max_iter, value_linear=False
        )
        mass = own_class_mass(blocks, result, target.mass, reg=self.reg)
        converged = result.converged.to(torch.get_default_dtype())
        return Weights(mean_one(mass), result.value, converged, result.marginal_error)
