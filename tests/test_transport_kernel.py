"""Kernel blocks and the small solver: what makes passes cheap must not change what they find."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from hf_otw.transport import kernel, sinkhorn, small, solve_semi_relaxed, solve_sinkhorn
from hf_otw.transport.blocks import CostBlocks
from hf_otw.types import TransportResult
from tests.compare import assert_equal_values
from tests.generators import Problem, random_problem

REG = 0.2
TENSORS = ("value", "value_linear", "marginal_a", "potential_a", "potential_b")


def solve(problem: Problem, **options: object) -> TransportResult:
    a, b = problem.source.mass, problem.target.mass
    options = {"reg": REG, "tol": 1e-10, "max_iter": 2000} | options
    return solve_sinkhorn(CostBlocks.of_matrix(problem.C), a, b, **options)


def solve_free(problem: Problem, **options: object) -> TransportResult:
    a, b = problem.source.mass, problem.target.mass
    return solve_semi_relaxed(CostBlocks.of_matrix(problem.C), a, b, reg=REG, **options)


def without_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinkhorn, "solve_small", lambda *args, **kwargs: None)


def same(found: TransportResult, expected: TransportResult, atol: float) -> None:
    for name in TENSORS:
        if name == "potential_a" and not expected.potential_a.any():  # free rows
            assert found.potential_a.abs().max() <= atol
            continue
        assert_equal_values(getattr(found, name), getattr(expected, name), atol=atol)


@pytest.mark.parametrize("start", [False, True])
def test_small_problems_have_the_solution_of_large_ones(monkeypatch: pytest.MonkeyPatch, start: bool) -> None:
    problem = random_problem(30, 7, seed=1)
    calls: list[object] = []
    small_solver = small.solve_small
    monkeypatch.setattr(sinkhorn, "solve_small", lambda *a, **k: calls.append(found := small_solver(*a, **k)) or found)
    given = torch.linspace(-0.1, 0.1, 7, dtype=torch.float64) if start else None
    found = solve(problem, start=given, reg=1.0)
    assert calls[-1] is found, "the small solver was not used: nothing is tested"
    without_small(monkeypatch)
    expected = solve(problem, start=given, reg=1.0)
    same(found, expected, 1e-8)  # an L1 error of 1e-10 over the smallest mass
    assert found.converged
    assert found.marginal_error <= 1e-10
    assert found.value.dtype == torch.float64


@pytest.mark.parametrize("what", ["large", "zero mass", "wide range", "mixed"])
def test_what_is_not_small_is_left_to_others(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    problem = random_problem(12, 5, dtype=torch.float32)
    a, b, C = problem.source.mass, problem.target.mass, problem.C
    if what == "large":
        monkeypatch.setattr(small, "MOST_NUMBERS", 59)
    if what == "zero mass":
        a = torch.cat([a[:-2], a.new_zeros(1), a[-2:].sum()[None]])
    if what == "wide range":
        C = C * (70 * REG / C.max())
    if what == "mixed":
        b = b.double()
    given = {"reg": REG, "start": None, "tol": 1e-3, "value_linear": True}
    assert small.solve_small(CostBlocks.of_matrix(C), a, b, **given) is None
    if what != "mixed":
        assert torch.isfinite(solve_sinkhorn(CostBlocks.of_matrix(C), a, b, reg=REG).potential_a).all()


def test_small_gives_up_where_passes_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills a result that did not converge, taken for one that did."""
    problem = random_problem(30, 7, seed=1)
    monkeypatch.setattr(small, "MOST_PASSES", 2)
    given = {"reg": REG, "start": None, "tol": 1e-10, "value_linear": True}
    a, b = problem.source.mass, problem.target.mass
    assert small.solve_small(CostBlocks.of_matrix(problem.C), a, b, **given) is None


def test_potentials_of_balanced_problems_have_mean_zero_over_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = random_problem(20, 4, seed=3)
    for _ in range(2):
        found = solve(problem)
        assert found.potential_a.abs().max() > 0.01
        assert abs((problem.source.mass * found.potential_a).sum().item()) < 1e-12
        without_small(monkeypatch)


def blocks_of(problem: Problem, *, block_rows: int, cache_bytes: int) -> tuple[CostBlocks, list[int]]:
    calls: list[int] = []

    def cost(source: object, target: object) -> Tensor:
        calls.append(1)
        return problem.cost(source, target)

    return CostBlocks(cost, problem.source, problem.target, block_rows=block_rows, cache_bytes=cache_bytes), calls


@pytest.mark.parametrize("form", ["logarithms", "mixed", "parts"])
def test_forms_of_a_block_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """Costs that range too far take logarithms; a block may do so while its neighbours do not."""
    problem = random_problem(23, 6, seed=4)
    without_small(monkeypatch)
    expected, free = solve(problem), solve_free(problem)
    blocks, _ = blocks_of(problem, block_rows=5, cache_bytes=0)
    ranges = sorted((C.max() - C.min()).item() for _, C in blocks)
    limit = {"logarithms": 1e-9, "mixed": ranges[2] / REG, "parts": 600.0}[form]
    monkeypatch.setattr(kernel, "MAX_EXPONENT", {torch.float64: limit})
    monkeypatch.setattr(kernel, "CACHED_NUMBERS", 12)
    kinds = {block.K is None for block in kernel.Kernel(blocks, REG)}
    assert kinds == {"logarithms": {True}, "mixed": {True, False}, "parts": {False}}[form]
    a, b = problem.source.mass, problem.target.mass
    found = solve_sinkhorn(blocks, a, b, reg=REG, tol=1e-10, max_iter=2000)
    same(found, expected, 1e-8)
    same(solve_semi_relaxed(blocks, a, b, reg=REG), free, 1e-10)


