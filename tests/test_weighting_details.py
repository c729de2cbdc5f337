"""What a weight model hands on: defaults, tolerances, starts, types, and the parts of another model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from hf_otw.transport import BoundedRows, RelaxedRows, objectives
from hf_otw.transport.costs import FeatureCost
from hf_otw.transport.objectives import (
    ObjectiveGradient,
    divergence_objective,
    entropy_objective,
    kl_objective,
    sharp_objective,
)
from hf_otw.types import Cost, Measure, Weights
from hf_otw.weighting import (
    Agreement,
    ClosedForm,
    Column,
    KeepClassTotals,
    OwnClassMass,
    RowMass,
    SoftmaxSGDStep,
    Table,
    WeightModel,
    WeightNet,
)
from hf_otw.weighting.base import exact
from hf_otw.weighting.models.mirror import GROW, SHRINK, mirror_descent

N, M, D, K = 40, 6, 4, 3


def measure(size: int, seed: int, dtype: torch.dtype = torch.float32) -> Measure:
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(size) % K
    features = (torch.randn(size, D, generator=g) + torch.eye(K, D)[labels]).to(dtype)
    mass = torch.rand(size, generator=g, dtype=torch.float64) + 0.1
    return Measure(features, labels, (mass / mass.sum()).to(dtype))


SOURCE, TARGET, COST = measure(N, 0), measure(M, 1), FeatureCost()
INDEX = torch.arange(N)


@pytest.mark.parametrize(
    ("make", "defaults"),
    [
        (lambda: Agreement(), {"reg": 0.1}),
        (lambda: ClosedForm(), {"reg": 0.1, "target_ess": None}),
        (lambda: OwnClassMass(), {"reg": 0.1, "tol": 1e-3, "max_iter": 500}),
        (lambda: RowMass(), {"reg": 0.1, "tol": 1e-3, "max_iter": 500, "rows": RelaxedRows()}),
        (lambda: WeightNet(D), {"reg": 0.1, "steps": 20, "lr": 0.5, "objective": entropy_objective}),
        (lambda: Table(N), {"reg": 0.1, "steps": 20, "lr": 10.0, "objective": entropy_objective}),
        (lambda: SoftmaxSGDStep(), {"lr": 0.01, "weight_decay": 5e-4}),  # the paper's
    ],
)
def test_defaults(make: Any, defaults: dict[str, Any]) -> None:
    model = make()
    assert {name: getattr(model, name) for name in defaults} == defaults


@pytest.mark.parametrize("make", [OwnClassMass, RowMass])
def test_solver_gets_the_tolerance_and_the_limit(make: Any) -> None:
    """Kills: a tolerance or a limit that is not passed on."""
    hard = {"reg": 0.02}
    assert make(**hard, tol=0.0, max_iter=500)(INDEX, SOURCE, TARGET, COST).converged == 0
    assert make(**hard, tol=1e-5, max_iter=1)(INDEX, SOURCE, TARGET, COST).converged == 0
    once, never = (
        make(**hard, tol=tol, max_iter=limit)(INDEX, SOURCE, TARGET, COST) for tol, limit in ((10.0, 500), (0.0, 1))
    )
    assert once.converged == 1
    torch.testing.assert_close(once.weights, never.weights, rtol=0, atol=0)


@pytest.mark.parametrize("make", [OwnClassMass, RowMass, ClosedForm, WeightNet])
def test_converged_is_a_number(make: Any) -> None:
    """It is logged beside the others, and summed over processes."""
    model = make(D, steps=1) if make is WeightNet else make()
    assert model(INDEX, SOURCE, TARGET, COST).converged.dtype == torch.float32


def test_a_cap_of_one_is_a_cap() -> None:
    found = RowMass(rows=BoundedRows(1.0), tol=1e-6)(INDEX, SOURCE, TARGET, COST)
    torch.testing.assert_close(found.weights, SOURCE.mass / SOURCE.mass.mean(), rtol=1e-3, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_column_has_the_type_of_the_masses(dtype: torch.dtype) -> None:
    """Kills: whole numbers that stay whole, or weights in the column's precision."""
    model = Column(torch.tensor([1, 2, 3]))
    assert model.values.dtype == torch.float64
    found = model(torch.tensor([2, 0]), measure(2, 0, dtype), None, None).weights
    torch.testing.assert_close(found, torch.tensor([1.5, 0.5], dtype=dtype))


