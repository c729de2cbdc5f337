"""Every solver as calls `() -> gradient (n,)` of rising accuracy and price, from the problem as its library likes it.

Each gets its own array type, its cheapest way to the gradient, a kernel where it has one, and compiled code where it
compiles. What does not depend on the cost matrix (wrapping arrays, compiling) is not timed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.solving.problems import REG, Problem
from hf_otw.transport import solve_geomloss, solve_semi_relaxed, solve_sinkhorn
from hf_otw.transport.blocks import CostBlocks

#: Marginal tolerances, in falling order; powers of 10^(-1/2).
TOLERANCES = tuple(10 ** (-k / 2) for k in range(2, 15))
Call = Callable[[], Tensor]


class Solver(NamedTuple):
    """A solver's name, the objective whose gradient it computes, and its calls, `problem -> (setting, call), ...`."""

    name: str
    objective: str
    calls: Callable[[Problem], Iterator[tuple[str, Call]]]


def fused(problem: Problem) -> Iterator[tuple[str, Call]]:
    """hf_otw, from nothing."""
    for tol in TOLERANCES:
        blocks = _fresh(problem)
        yield f"tol={tol:.0e}", lambda tol=tol, blocks=blocks: _potential(blocks(), problem, tol, None)


def fused_warm(problem: Problem) -> Iterator[tuple[str, Call]]:
    """hf_otw, from the potentials of the step before: masses halfway between uniform and these."""
    before = (problem.a + 1 / len(problem.a)) / 2
    blocks = _fresh(problem)
    start = solve_sinkhorn(blocks(), before, problem.b, reg=REG, tol=1e-4, value_linear=False).potential_b
    for tol in TOLERANCES:
        yield f"tol={tol:.0e}", lambda tol=tol: _potential(blocks(), problem, tol, start)


def closed_form(problem: Problem) -> Iterator[tuple[str, Call]]:
    """hf_otw, the minimiser of `entropy` itself: exact, so that it has one setting."""
    blocks = _fresh(problem)
    yield "", lambda: solve_semi_relaxed(blocks(), problem.a, problem.b, reg=REG, value_linear=False).marginal_a


def geomloss(problem: Problem) -> Iterator[tuple[str, Call]]:
    """GeomLoss 0.3, whose accuracy is a number of passes."""
    for passes in (30, 100, 300, 1000, 3000):
        yield (
            f"max_iter={passes}",
            lambda passes=passes: (
                solve_geomloss(problem.C, problem.a, problem.b, reg=REG, max_iter=passes).potential_a
            ),
        )


def pot_solve(problem: Problem) -> Iterator[tuple[str, Call]]:
    """POT's `ot.solve` on tensors, with the gradient by the envelope theorem."""
    import ot  # not needed by hf_otw: see requirements-benchmarks.txt

    def solve(tol: float) -> Tensor:
        C, a, b = problem[2:]
        found = ot.solve(C, a, b, reg=REG, tol=tol, max_iter=10_000, grad="detach")
        return REG * (found.potentials[0] - a.log())  # it returns logarithms of the scalings of `exp(-C / reg)`

    for tol in TOLERANCES:
        yield f"tol={tol:.0e}", lambda tol=tol: solve(tol)


def pot_kernel(problem: Problem) -> Iterator[tuple[str, Call]]:
    """POT's Sinkhorn-Knopp in NumPy, on the kernel: its fastest."""
    import ot

    C, a, b = (value.numpy() for value in problem[2:])

    def solve(tol: float) -> Tensor:
        _, log = ot.bregman.sinkhorn_knopp(a, b, C, REG, numItermax=10_000, stopThr=tol, log=True, warn=False)
        return torch.from_numpy(log["u"] / a).log_() * REG

    for tol in TOLERANCES:
        yield f"stopThr={tol:.0e}", lambda tol=tol: solve(tol)


def reference(problem: Problem) -> Iterator[tuple[str, Call]]:
    """The form of the paper's code: logarithmic passes, unrolled, and back-propagated through for `<T, C>`."""

    def solve(passes: int) -> Tensor:
        a = problem.a.clone().requires_grad_()
        f, g = torch.zeros_like(a), torch.zeros_like(problem.b)
        for _ in range(passes):
            f = f + REG * (a.log() - ((f[:, None] + g - problem.C) / REG).logsumexp(dim=1))
            g = g + REG * (problem.b.log() - ((f[:, None] + g - problem.C) / REG).logsumexp(dim=0))
        value = (((f[:, None] + g - problem.C) / REG).exp() * problem.C).sum()
        return torch.autograd.grad(value, a)[0]

    for passes in (5, 7, 10, 15, 20, 30, 50, 100, 200):
        yield f"passes={passes}", lambda passes=passes: solve(passes)


def _fresh(problem: Problem) -> Callable[[], CostBlocks]:
    """The matrix wrapped, without what an earlier call kept of it."""
    blocks = CostBlocks.of_matrix(problem.C)

    def forget() -> CostBlocks:
        blocks.kernel = None
        return blocks

    return forget


def _potential(blocks: CostBlocks, problem: Problem, tol: float, start: Tensor | None) -> Tensor:
    return solve_sinkhorn(
        blocks, problem.a, problem.b, reg=REG, tol=tol, start=start, max_iter=500, value_linear=False
    ).potential_a