@pytest.mark.parametrize(("fits", "calls"), [(True, 5), (False, 10)])
def test_a_kernel_that_fits_is_computed_once(monkeypatch: pytest.MonkeyPatch, fits: bool, calls: int) -> None:
    problem = random_problem(23, 6, seed=4)
    monkeypatch.setattr(kernel, "KERNEL_BYTES", 23 * 6 * 8 - (not fits))
    blocks, made = blocks_of(problem, block_rows=5, cache_bytes=0)
    assert len(made) == 0
    solve_semi_relaxed(blocks, problem.source.mass, problem.target.mass, reg=REG, value_linear=False)
    assert len(made) == calls
    solve_semi_relaxed(blocks, problem.source.mass, problem.target.mass, reg=2 * REG, value_linear=False)
    assert len(made) == 2 * calls, "another reg has another kernel"


def test_a_kernel_of_another_reg_is_not_used() -> None:
    problem = random_problem(23, 6, seed=4)
    blocks = CostBlocks.of_matrix(problem.C)
    a, b = problem.source.mass, problem.target.mass
    solve_semi_relaxed(blocks, a, b, reg=1.0)
    found = solve_semi_relaxed(blocks, a, b, reg=REG)
    same(found, solve_semi_relaxed(CostBlocks.of_matrix(problem.C), a, b, reg=REG), 0.0)


def rounded_problem(monkeypatch: pytest.MonkeyPatch) -> tuple[Problem, CostBlocks]:
    problem = random_problem(60, 8, seed=5, dtype=torch.float32)
    monkeypatch.setattr(kernel, "KERNEL_BYTES", 60 * 8 * 2)
    monkeypatch.setattr(small, "MOST_NUMBERS", 0)
    return problem, blocks_of(problem, block_rows=7, cache_bytes=0)[0]


SOLVE: dict[str, Callable[..., TransportResult]] = {
    "semi_relaxed": lambda blocks, a, b: solve_semi_relaxed(blocks, a, b, reg=REG),
    "sinkhorn": lambda blocks, a, b: solve_sinkhorn(blocks, a, b, reg=REG, tol=1e-5),
}


@pytest.mark.parametrize("name", SOLVE)
def test_a_rounded_kernel_is_that_of_slightly_other_costs(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """bfloat16 keeps 8 bits: K is off by 2^-9 of itself at most, costs by reg / 512, and marginals not at all."""
    problem, blocks = rounded_problem(monkeypatch)
    a, b = problem.source.mass, problem.target.mass
    found = SOLVE[name](blocks, a, b)
    kept = kernel.Kernel(blocks, REG)
    assert kept.stored == torch.bfloat16
    K = torch.cat([block.K.log() + block.log_scale for block in kept])
    off = (-REG * K - problem.C).abs().max().item()
    assert 0 < off < REG / 256
    monkeypatch.undo()
    expected = SOLVE[name](CostBlocks.of_matrix(-REG * K), a, b)
    assert_equal_values(found.marginal_a, expected.marginal_a, atol=1e-5)
    assert_equal_values(found.potential_b, expected.potential_b, atol=1e-5)
    plan = a[:, None] * b * ((found.potential_a[:, None] + found.potential_b) / REG + K).exp()
    assert_equal_values(plan.sum(dim=0), b, atol=1e-5)


def test_the_first_pass_sees_what_later_passes_see(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills normalisers of exact numbers beside row masses of rounded ones: masses would not sum to one."""
    _, blocks = rounded_problem(monkeypatch)
    first = [block.K.clone() for block in kernel.Kernel(blocks, REG)]
    again = [block.K.clone() for block in kernel.Kernel(blocks, REG)]
    assert len(first) == len(again) > 1
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_value_linear_is_left_out_when_not_asked_for() -> None:
    problem = random_problem(20, 4, seed=3)
    slow = solve(problem, value_linear=False, max_iter=29)  # fewer than the small solver takes for itself
    for found in (slow, solve(problem, value_linear=False), solve_free(problem, value_linear=False)):
        assert math.isnan(found.value_linear)
        assert torch.isfinite(found.value)


def test_small_solver_by_plain_loops() -> None:
    """Kills a relaxation that leaves `u` and `v` inconsistent with each other."""
    problem = random_problem(6, 4, seed=2)
    K = np.exp(-problem.C.numpy() / REG)
    a, b = problem.source.mass.numpy(), problem.target.mass.numpy()
    v = np.ones(4)
    for _ in range(2000):
        u = a / (K @ v)
        v = b / (u @ K)
    found = solve(problem, tol=1e-12)
    plan = u[:, None] * K * v
    f, g = (p.numpy()[:, None] if k == 0 else p.numpy() for k, p in enumerate(found[3:5]))
    np.testing.assert_allclose(np.outer(a, b) * np.exp((f + g - problem.C.numpy()) / REG), plan, atol=1e-10)