class Recording(WeightModel):
    """Weights that were given, and what it was called with."""

    divisible = learns_cost = True

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.given, self.calls = weights, []

    def forward(self, index: Tensor, source: Measure, target: Measure | None, cost: Cost | None) -> Weights:
        self.calls.append((index, source, target, cost))
        return exact(self.given)


def test_keep_class_totals_hands_everything_on() -> None:
    inner = Recording(torch.ones(N))
    model = KeepClassTotals(inner)
    assert (model.needs_transport, model.divisible, model.learns_cost) == (True, True, True)
    model(INDEX, SOURCE, TARGET, COST)
    assert all(found is given for found, given in zip(inner.calls[0], (INDEX, SOURCE, TARGET, COST), strict=True))


def test_keep_class_totals_of_a_class_with_little_weight() -> None:
    """Kills: the prior for a class that has weight, though less than one row's."""
    labels = torch.tensor([0, 0, 1, 1])
    source = Measure(torch.zeros(4, 1), labels, torch.full((4,), 0.25))
    found = KeepClassTotals(Recording(torch.tensor([0.1, 0.3, 1.2, 2.4])))(torch.arange(4), source, None, None)
    torch.testing.assert_close(found.weights, torch.tensor([0.5, 1.5, 2 / 3, 4 / 3]))


@pytest.mark.parametrize("make", [lambda **kw: WeightNet(D, **kw), lambda **kw: Table(N, **kw)], ids=["net", "table"])
@pytest.mark.parametrize(
    ("objective", "divisible"), [(entropy_objective, True), (kl_objective, True), (divergence_objective, False)]
)
def test_divisible_where_the_objective_is(make: Any, objective: Any, divisible: bool) -> None:
    assert make(objective=objective).divisible is divisible


def flat(values: list[float], starts: list[Any]) -> Any:
    """An objective without a slope, whose value is the next of `values` in each call."""
    left = list(values)

    def evaluate(w: Tensor, start: Tensor | None) -> ObjectiveGradient:
        starts.append(start)
        value = torch.tensor(left.pop(0))
        return ObjectiveGradient(value, torch.zeros_like(w), value, value * 0, value > 0)

    return evaluate


class TestMirrorDescent:
    def test_rounding_is_no_rise(self) -> None:
        """Float32 has steps of 6e-5 at 1,000. Kills: a tolerance that shrinks with the value, or is subtracted."""
        starts: list[Any] = []
        _, at, lr = mirror_descent(
            flat([1000.0, 1000.0005, 1000.001], starts), torch.zeros(4), lr=2.0, max_lr=100.0, steps=2
        )
        assert lr == 2 * GROW**2
        assert at.value == torch.tensor(1000.001)
        assert starts[0] is None
        assert starts[1:] == [torch.tensor(1000.0), torch.tensor(1000.0005)]

    def test_a_rise_is_taken_back(self) -> None:
        _, at, lr = mirror_descent(flat([1.0, 1.001, 1.001], []), torch.zeros(4), lr=2.0, max_lr=2.5, steps=2)
        assert (at.value, lr) == (1.0, 2 * SHRINK**2)

    def test_the_longest_step(self) -> None:
        assert mirror_descent(flat([1.0, 1.0], []), torch.zeros(4), lr=2.0, max_lr=2.5, steps=1)[2] == 2.5


