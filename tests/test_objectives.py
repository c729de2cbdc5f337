"""Gradients in the row masses: float64, non-uniform masses, against finite differences and one other derivation."""

from __future__ import annotations

import pytest
import torch

from hf_otw.config import options
from hf_otw.transport import OBJECTIVES, solve_semi_relaxed
from hf_otw.transport.blocks import CostBlocks
from hf_otw.transport.costs import CombinedCost, FeatureCost
from hf_otw.transport.objectives import entropy_objective, kl_objective, sharp_objective
from tests.compare import assert_equal_up_to_constant, assert_equal_values
from tests.generators import Problem, random_problem

REG = 0.2
STEP = 1e-3
# Own solvers stop at an L1 error of 1e-8 in float64: potentials are off by 1e-6 at most where classes are well apart.
# Finite differences add their third-order term, (reg / w^2) * STEP^2 = 4e-5, more for `sharp`. GeomLoss anneals and
# stops after 300 passes: its gradients are off by 8e-2 at reg 0.2 and by 2e-2 at 0.5, where it is tested.
TOLERANCE = {"entropy": 1e-5, "kl": 1e-5, "sharp": 1e-4, "kl_geomloss": 2e-2}
OWN = ("entropy", "kl", "sharp")


def test_every_objective_is_named_once():
    """Kills an objective of the schema that the mathematics does not know, or the other way round."""
    assert set(OBJECTIVES) == set(TOLERANCE) == set(options.OBJECTIVES)
    assert all(OBJECTIVES[name] is option.load() for name, option in options.OBJECTIVES.items())


def problem_at(seed: int = 0, cost=None) -> Problem:
    return random_problem(9, 5, seed=seed, cost=cost)


def reg_of(name):
    return 0.5 if name.endswith("geomloss") else REG


def at(name, problem, w, reg=None):
    return OBJECTIVES[name](problem.source._replace(mass=w), problem.target, problem.cost, reg or reg_of(name), None)


def unrolled(C, a, b, reg, iterations=600):
    """Textbook log-domain Sinkhorn: both potentials, no fusing, no acceleration; autograd runs through all of it."""
    f, g = torch.zeros_like(a), torch.zeros_like(b)
    for _ in range(iterations):
        f = -reg * ((g - C) / reg + b.log()).logsumexp(dim=1)
        g = -reg * ((f[:, None] - C) / reg + a.log()[:, None]).logsumexp(dim=0)
    return a[:, None] * b * ((f[:, None] + g - C) / reg).exp()


def kl(T, a, b):
    return (T * (T / torch.outer(a, b)).log()).sum()


def reference_value(name, problem, w):
    """The objective, written down from its name, at an unrolled plan."""
    C, b, reg = problem.C, problem.target.mass, reg_of(name)
    T = unrolled(C, w, b, reg)
    if name == "sharp":
        return (T * C).sum()
    if name == "entropy":
        return (T * C).sum() + reg * (T * T.log()).sum()
    return (T * C).sum() + reg * kl(T, w, b)


@pytest.mark.parametrize("cost", [CombinedCost(0.5), FeatureCost()])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_value_and_gradient_agree_with_autograd_through_unrolled_sinkhorn(name, cost):
    problem = problem_at(cost=cost)
    w = problem.source.mass.clone().requires_grad_()
    value = reference_value(name, problem, w)
    (expected,) = torch.autograd.grad(value, w)
    found = at(name, problem, w.detach())
    assert_equal_up_to_constant(found.grad_a, expected, atol=TOLERANCE[name])
    assert abs(found.grad_a.mean()) < 1e-12
    assert_equal_values(found.value, value.detach(), atol=TOLERANCE[name])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradient_agrees_with_finite_differences_of_the_objective_itself(name):
    """Along e_i - e_k, which keep the masses on the simplex."""
    problem = problem_at(1)
    w = problem.source.mass
    gradient = at(name, problem, w).grad_a
    step = 10 * STEP if name == "kl_geomloss" else STEP  # its value is off by 1e-4
    expected = []
    for i in range(1, 9):
        move = torch.zeros_like(w)
        move[i], move[0] = step, -step
        expected.append((at(name, problem, w + move).value - at(name, problem, w - move).value) / (2 * step))
    assert_equal_values(gradient[1:] - gradient[0], torch.stack(expected), atol=TOLERANCE[name] + 2e-4)


@pytest.mark.parametrize("name", OWN)
def test_objectives_differ(name):
    """Or the tests above could not tell them apart."""
    problem = problem_at(2)
    mine = at(name, problem, problem.source.mass).grad_a
    for other in set(OWN) - {name}:
        assert (mine - at(other, problem, problem.source.mass).grad_a).abs().max() > 10 * TOLERANCE[name]


def test_entropy_gradient_vanishes_at_the_closed_form():
    """With a uniform prior the closed form minimises `entropy`; 1e-6 is the solver's tolerance."""
    problem = problem_at(3)
    uniform = torch.full_like(problem.source.mass, 1 / 9)
    blocks = CostBlocks.of_matrix(problem.C)
    best = solve_semi_relaxed(blocks, uniform, problem.target.mass, reg=REG).marginal_a
    assert at("entropy", problem, uniform).grad_a.abs().max() > 0.05
    assert at("entropy", problem, best).grad_a.abs().max() < 1e-6
    for name in ("kl", "sharp"):
        assert at(name, problem, best).grad_a.abs().max() > 0.02


def test_own_solver_agrees_with_geomloss():
    """The field's reference at its own accuracy, 2e-2 after 300 annealed passes."""
    problem = problem_at(5)
    found, oracle = at("kl", problem, problem.source.mass, 0.5), at("kl_geomloss", problem, problem.source.mass)
    assert_equal_up_to_constant(found.grad_a, oracle.grad_a, atol=TOLERANCE["kl_geomloss"])
    assert_equal_values(found.value, oracle.value, atol=TOLERANCE["kl_geomloss"])


@pytest.mark.parametrize("objective", [entropy_objective, kl_objective, sharp_objective])
def test_a_warm_start_does_not_change_the_gradient(objective):
    source, target, cost, _ = problem_at(6)
    cold = objective(source, target, cost, REG, None)
    warm = objective(source, target, cost, REG, cold.potential_b)
    assert_equal_values(warm.grad_a, cold.grad_a, atol=1e-6)
    assert cold.converged


@pytest.mark.parametrize("name", OWN)
def test_a_row_without_mass_gets_a_finite_gradient(name):
    """And for `kl` and `sharp` the right one: the limit of a small mass."""
    problem = problem_at(7)
    zero, small = problem.source.mass.clone(), problem.source.mass.clone()
    zero[2], small[2] = 0, 1e-9
    found = at(name, problem, zero / zero.sum()).grad_a
    assert torch.isfinite(found).all()
    if name != "entropy":  # whose gradient goes to minus infinity
        assert_equal_up_to_constant(found, at(name, problem, small / small.sum()).grad_a, atol=1e-5)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradients_are_float32_when_features_are(name):
    problem = random_problem(9, 5, dtype=torch.float32)
    found = at(name, problem, problem.source.mass)
    assert found.grad_a.dtype == torch.float32
    assert torch.isfinite(found.grad_a).all()
