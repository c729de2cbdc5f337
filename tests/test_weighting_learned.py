"""Weight models that learn: a logit a row, a network, their step rules."""

from __future__ import annotations

import pytest
import torch

from hf_otw.transport import OBJECTIVES
from hf_otw.weighting import ClosedForm, MirrorStep, SoftmaxSGDStep, Table, WeightNet
from tests.compare import assert_equal_up_to_constant, assert_equal_values, assert_weights
from tests.generators import random_problem
from tests.test_weighting import rows_of, weigh


def test_table_with_entropy_converges_to_the_closed_form():
    """Kills a fixed step of 1 / reg, at which the weights swing between the classes for ever (off by 2.3 here)."""
    problem = random_problem(20, 5, uniform=True)
    expected = weigh(ClosedForm(reg=0.3), problem).weights
    found = weigh(Table(20, reg=0.3, steps=100), problem)
    assert_equal_values(found.weights, expected, atol=1e-4)  # logits are kept in float32
    assert found.converged == 1
    assert (weigh(Table(20, reg=0.3, steps=1), problem).weights - expected).abs().max() > 1e-2


@pytest.mark.parametrize("name", ["entropy", "kl", "sharp"])
def test_table_lowers_its_objective_and_never_raises_it(name):
    """And `value` is that of the weights returned, not of those before the last step."""
    problem = random_problem(20, 5, uniform=True)
    values = []
    for steps in (1, 2, 4, 8, 16):
        found = weigh(Table(20, objective=OBJECTIVES[name], reg=0.3, steps=steps), problem)
        values.append(found.value.item())
    assert values == sorted(values, reverse=True)
    assert values[-1] < values[0] - 1e-3
    source = problem.source._replace(mass=found.weights / 20)
    at = OBJECTIVES[name](source, problem.target, problem.cost, 0.3, None)
    assert_equal_values(found.value, at.value, atol=1e-6)


def test_table_obeys_a_given_update():
    problem = random_problem(20, 5, uniform=True)
    table = Table(20, reg=0.3, steps=1, update=MirrorStep(0.7))
    weigh(table, problem)
    gradient = OBJECTIVES["entropy"](problem.source, problem.target, problem.cost, 0.3, None).grad_a
    assert_equal_values(table.logits.double(), -0.7 * gradient, atol=1e-6)


def test_table_resumes_where_it_stopped():
    """Two calls of 3 steps are one of 6: logits and step length are all its state. 1e-5 is float32 rounding."""
    problem = random_problem(20, 5, uniform=True)
    twice = Table(20, reg=0.3, steps=3)
    weigh(twice, problem)
    once = weigh(Table(20, reg=0.3, steps=6), problem).weights
    assert_equal_values(weigh(twice, problem).weights, once, atol=1e-5)
    restored = Table(20, reg=0.3, steps=3)
    restored.load_state_dict(twice.state_dict())
    assert_equal_values(weigh(restored, problem).weights, weigh(twice, problem).weights, atol=1e-9)


def test_table_moves_the_rows_of_the_batch_only():
    """Kills `logits[:n]` in place of `logits[index]`."""
    problem = random_problem(20, 5, uniform=True)
    index = torch.tensor([17, 4, 9, 2])
    init = torch.arange(20.0) / 10
    table = Table(20, reg=0.3, steps=5, init=init)
    batch = rows_of(problem, index)
    w = weigh(table, batch, index=index).weights
    assert_weights(w, 4)
    others = torch.ones(20, dtype=torch.bool).index_fill(0, index, False)
    assert torch.equal(table.logits[others], init[others])
    assert (table.logits[index] - init[index]).abs().min() > 1e-3
    assert_equal_values(table.logits[index].double().softmax(0) * 4, w, atol=1e-5)
    assert torch.equal(init, torch.arange(20.0) / 10)