class TestNet:
    def test_initial_parameters(self) -> None:
        """Kills: a scale that grows or falls with the width: tanh would be saturated, or flat."""
        net = WeightNet(400, hidden_dim=3000)
        assert net.weight.shape == (3000, 400)
        assert net.weight.std().item() == pytest.approx(400**-0.5, rel=0.02)
        assert net.out.std().item() == pytest.approx(3000**-0.5, rel=0.05)
        assert net.lr.dtype == torch.float64
        assert WeightNet(D).out.shape == (64,)
        torch.testing.assert_close(WeightNet(D).weight, WeightNet(D, seed=0).weight, rtol=0, atol=0)
        assert not torch.equal(WeightNet(D).weight, WeightNet(D, seed=1).weight)

    def test_logits(self) -> None:
        net = WeightNet(D, hidden_dim=5)
        with torch.no_grad():
            net.bias += torch.arange(5) / 5
        expected = [
            sum(net.out[h] * torch.tanh(net.bias[h] + (net.weight[h] * z).sum()) for h in range(5))
            for z in SOURCE.features
        ]
        torch.testing.assert_close(net.logits(SOURCE.features), torch.stack(expected))

    def test_each_solve_starts_from_the_last(self) -> None:
        """Kills: a cold start at every step, ten times the passes."""
        starts, ends = [], []

        def objective(source: Measure, target: Measure, cost: Cost, reg: float, start: Tensor | None) -> Any:
            starts.append(start)
            ends.append(entropy_objective(source, target, cost, reg, start))
            return ends[-1]

        WeightNet(D, objective=objective, steps=3, lr=1e-3)(INDEX, SOURCE, TARGET, COST)
        assert starts[0] is None
        assert all(start is end.potential_b for start, end in zip(starts[1:], ends, strict=False))


@pytest.mark.parametrize("objective", [entropy_objective, kl_objective, sharp_objective])
def test_objectives_use_their_start_and_their_limit(monkeypatch: pytest.MonkeyPatch, objective: Any) -> None:
    """One pass is not enough from nowhere, and is from the solution."""
    solved = objective(SOURCE, TARGET, COST, 0.05, None)
    assert solved.converged
    monkeypatch.setattr(objectives, "MAX_ITER", 1)
    assert not objective(SOURCE, TARGET, COST, 0.05, None).converged
    assert objective(SOURCE, TARGET, COST, 0.05, solved.potential_b).converged


def test_a_divergence_converges_when_both_of_its_problems_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills: a divergence that says so of one problem only, a start that is dropped, a limit that is not passed on."""
    cross = kl_objective(SOURCE, TARGET, COST, 0.05, None)
    monkeypatch.setattr(objectives, "MAX_ITER", 1)
    found = divergence_objective(SOURCE, TARGET, COST, 0.05, cross.potential_b)
    assert not found.converged
    assert found.marginal_error > 10 * cross.marginal_error
    monkeypatch.undo()
    assert divergence_objective(SOURCE, TARGET, COST, 0.05, cross.potential_b).converged


def test_divergence_starts_the_crossing_problem_from_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    cross = kl_objective(SOURCE, TARGET, COST, 0.05, None)
    within = objectives._solve_within(SOURCE, COST, 0.05)
    monkeypatch.setattr(objectives, "_solve_within", lambda *_: within)
    monkeypatch.setattr(objectives, "MAX_ITER", 1)
    assert divergence_objective(SOURCE, TARGET, COST, 0.05, cross.potential_b).converged
    assert not divergence_objective(SOURCE, TARGET, COST, 0.05, None).converged


def test_sharp_gradient_over_several_blocks() -> None:
    """Kills: a sum over blocks that keeps the last one only. 9,000 rows are two blocks; one of them by itself has the
    other's columns wrong.
    """
    n = 9000
    source, target = measure(n, 2, torch.float64), measure(M, 3, torch.float64)
    source = source._replace(mass=torch.full((n,), 1 / n, dtype=torch.float64))
    found = sharp_objective(source, target, COST, 0.1, None)
    # Along one direction, by differences.
    direction = torch.zeros(n, dtype=torch.float64)
    direction[: n // 2] = source.features[: n // 2, 0]
    direction[n // 2 :] = -2 * source.features[n // 2 :, 1]
    direction = (direction - direction.mean()) / n * 1e-2

    def value(sign: int) -> Tensor:
        moved = source._replace(mass=source.mass + sign * direction)
        return sharp_objective(moved, target, COST, 0.1, found.potential_b).value

    expected = (value(1) - value(-1)) / 2
    torch.testing.assert_close((found.grad_a * direction).sum(), expected, rtol=1e-4, atol=0)
