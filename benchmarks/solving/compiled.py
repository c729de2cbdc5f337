"""Solvers of libraries with compilers of their own: OTT-JAX on a CPU, flash-sinkhorn on an accelerator."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.solving.problems import REG, Problem
from benchmarks.solving.solvers import TOLERANCES, Call

#: Passes between two looks at the error: few where passes are dear, more where the look is.
INNER = (1, 5)


def ott_logarithms(problem: Problem) -> Iterator[tuple[str, Call]]:
    """OTT-JAX, log-sum-exp, the whole solve compiled."""
    return _ott(problem, lse_mode=True)


def ott_kernel(problem: Problem) -> Iterator[tuple[str, Call]]:
    """OTT-JAX on the kernel, the whole solve compiled."""
    return _ott(problem, lse_mode=False)


def _ott(problem: Problem, *, lse_mode: bool) -> Iterator[tuple[str, Call]]:
    import jax
    import numpy as np
    from ott.geometry import geometry
    from ott.problems.linear import linear_problem
    from ott.solvers.linear import sinkhorn

    C, a, b = (jax.numpy.asarray(value.numpy()) for value in problem[2:])
    for tol in TOLERANCES[1:]:
        for inner in INNER:
            solver = sinkhorn.Sinkhorn(lse_mode=lse_mode, threshold=tol, inner_iterations=inner, max_iterations=2000)

            @jax.jit
            def solve(C, a, b, solver=solver):  # noqa: ANN001, ANN202 - arrays of another library
                geom = geometry.Geometry(cost_matrix=C, epsilon=REG)
                return solver(linear_problem.LinearProblem(geom, a, b)).f - REG * jax.numpy.log(a)

            def call(solve=solve) -> Tensor:  # noqa: ANN001
                return torch.from_numpy(np.asarray(solve(C, a, b)))

            yield f"threshold={tol:.0e}, inner_iterations={inner}", call


def flash_sinkhorn(problem: Problem) -> Iterator[tuple[str, Call]]:
    """flash-sinkhorn, from points: half the squared distance of unit vectors is the cosine cost."""
    from flash_sinkhorn import SamplesLoss

    for passes in (30, 100, 300, 1000):
        loss = SamplesLoss(loss="sinkhorn", blur=REG**0.5, debias=False, half_cost=True, n_iters=passes)

        def call(loss=loss) -> Tensor:  # noqa: ANN001
            a = problem.a.clone().requires_grad_()
            return torch.autograd.grad(loss(a, problem.x, problem.b, problem.y), a)[0]

        yield f"n_iters={passes}", call