def test_raw_table_returns_the_logits_clamped():
    problem = random_problem(20, 5, uniform=True)
    init = torch.linspace(-1, 2, 20)
    table = Table(20, steps=2, init=init, raw=True, update=SoftmaxSGDStep(lr=0.5))
    w = weigh(table, problem).weights
    assert (table.logits < 0).any()
    assert (table.logits - init).abs().max() > 1e-4
    assert_equal_values(w, table.logits.double().clamp(min=0), atol=1e-6)


def test_mirror_step_by_hand():
    logits, grad = torch.tensor([1.0, 2.0]), torch.tensor([0.5, -0.5])
    assert_equal_values(MirrorStep(2.0)(logits, logits.softmax(0), grad), torch.tensor([0.0, 3.0]), atol=1e-7)


def test_softmax_sgd_step_is_autograd_through_softmax_with_weight_decay():
    """Against torch's own SGD; kills a missing `<w, grad>`, and decay of the wrong sign."""
    g = torch.Generator().manual_seed(0)
    logits, grad = torch.randn(2, 7, generator=g, dtype=torch.float64)
    free = logits.clone().requires_grad_()
    optimizer = torch.optim.SGD([free], lr=0.3, weight_decay=0.1)
    (free.softmax(0) * grad).sum().backward()
    optimizer.step()
    found = SoftmaxSGDStep(lr=0.3, weight_decay=0.1)(logits, logits.softmax(0), grad)
    assert_equal_values(found, free.detach(), atol=1e-12)
    shifted = SoftmaxSGDStep(lr=0.3, weight_decay=0.1)(logits, logits.softmax(0), grad + 5)
    assert_equal_up_to_constant(shifted, found, atol=1e-12)


@pytest.mark.parametrize("make", [lambda **k: Table(5, **k), lambda **k: WeightNet(4, **k)])
def test_impossible_options_are_refused(make):
    with pytest.raises(ValueError, match="Expected steps >= 1 .*got 0"):
        make(steps=0)
    with pytest.raises(ValueError, match="Expected reg > 0"):
        make(reg=0.0)


@pytest.mark.parametrize("name", ["entropy", "kl", "sharp"])
def test_net_lowers_its_objective_and_never_raises_it(name):
    problem = random_problem(30, 5, uniform=True)
    values = [weigh(WeightNet(4, objective=OBJECTIVES[name], reg=0.3, steps=s), problem).value for s in (1, 3, 9)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < values[0] - 1e-3


def test_net_gives_weights_to_rows_it_has_not_seen():
    problem = random_problem(30, 5, uniform=True)
    net = WeightNet(4, reg=0.3, steps=10)
    start = net.logits(problem.source.features[20:]).detach()
    weigh(net, rows_of(problem, torch.arange(20)), index=torch.arange(20))
    assert (net.logits(problem.source.features[20:]) - start).abs().max() > 1e-2


def test_net_formula_by_hand():
    net, z = WeightNet(4, hidden_dim=3), torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    expected = [
        sum(net.out[h] * torch.tanh((net.weight[h] * z[i]).sum() + net.bias[h]) for h in range(3)) for i in range(5)
    ]
    assert_equal_values(net.logits(z).detach(), torch.stack(expected).detach(), atol=1e-6)


def test_net_is_seeded_and_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    first, second, other = WeightNet(4, seed=1), WeightNet(4, seed=1), WeightNet(4, seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.weight, second.weight)
    assert not torch.equal(first.weight, other.weight)


@pytest.mark.parametrize("grad_mode", [True, False])
def test_net_works_whether_or_not_gradients_are_on(grad_mode):
    """The trainer calls weight models under `no_grad`."""
    problem = random_problem(12, 5, uniform=True)
    expected = weigh(WeightNet(4, steps=3), problem).weights
    with torch.set_grad_enabled(grad_mode):
        w = weigh(WeightNet(4, steps=3), problem).weights
    assert not w.requires_grad
    assert_equal_values(w, expected, atol=1e-6)
