"""Solvers at the edge: no mass, tiny reg, rounding, iteration limits, acceleration, errors."""

from __future__ import annotations

import math

import pytest
import torch

from hf_otw.transport import solve_geomloss, solve_semi_relaxed, solve_sinkhorn
from hf_otw.transport.anderson import Anderson
from hf_otw.transport.blocks import CostBlocks
from tests.compare import assert_equal_values
from tests.generators import random_problem
from tests.test_transport import EXACT, REG, ROWS, solve, solve_blocks


@pytest.mark.parametrize("rows", ROWS)
def test_rows_and_columns_without_mass(rows):
    """Kills `log 0 - log 0`: the rest of the problem is solved as if they were not there."""
    problem = random_problem()
    a, b = problem.source.mass.clone(), problem.target.mass.clone()
    a[3], b[2] = 0, 0
    a, b = a / a.sum(), b / b.sum()
    result = solve_blocks(CostBlocks.of_matrix(problem.C), a, b, rows)
    i, j = torch.arange(12) != 3, torch.arange(5) != 2
    less = solve_blocks(CostBlocks.of_matrix(problem.C[i][:, j]), a[i], b[j], rows)
    assert result.marginal_a[3] == 0
    assert torch.isfinite(result.potential_a).all()
    assert_equal_values(result.marginal_a[i], less.marginal_a, atol=1e-9)
    assert_equal_values(result.value, less.value, atol=1e-9)
    assert_equal_values(result.value_linear, less.value_linear, atol=1e-9)
    assert_equal_values(result.marginal_a.sum(), torch.ones((), dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("far", [False, True])
def test_a_tiny_reg_does_not_underflow(rows, dtype, far):
    """exp(-2 / 1e-3) is 0 in every precision. `far`: started from potentials that are wrong by all there is.

    Not asserted: convergence where rows are held. It takes exp(range / reg) iterations, and `converged` says so.
    """
    problem = random_problem(40, 6, dtype=dtype)
    start = torch.linspace(-3, 3, 6, dtype=dtype) if far else None
    result = solve(problem, rows, reg=1e-3, tol=1e-2, max_iter=300, start=start)
    assert all(torch.isfinite(x).all() for x in result[:6])
    assert bool(result.converged) == (result.marginal_error.item() <= 1e-2)
    assert result.marginal_error < 0.5
    assert result.converged or rows == "fixed"
    assert (result.marginal_a.sum() - 1).abs() <= result.marginal_error + 1e-3


def test_float32_agrees_with_float64():
    """1e-5: rounding of 1e-7 in C / reg, amplified by 1 / reg = 5 and the iterations."""
    single, double = random_problem(dtype=torch.float32), random_problem()
    C = single.C.double()
    a, b = single.source.mass.double(), single.target.mass.double()
    exact = solve_sinkhorn(CostBlocks.of_matrix(C), a / a.sum(), b / b.sum(), reg=REG, **EXACT)
    rounded = solve(single, tol=1e-6)
    assert rounded.potential_a.dtype == torch.float32
    assert double.C.dtype == torch.float64
    assert_equal_values(rounded.potential_b.double(), exact.potential_b, atol=1e-5)


def test_an_iteration_limit_is_reported():
    result = solve(random_problem(), max_iter=2, tol=1e-9)
    assert result.iterations == 2
    assert not result.converged
    assert result.marginal_error > 1e-9


def plain(residual, x, steps):
    for _ in range(steps):
        x = x + residual(x)
    return x


def test_anderson_solves_a_slow_linear_iteration():
    """Eigenvalues up to 0.999: 20 plain steps leave 98 % of the error. Kills a mix of the wrong sign."""
    shrink = torch.tensor([0.999, 0.99, 0.9, 0.5], dtype=torch.float64)
    solution = torch.tensor([1.0, -2, 3, 4], dtype=torch.float64)

    def residual(x):
        return (shrink - 1) * (x - solution)

    x = torch.zeros(4, dtype=torch.float64)
    assert (plain(residual, x, 20) - solution).abs().max() > 0.9
    accelerated = Anderson(torch.ones(4, dtype=torch.float64) / 4)
    for _ in range(20):
        x = accelerated(x, residual(x))
    assert_equal_values(x, solution, atol=1e-5)


def test_anderson_takes_back_a_step_that_made_it_worse():
    accelerated = Anderson(torch.ones(2))
    first, residual = torch.tensor([1.0, 2.0]), torch.tensor([0.1, -0.1])
    accelerated(first, residual)
    assert torch.equal(accelerated(torch.tensor([50.0, 50.0]), 100 * residual), first + residual)


def test_acceleration_pays():
    """Plain Sinkhorn takes 1,500 passes here: classes of unequal mass, and a cost that sees labels."""
    problem = random_problem(200, 12, seed=8, uniform=True)
    prior = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)[problem.target.labels]
    target = problem.target._replace(mass=prior / prior.sum())
    result = solve(problem._replace(target=target), reg=0.05, tol=1e-6)
    assert result.converged
    assert result.iterations < 200


SOLVE = {
    "semi_relaxed": lambda C, a, b, reg: solve_semi_relaxed(CostBlocks.of_matrix(C), a, b, reg=reg),
    "sinkhorn": lambda C, a, b, reg: solve_sinkhorn(CostBlocks.of_matrix(C), a, b, reg=reg),
    "geomloss": lambda C, a, b, reg: solve_geomloss(C, a, b, reg=reg),
}


@pytest.mark.parametrize("name", SOLVE)
@pytest.mark.parametrize(
    ("a", "reg", "message"),
    [
        ([0.5, 0.5], 0.0, "Expected reg > 0"),
        ([0.5, 0.5], math.nan, "Expected reg > 0"),
        ([0.5, 0.5], math.inf, "Expected reg > 0"),
        ([1.0, 1.0], 0.1, "a to sum to 1, got 2"),
        ([math.nan, 1.0], 0.1, "a to sum to 1, got nan"),
        ([1.5, -0.5], 0.1, "non-negative masses a, got a minimum of -0.5"),
    ],
)
def test_impossible_problems_are_refused(name, a, reg, message):
    with pytest.raises(ValueError, match=message):
        SOLVE[name](torch.ones(2, 2), torch.tensor(a), torch.tensor([0.5, 0.5]), reg)


@pytest.mark.parametrize("rows", ROWS)
def test_a_row_without_mass_may_fit_to_infinity(rows):
    """The only row near its columns has no mass: its fit is exp(5000), and zero times that is zero. Kills NaN."""
    C = torch.tensor([[0.0, 0.0], [0.5, 0.6], [0.7, 0.5]])
    a, b = torch.tensor([0.0, 0.5, 0.5]), torch.tensor([0.5, 0.5])
    found = solve_blocks(CostBlocks.of_matrix(C), a, b, rows, reg=1e-4, tol=1e-3, max_iter=200)
    torch.testing.assert_close(found.marginal_a, torch.tensor([0.0, 0.5, 0.5]))
    torch.testing.assert_close(found.value_linear, torch.tensor(0.5))
    assert torch.isfinite(found.value)


def test_columns_are_checked_by_their_name():
    C = torch.zeros(2, 2)
    half = torch.full((2,), 0.5)
    with pytest.raises(ValueError, match=r"masses b to sum to 1, got 4\."):
        solve_semi_relaxed(CostBlocks.of_matrix(C), half, half * 4, reg=0.1)
    with pytest.raises(ValueError, match="masses a to sum to 1"):
        solve_semi_relaxed(CostBlocks.of_matrix(C), half * 1.002, half, reg=0.1)
    solve_semi_relaxed(CostBlocks.of_matrix(C), half * 1.0009, half, reg=0.1)
