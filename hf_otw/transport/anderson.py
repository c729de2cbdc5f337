"""Anderson acceleration of a fixed-point iteration on a few numbers."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Anderson:
    """Accelerates `x <- x + residual(x)` by a secant step through the last points.

    https://epubs.siam.org/doi/10.1137/10078356X, type II, with restarts.

    Sinkhorn contracts like `1 - exp(-range(C) / reg)`: hundreds of passes where classes are unbalanced and the cost
    sees labels. This brings them to tens, for every row marginal alike, and costs a least-squares problem of `m x
    window` numbers, solved in float64 on the host. A step that makes the residual grow is taken back: the memory is
    dropped, and the plain iteration goes on from the best point so far.

    Args:
        weight: `(m,)`, non-negative: the residual's norm is `sqrt(sum weight * residual^2)`. A column without weight
            stays where it is.
        window: points remembered.
    """

    #: The residual need not fall in each accelerated step; this is how far it may rise above its lowest.
    MAX_GROWTH = 1.5
    #: Directions that carry less than the root of this share of the differences are rounding noise. A smooth cut-off
    #: (Tikhonov), not a rank decision: a last bit that differs must not change the path.
    DAMPING = 1e-8

    def __init__(self, weight: Tensor, *, window: int = 10) -> None:
        self.scale = weight.cpu().double().sqrt()  # (m,)
        self.window = window
        self.points: list[Tensor] = []
        self.residuals: list[Tensor] = []
        self.best_size, self.best_next = math.inf, weight

    def __call__(self, point: Tensor, residual: Tensor) -> Tensor:
        """Return the next point, shape `(m,)`, from this one and its residual, each `(m,)`, finite."""
        x, r = point.cpu().double(), residual.cpu().double()
        size = (self.scale * r).norm().item()
        if size < self.best_size:
            self.best_size, self.best_next = size, point + residual
        elif size > self.MAX_GROWTH * self.best_size:
            back = self.best_next
            self.points, self.residuals, self.best_size = [], [], math.inf
            return back

        self.points = [*self.points, x][-self.window :]
        self.residuals = [*self.residuals, r][-self.window :]
        if len(self.points) == 1:
            return point + residual
        steps = torch.stack(self.points).diff(dim=0).T  # (m, k)
        changes = torch.stack(self.residuals).diff(dim=0).T  # (m, k)
        weighted = self.scale[:, None] * changes
        normal = weighted.T @ weighted  # (k, k)
        damping = self.DAMPING * normal.diagonal().sum() + torch.finfo(normal.dtype).tiny
        mix = torch.linalg.solve(normal + damping * torch.eye(len(normal)).to(normal), weighted.T @ (self.scale * r))
        return (x + r - (steps + changes) @ mix).to(point)
