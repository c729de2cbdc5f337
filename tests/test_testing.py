"""Everything that can be named keeps its contract; every contract check and comparator rejects a broken one."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from hf_otw.config.build import build_class_mass, build_cost, build_weight_model
from hf_otw.config.options import COSTS, OBJECTIVES, WEIGHTINGS
from hf_otw.testing import FEATURE_DIM, NUM_CLASSES, NUM_EXAMPLES, check_cost, check_solver, check_weighting
from hf_otw.transport import solve_geomloss, solve_semi_relaxed, solve_sinkhorn
from hf_otw.transport.costs import FeatureCost
from hf_otw.weighting import WeightModel, WeightNet
from hf_otw.weighting.base import Facts, exact
from tests import compare

#: Of the problem that `check_weighting` poses.
FACTS = Facts(
    labels=torch.arange(NUM_EXAMPLES) % NUM_CLASSES,
    class_counts=torch.full((NUM_CLASSES,), NUM_EXAMPLES // NUM_CLASSES),
    class_mass=build_class_mass("balanced"),
    feature_dim=FEATURE_DIM,
    read_column=lambda name: torch.arange(NUM_EXAMPLES),
)


def geomloss(blocks, a, b, *, reg):
    ((_, C),) = blocks
    return solve_geomloss(C, a, b, reg=reg, max_iter=1000)


SOLVERS = {"semi_relaxed": solve_semi_relaxed, "sinkhorn": solve_sinkhorn, "geomloss": geomloss}
#: Arguments beside the defaults: each objective, and what takes another path.
KWARGS = {
    "closed_form": [{"target_ess": 0.5}],
    "effective_number": [{"beta": 0.9}],
    "table": [{"objective": name, "steps": 2} for name in OBJECTIVES],
    "net": [{"objective": name, "steps": 2} for name in OBJECTIVES],
}
MODELS = [(name, kwargs) for name in WEIGHTINGS if name != "none" for kwargs in ({}, *KWARGS.get(name, ()))]


@pytest.mark.parametrize("name", COSTS)
def test_every_named_cost_keeps_the_contract(name):
    check_cost(build_cost(name, {}, NUM_CLASSES))


@pytest.mark.parametrize("name", SOLVERS)
def test_every_solver_keeps_the_contract(name):
    check_solver(SOLVERS[name])


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        pytest.param(*model, marks=[pytest.mark.slow] if "geomloss" in str(model) else [], id=str(model))
        for model in MODELS
    ],
)
def test_every_weighting_keeps_the_contract(name, kwargs):
    check_weighting(lambda: build_weight_model(WEIGHTINGS[name], kwargs, FACTS))


def _over_rows(source, target):
    C = FeatureCost()(source, target)
    return C / C.max()


def _writes(source, target):
    source.features.mul_(2)
    return FeatureCost()(source, target)


class _Halved(FeatureCost):
    def into(self, out, source, target):
        costs = super().into(out, source, target)
        return costs if out is None else costs.div_(2)


BROKEN_COSTS = {
    "shape": (lambda s, t: FeatureCost()(t, s), "of shape"),
    "sign": (lambda s, t: FeatureCost()(s, t) - 1, ">= 0"),
    "nan": (lambda s, t: FeatureCost()(s, t) * torch.nan, "finite"),
    "dtype": (lambda s, t: FeatureCost()(s, t).half(), "dtype"),
    "list": (lambda s, t: FeatureCost()(s, t).tolist(), "tensor"),
    "normalised over rows": (_over_rows, "other rows"),
    "in place": (_writes, "leave its arguments"),
    "other costs in memory that is there": (_Halved(), "into"),
    "random": (lambda s, t: FeatureCost()(s, t) + torch.rand(1).to(s.features), "same answer twice"),
}


@pytest.mark.parametrize("name", BROKEN_COSTS)
def test_check_cost_rejects(name):
    cost, message = BROKEN_COSTS[name]
    with pytest.raises(AssertionError, match=message):
        check_cost(cost)


def _replaced(**change):
    def solver(blocks, a, b, *, reg):
        result = solve_sinkhorn(blocks, a, b, reg=reg)
        return result._replace(**{name: f(result) for name, f in change.items()})

    return solver


def _no_check(blocks, a, b, *, reg):
    return solve_sinkhorn(blocks, a, b, reg=reg or 1.0)


def _writes_cost(blocks, a, b, *, reg):
    result = solve_sinkhorn(blocks, a, b, reg=reg)
    next(iter(blocks))[1].add_(1)
    return result


BROKEN_SOLVERS = {
    "one iteration": (partial(solve_sinkhorn, max_iter=1), "column masses"),
    "potential": (_replaced(potential_a=lambda r: -r.potential_a), "column masses"),
    "marginal_a": (_replaced(marginal_a=lambda r: r.marginal_a.flip(0)), "marginal_a"),
    "value": (_replaced(value=lambda r: r.value + 0.1), "KL"),
    "value_linear": (_replaced(value_linear=lambda r: r.value), "value_linear"),
    "marginal_error": (_replaced(marginal_error=lambda r: r.marginal_error + 0.1), "marginal_error"),
    "converged": (_replaced(converged=lambda r: ~r.converged), "converged"),
    "nan": (_replaced(value=lambda r: r.value * torch.nan), "finite value"),
    "shape": (_replaced(potential_b=lambda r: r.potential_b[:-1]), "shape"),
    "tuple": (lambda blocks, a, b, *, reg: tuple(solve_sinkhorn(blocks, a, b, reg=reg)), "TransportResult"),
    "reg": (_no_check, "ValueError"),
    "in place": (_writes_cost, "leave its arguments"),
}


@pytest.mark.parametrize("name", BROKEN_SOLVERS)
def test_check_solver_rejects(name):
    solver, message = BROKEN_SOLVERS[name]
    with pytest.raises(AssertionError, match=message):
        check_solver(solver)


class Forgetful(WeightModel):
    """Counts its calls in an attribute that no checkpoint holds."""

    needs_transport = False
    calls = 0

    def forward(self, index, source, target, cost):
        self.calls += 1
        return exact(torch.ones_like(source.mass) + (self.calls - 1) * torch.arange(len(index)) / len(index))


class Broken(WeightModel):
    needs_transport = False

    def __init__(self, weigh):
        super().__init__()
        self.weigh = weigh

    def forward(self, index, source, target, cost):
        return self.weigh(index, source)


def _writing(index, source):
    source.mass.mul_(2)
    return exact(torch.ones_like(source.mass))


BROKEN_MODELS = {
    "not a model": (lambda: torch.nn.Identity(), "WeightModel"),
    "forgetful": (Forgetful, "state_dict"),
    "negative": (lambda: Broken(lambda i, s: exact(1 - 2.0 * (i % 2))), "non-negative"),
    "mean": (lambda: Broken(lambda i, s: exact(s.mass)), "mean 1"),
    "nan": (lambda: Broken(lambda i, s: exact(s.mass * torch.nan)), "finite"),
    "shape": (lambda: Broken(lambda i, s: exact(s.mass[:-1])), "shape"),
    "graph": (lambda: Broken(lambda i, s: exact(torch.ones(len(i), requires_grad=True))), "detached"),
    "global rng": (lambda: Broken(lambda i, s: exact(torch.rand(len(i)))), "random state"),
    "by position": (lambda: Broken(lambda i, s: exact(torch.arange(len(i)) / ((len(i) - 1) / 2))), "reordered"),
    "tensor": (lambda: Broken(lambda i, s: s.mass), "Weights"),
    "in place": (lambda: Broken(_writing), "leave its arguments"),
}


@pytest.mark.parametrize("name", BROKEN_MODELS)
def test_check_weighting_rejects(name):
    make_model, message = BROKEN_MODELS[name]
    with pytest.raises(AssertionError, match=message):
        check_weighting(make_model)


def test_two_fresh_models_that_differ_are_rejected():
    seeds = iter(range(9))
    with pytest.raises(AssertionError, match="two fresh models"):
        check_weighting(lambda: WeightNet(FEATURE_DIM, seed=next(seeds)))


X = torch.tensor([0.1, 0.4, 0.5])
REJECTED = {
    "empty": (compare.assert_not_vacuous, (X[:0],), {}),
    "zero": (compare.assert_not_vacuous, (X * 0,), {}),
    "nan": (compare.assert_not_vacuous, (X * torch.nan,), {}),
    "values": (compare.assert_equal_values, (X + 0.01, X), {"atol": 1e-3}),
    "not a constant": (compare.assert_equal_up_to_constant, (X.flip(0), X), {"atol": 1e-3}),
    "flat": (compare.assert_equal_up_to_constant, (X, torch.ones(3)), {"atol": 1e-3}),
    "too loose": (compare.assert_equal_up_to_constant, (X, X), {"atol": 0.1}),
    "row masses": (compare.assert_plan, (torch.full((3, 2), 1 / 6), X, torch.ones(2) / 2), {"atol": 1e-3}),
    "column masses": (compare.assert_plan, (torch.full((2, 3), 1 / 6), torch.ones(2) / 2, X), {"atol": 1e-3}),
    "negative plan": (compare.assert_plan, (1.5 * torch.eye(2) - 0.5, *[torch.ones(2) / 2] * 2), {"atol": 1e-3}),
    "negative weight": (compare.assert_weights, (torch.tensor([3.0, -1.0]), 2), {}),
    "mean": (compare.assert_weights, (torch.tensor([1.0, 2.0]), 2), {}),
    "length": (compare.assert_weights, (torch.ones(3), 2), {}),
}


@pytest.mark.parametrize("name", REJECTED)
def test_comparators_reject(name):
    comparator, arguments, options = REJECTED[name]
    with pytest.raises(AssertionError):
        comparator(*arguments, **options)


def test_comparators_accept_what_is_right():
    """Or a comparator that always raises would pass the tests above."""
    compare.assert_equal_up_to_constant(X + 7, X, atol=1e-6)
    compare.assert_plan(torch.outer(X, X), X, X, atol=1e-6)
    compare.assert_weights(torch.tensor([0.5, 1.5]), 2)
