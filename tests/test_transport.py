"""Solvers against independent references: SciPy on the primal problem, plain loops, linear programs, GeomLoss."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize

from hf_otw.transport import solve_geomloss, solve_semi_relaxed, solve_sinkhorn
from hf_otw.transport.blocks import CostBlocks
from hf_otw.transport.costs import FeatureCost
from tests.compare import assert_equal_up_to_constant, assert_equal_values, assert_plan
from tests.generators import dirac_target, identical_rows, label_only, permutation, random_problem

REG = 0.2
EXACT = {"tol": 1e-11, "max_iter": 2000}
ROWS = ("fixed", "free")


def solve_blocks(blocks, a, b, rows="fixed", *, reg=REG, start=None, **options):
    """Sinkhorn for fixed rows, to rounding unless told otherwise; the closed form for free ones."""
    if rows == "free":
        return solve_semi_relaxed(blocks, a, b, reg=reg)
    return solve_sinkhorn(blocks, a, b, reg=reg, start=start, **EXACT | options)


def solve(problem, rows="fixed", **options):
    blocks = CostBlocks.of_matrix(problem.C)
    return solve_blocks(blocks, problem.source.mass, problem.target.mass, rows, **options)


def plan_of(problem, result, reg=REG):
    a, b = problem.source.mass, problem.target.mass
    return a[:, None] * b * ((result.potential_a[:, None] + result.potential_b - problem.C) / reg).exp()


def kl(p, q):
    return (p * np.log(p / q) - p + q).sum()


def primal_by_scipy(problem, rows, reg):
    """Minimise the primal problem over the entries of T: shares nothing with the dual iteration under test."""
    C, a, b = problem.C.numpy(), problem.source.mass.numpy(), problem.target.mass.numpy()
    n, m = C.shape

    def objective(t):
        T = t.reshape(n, m)
        return (T * C).sum() + reg * kl(T, np.outer(a, b))

    def gradient(t):
        T = t.reshape(n, m)
        return (C + reg * np.log(T / np.outer(a, b))).ravel()

    constraints = [{"type": "eq", "fun": lambda t: t.reshape(n, m).sum(0) - b}]
    if rows == "fixed":
        constraints += [{"type": "eq", "fun": lambda t: t.reshape(n, m).sum(1)[:-1] - a[:-1]}]
    found = minimize(
        objective,
        np.outer(a, b).ravel(),
        jac=gradient,
        method="SLSQP",
        bounds=[(1e-12, 1)] * (n * m),
        constraints=constraints,
        options={"ftol": 1e-15, "maxiter": 500},
    )
    return torch.from_numpy(found.x.reshape(n, m))


@pytest.mark.parametrize("rows", ROWS)
def test_the_plan_minimises_the_primal_problem(rows):
    """1e-5: SLSQP stops when its steps no longer lower the objective, which is flat to second order there."""
    problem = random_problem(4, 3, seed=2)
    expected = primal_by_scipy(problem, rows, REG)
    result = solve(problem, rows)
    assert_equal_values(plan_of(problem, result), expected, atol=1e-5)
    assert_equal_values(result.marginal_a, expected.sum(dim=1), atol=1e-5)


def check_optimality(problem, rows, result, atol):
    """The conditions that make a plan optimal: its form, its columns, and the price of its row masses."""
    a, b = problem.source.mass, problem.target.mass
    plan, f = plan_of(problem, result), result.potential_a
    assert_plan(plan, result.marginal_a, b, atol=atol)
    if rows == "fixed":
        assert_equal_values(result.marginal_a, a, atol=atol)
    else:  # a row that may hold any mass has no price
        assert f.abs().max() < atol
    assert_equal_values(result.value_linear, (plan * problem.C).sum(), atol=atol)
    penalty = (plan * (plan / torch.outer(a, b)).log()).sum()
    assert_equal_values(result.value, (plan * problem.C).sum() + REG * penalty, atol=atol)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rows", ROWS)
def test_optimality_conditions(rows, seed):
    problem = random_problem(30, 7, seed=seed)
    result = solve(problem, rows)
    assert result.converged
    check_optimality(problem, rows, result, 1e-9)


def test_closed_form_by_loops():
    """Kills a softmax over columns in place of rows, and a prior that is left out."""
    problem = random_problem(6, 4, seed=3)
    a, b, C = problem.source.mass, problem.target.mass, problem.C
    expected = torch.zeros(6, 4, dtype=torch.float64)
    for j in range(4):
        norm = sum(a[i] * math.exp(-C[i, j] / REG) for i in range(6))
        for i in range(6):
            expected[i, j] = b[j] * a[i] * math.exp(-C[i, j] / REG) / norm
    result = solve_semi_relaxed(CostBlocks.of_matrix(C), a, b, reg=REG)
    assert_equal_values(plan_of(problem, result), expected, atol=1e-12)
    check_optimality(problem, "free", result, 1e-12)


def linear_program(problem, rows):
    n, m = problem.C.shape
    a, b = problem.source.mass.numpy(), problem.target.mass.numpy()
    columns, row_sums = np.kron(np.ones((1, n)), np.eye(m)), np.kron(np.eye(n), np.ones((1, m)))
    kinds = {
        "free": {"A_eq": columns, "b_eq": b},
        "fixed": {"A_eq": np.vstack([columns, row_sums]), "b_eq": np.concatenate([b, a])},
    }
    return linprog(problem.C.numpy().ravel(), **kinds[rows]).fun


@pytest.mark.parametrize("rows", ROWS)
def test_small_reg_is_the_linear_program(rows):
    """The gap is at most reg times the largest KL, log(1 / min(a b)) < 5: 2.5e-2 at reg = 5e-3."""
    problem, reg = random_problem(8, 4, seed=1, cost=FeatureCost()), 5e-3
    expected = linear_program(problem, rows)
    result = solve(problem, rows, reg=reg, tol=1e-6, max_iter=1000)
    # A plan that misses its columns by e may be cheaper by 2 e, the largest cost being 2.
    assert result.marginal_error < 1e-6
    assert expected - 2 * result.marginal_error - 1e-9 <= result.value_linear <= expected + 2.5e-2


def test_warm_start_gives_the_same_answer_sooner():
    problem = random_problem(40, 8, seed=1)
    cold = solve(problem)
    warm = solve(problem, start=cold.potential_b)
    assert warm.iterations == 1 < cold.iterations
    assert_equal_values(warm.potential_a, cold.potential_a, atol=1e-9)
    g = torch.Generator().manual_seed(0)
    near = problem.source.mass * (1 + 1e-4 * torch.rand(40, generator=g, dtype=torch.float64))
    moved = problem._replace(source=problem.source._replace(mass=near / near.sum()))
    first, second = solve(moved, tol=1e-6), solve(moved, tol=1e-6, start=cold.potential_b)
    assert second.iterations < first.iterations
    assert_equal_values(second.potential_b, first.potential_b, atol=1e-5)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("block_rows", [1, 5])
def test_blocks_do_not_change_the_answer(rows, block_rows):
    problem = random_problem(seed=4)
    source, target = problem.source, problem.target
    blocks = CostBlocks(problem.cost, source, target, block_rows=block_rows, cache_bytes=0)
    result, expected = solve_blocks(blocks, source.mass, target.mass, rows), solve(problem, rows)
    for name in ("value", "value_linear", "marginal_a", "potential_b"):
        assert_equal_values(getattr(result, name), getattr(expected, name), atol=1e-9)


def test_agrees_with_geomloss():
    """GeomLoss anneals: 2e-3 is its own error after 3,000 passes, and 20 times that after 100."""
    problem = random_problem(seed=5)
    a, b = problem.source.mass, problem.target.mass
    oracle = solve_geomloss(problem.C, a, b, reg=REG, max_iter=3000)
    result = solve(problem)
    assert_equal_values(result.value, oracle.value, atol=2e-3)
    assert_equal_values(result.value_linear, oracle.value_linear, atol=2e-3)
    assert_equal_up_to_constant(result.potential_a, oracle.potential_a, atol=2e-3)
    assert_equal_up_to_constant(result.potential_b, oracle.potential_b, atol=2e-3)


@pytest.mark.parametrize(
    ("make", "rows"),
    [(dirac_target, "fixed"), *((identical_rows, rows) for rows in ROWS)],
    # A function's own text holds its address, which differs between the processes that share the tests.
    ids=lambda value: value.__name__ if callable(value) else str(value),
)
def test_rows_that_transport_cannot_tell_apart_keep_the_prior(make, rows):
    problem = make()
    assert_equal_values(solve(problem, rows).marginal_a, problem.marginal_a, atol=1e-9)


@pytest.mark.parametrize("rows", ROWS)
def test_a_permutation_is_found(rows):
    """Off the permutation the cost is 1, so the rest of the mass is exp(-1 / 0.02) = 2e-22."""
    problem = permutation()
    result = solve(problem, rows, reg=0.02)
    assert_equal_values(result.marginal_a, problem.marginal_a, atol=1e-9)
    matched = problem.source.labels[:, None] == problem.target.labels
    expected = matched * problem.source.mass[:, None]
    assert_equal_values(plan_of(problem, result, 0.02), expected, atol=1e-9)


def test_label_cost_alone_is_inverse_frequency():
    """`1 / (K n_y)` up to exp(-1 / 0.02), method.md section 3."""
    problem = label_only()
    a, b = problem.source.mass, problem.target.mass
    result = solve_semi_relaxed(CostBlocks.of_matrix(problem.C), a, b, reg=0.02)
    assert_equal_values(result.marginal_a, problem.marginal_a, atol=1e-12)


@pytest.mark.parametrize("rows", ROWS)
def test_reordering_rows_and_columns_reorders_the_answer(rows):
    problem = random_problem()
    i, j = torch.arange(12).roll(5), torch.arange(5).flip(0)
    source, target = problem.source._replace(mass=problem.source.mass[i]), problem.target.mass[j]
    moved = solve_blocks(CostBlocks.of_matrix(problem.C[i][:, j]), source.mass, target, rows)
    expected = solve(problem, rows)
    assert_equal_values(moved.marginal_a, expected.marginal_a[i], atol=1e-9)
    assert_equal_values(moved.potential_b, expected.potential_b[j], atol=1e-9)


@pytest.mark.parametrize("rows", ROWS)
def test_scaling_cost_and_reg_scales_the_value(rows):
    problem = random_problem()
    blocks = CostBlocks.of_matrix(3 * problem.C)
    result = solve_blocks(blocks, problem.source.mass, problem.target.mass, rows, reg=3 * REG)
    assert_equal_values(result.value, 3 * solve(problem, rows).value, atol=1e-9)
