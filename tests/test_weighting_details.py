"""Details of weight models: defaults, starts, types, and what is built by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from hf_otw.transport import OBJECTIVES, objectives
from hf_otw.transport.costs import FeatureCost
from hf_otw.transport.objectives import (
    ObjectiveGradient,
    entropy_objective,
    kl_geomloss_objective,
    kl_objective,
    sharp_objective,
)
from hf_otw.types import Cost, Measure
from hf_otw.weighting import (
    Agreement,
    ClosedForm,
    Column,
    EffectiveNumber,
    MirrorStep,
    SoftmaxSGDStep,
    Table,
    WeightNet,
)
from hf_otw.weighting.base import Facts
from hf_otw.weighting.models.mirror import GROW, SHRINK, mirror_descent
from hf_otw.weighting.target import balanced_class_mass

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
        (lambda: WeightNet(D), {"reg": 0.1, "steps": 20, "lr": 0.5, "objective": entropy_objective}),
        (lambda: Table(N), {"reg": 0.1, "steps": 20, "lr": 10.0, "objective": entropy_objective}),
        (lambda: SoftmaxSGDStep(), {"lr": 0.01, "weight_decay": 5e-4}),  # the paper's
    ],
)
def test_defaults(make: Any, defaults: dict[str, Any]) -> None:
    model = make()
    assert {name: getattr(model, name) for name in defaults} == defaults


@pytest.mark.parametrize(
    "make",
    [ClosedForm, Agreement, lambda: WeightNet(D, steps=1), lambda: Table(N, steps=1)],
    ids=["closed_form", "agreement", "net", "table"],
)
def test_converged_is_a_number(make: Any) -> None:
    """It is logged beside the others, and summed over processes."""
    model = make()
    assert model(INDEX, SOURCE, TARGET, COST).converged.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_column_has_the_type_of_the_masses(dtype: torch.dtype) -> None:
    """Kills: whole numbers that stay whole, or weights in the column's precision."""
    model = Column(torch.tensor([1, 2, 3]))
    assert model.values.dtype == torch.float64
    found = model(torch.tensor([2, 0]), measure(2, 0, dtype), None, None).weights
    torch.testing.assert_close(found, torch.tensor([1.5, 0.5], dtype=dtype))


FACTS = Facts(SOURCE.labels, torch.bincount(SOURCE.labels), balanced_class_mass, feature_dim=D, seed=3)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("make", [Table, WeightNet])
def test_objectives_are_built_by_name(make: Any, objective: str) -> None:
    """Kills: a name that is dropped, or arguments beside it."""
    model = make.from_facts(FACTS, objective=objective, reg=0.3, steps=7)
    assert (model.objective, model.reg, model.steps) == (OBJECTIVES[objective], 0.3, 7)
    assert make.from_facts(FACTS).objective is entropy_objective


class TestTableOfFacts:
    def test_update(self) -> None:
        assert Table.from_facts(FACTS).update is None
        given = Table.from_facts(FACTS, lr=0.3).update
        assert isinstance(given, MirrorStep)
        assert given.lr == 0.3

    @pytest.mark.parametrize(("kwargs", "lr"), [({}, 0.01), ({"lr": 0.3}, 0.3)])
    def test_raw_logits_start_at_effective_numbers(self, kwargs: dict[str, float], lr: float) -> None:
        """As in the paper's code. Kills: a start at 0, at which the loss is multiplied by nothing."""
        facts = FACTS._replace(labels=torch.tensor([0, 0, 1, 2]), class_counts=torch.tensor([20, 10, 1]))
        table = Table.from_facts(facts, raw=True, **kwargs)
        expected = EffectiveNumber([20, 10, 1]).class_weight[facts.labels].float()
        torch.testing.assert_close(table.logits, expected, rtol=0, atol=0)
        assert isinstance(table.update, SoftmaxSGDStep)
        assert (table.raw, table.update.lr) == (True, lr)
        assert not Table.from_facts(facts).raw
        assert Table.from_facts(facts).logits.tolist() == [0] * 4


def test_net_of_facts() -> None:
    """Kills: parameters that are the same whatever the seed, an argument that is dropped."""
    found = WeightNet.from_facts(FACTS, hidden_dim=5, lr=0.7)
    assert found.weight.shape == (5, D)
    torch.testing.assert_close(found.weight, WeightNet(D, hidden_dim=5, seed=3).weight, rtol=0, atol=0)
    assert found.lr.item() == 0.7


@pytest.mark.parametrize("make", [lambda **kw: WeightNet(D, **kw), lambda **kw: Table(N, **kw)], ids=["net", "table"])
@pytest.mark.parametrize(
    ("objective", "divisible"),
    [
        (entropy_objective, True),
        (kl_objective, True),
        (sharp_objective, True),
        (kl_geomloss_objective, False),
    ],
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
