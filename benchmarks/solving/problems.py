"""The problem that every solver gets, and what is right for it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from hf_otw.transport import solve_semi_relaxed, solve_sinkhorn
from hf_otw.transport.blocks import CostBlocks
from hf_otw.transport.objectives import sharp_objective
from hf_otw.types import Measure

REG = 0.1
DIMENSIONS = 16
SEED = 0


class Problem(NamedTuple):
    """Random features in 16 dimensions, cosine cost, masses that are not uniform.

    Shape:
        - x: `(n, 16)` and y: `(m, 16)`, of length 1; C: `(n, m)`; a: `(n,)`, b: `(m,)`.
    """

    x: Tensor
    y: Tensor
    C: Tensor
    a: Tensor
    b: Tensor

    def to(self, *args: object) -> Problem:
        """The same in another precision or on another device."""
        return Problem(*(value.to(*args) for value in self))


def make_problem(n: int, m: int) -> Problem:
    """In float64."""
    generator = torch.Generator().manual_seed(SEED)
    x, y = (torch.randn(k, DIMENSIONS, generator=generator, dtype=torch.float64) for k in (n, m))
    a, b = (torch.rand(k, generator=generator, dtype=torch.float64) + 0.1 for k in (n, m))
    x, y = F.normalize(x), F.normalize(y)
    return Problem(x, y, 1 - x @ y.T, a / a.sum(), b / b.sum())


def right_answers(problem: Problem) -> dict[str, Tensor]:
    """In float64: `kl` and `sharp`, gradients in `a`, centred; `entropy`, the row masses of the closed form."""
    blocks = CostBlocks.of_matrix(problem.C)
    kl = solve_sinkhorn(blocks, problem.a, problem.b, reg=REG, tol=1e-11, max_iter=2000, value_linear=False)
    closed = solve_semi_relaxed(blocks, problem.a, problem.b, reg=REG, value_linear=False)
    found = {"kl": kl.potential_a, "entropy": closed.marginal_a}
    labels = torch.zeros(max(problem.C.shape), dtype=torch.long)
    source, target = (
        Measure(points, labels[: len(points)], mass)
        for points, mass in ((problem.x, problem.a), (problem.y, problem.b))
    )
    found["sharp"] = sharp_objective(source, target, lambda s, t: 1 - s.features @ t.features.T, REG, None).grad_a
    return {name: value if name == "entropy" else value - value.mean() for name, value in found.items()}


def relative_error(found: Tensor, right: Tensor, objective: str) -> float:
    """In L2 norm; of gradients modulo a constant, which means nothing on the simplex."""
    found = found.detach().cpu().double()
    found = found if objective == "entropy" else found - found.mean()
    return float((found - right).norm() / right.norm())
