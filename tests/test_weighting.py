from __future__ import annotations

import pytest
import torch

from hf_otw.transport.costs import CombinedCost, FeatureCost
from hf_otw.types import Measure
from hf_otw.weighting import Agreement, ClosedForm, Column, EffectiveNumber, InverseFrequency
from hf_otw.weighting.base import Facts, mean_one
from hf_otw.weighting.models.closed_form import reg_for_ess
from hf_otw.weighting.statistics import class_totals, effective_sample_size
from hf_otw.weighting.target import balanced_class_mass
from tests.compare import assert_equal_values, assert_weights
from tests.generators import label_only, mislabelled, random_problem


def weigh(model, problem, cost=None, index=None):
    index = torch.arange(len(problem.source.labels)) if index is None else index
    return model(index, problem.source, problem.target, cost or problem.cost)


def rows_of(problem, index):
    """The batch of these rows, with uniform masses."""
    source = problem.source
    mass = torch.full((len(index),), 1 / len(index), dtype=source.mass.dtype)
    return problem._replace(source=Measure(source.features[index], source.labels[index], mass))


def test_label_cost_alone_is_inverse_frequency():
    """method.md section 3; 1e-9 is exp(-1 / 0.02) and rounding."""
    problem = label_only((9, 3, 1))
    w = weigh(ClosedForm(reg=0.02), problem).weights
    assert_equal_values(w, InverseFrequency([9, 3, 1])(None, problem.source, None, None).weights, atol=1e-9)


def test_a_large_label_cost_gives_each_class_the_target_mass():
    """Exact in the limit only: with label cost 1 and reg 0.3 other classes take part of it."""
    problem = random_problem(30, 6)
    expected = class_totals(problem.target.mass, problem.target.labels, 3)

    def totals(label_weight):
        w = weigh(ClosedForm(reg=0.3), problem, CombinedCost(label_weight)).weights
        return class_totals(w, problem.source.labels, 3)

    assert (totals(1.0) - expected).abs().max() > 1e-3
    assert_equal_values(totals(20.0), expected, atol=1e-9)


def test_closed_form_moves_weight_inside_a_class_to_rows_that_look_like_the_meta_set():
    """Kills a cost of the wrong sign."""
    problem = random_problem(4, 1, classes=1, width=2, cost=FeatureCost(), uniform=True)
    z = torch.tensor([[1.0, 0], [1, 1], [0, 1], [-1, 0]], dtype=torch.float64)
    problem = problem._replace(
        source=problem.source._replace(features=z), target=problem.target._replace(features=z[:1])
    )
    w = weigh(ClosedForm(reg=0.5), problem).weights
    by_hand = (-(1 - torch.tensor([1, 0.5**0.5, 0, -1], dtype=torch.float64)) / 0.5).exp()
    assert_equal_values(w, 4 * by_hand / by_hand.sum(), atol=1e-9)


@pytest.mark.parametrize(
    ("model", "cost"),
    [(ClosedForm(reg=0.1), CombinedCost()), (Agreement(reg=0.1), FeatureCost())],
)
@pytest.mark.parametrize("seed", range(3))
def test_mislabelled_rows_lose_weight(model, cost, seed):
    problem, wrong = mislabelled(seed=seed)
    assert wrong.sum() == 6
    w = weigh(model, problem, cost).weights
    assert_weights(w, 60)
    assert w[wrong].mean() < 0.5 * w[~wrong].mean()


def test_agreement_of_right_labels_is_almost_uniform():
    """Kills the wrong mask: right labels keep their weight."""
    problem, wrong = mislabelled()
    w = weigh(Agreement(reg=0.05), problem).weights
    assert effective_sample_size(w[~wrong]) > 0.9 * (~wrong).sum()


def test_agreement_by_hand():
    problem = random_problem(6, 4, seed=3)
    C, expected = problem.cost(problem.source, problem.target), []
    for i in range(6):
        shares = (-C[i] / 0.3).exp() / (-C[i] / 0.3).exp().sum()
        expected.append(shares[problem.target.labels == problem.source.labels[i]].sum())
    expected = torch.stack(expected)
    assert_equal_values(weigh(Agreement(reg=0.3), problem).weights, expected / expected.mean(), atol=1e-9)


def test_inverse_frequency_by_hand():
    """Kills a mean over classes: it is the mean over rows that is 1."""
    model = InverseFrequency([6, 3, 1])
    labels = torch.tensor([0] * 6 + [1] * 3 + [2])
    w = model(None, Measure(torch.zeros(10, 0), labels, torch.full((10,), 0.1)), None, None).weights
    assert_equal_values(w[[0, 6, 9]], torch.tensor([10 / 18, 10 / 9, 10 / 3]), atol=1e-6)
    assert_weights(w, 10)


def test_effective_number_by_hand():
    beta, counts = 0.9, torch.tensor([6.0, 3, 1], dtype=torch.float64)
    expected = torch.tensor([0.1 / (1 - 0.9**6), 0.1 / (1 - 0.9**3), 1.0], dtype=torch.float64)
    expected = expected * 10 / (expected * counts).sum()
    assert_equal_values(EffectiveNumber([6, 3, 1], beta=beta).class_weight, expected, atol=1e-12)
    ones = torch.ones(3, dtype=torch.float64)
    assert_equal_values(EffectiveNumber([6, 3, 1], beta=0).class_weight, ones, atol=1e-12)


def facts(**change):
    """Of a training set of 11 rows, the last of which was split off."""
    labels = torch.tensor([0] * 6 + [1] * 3 + [2] * 2)
    return Facts(labels, torch.tensor([6, 3, 1]), balanced_class_mass)._replace(**change)


def test_baselines_are_built_from_the_rows_that_are_trained_on():
    """Kills: counts of all labels as given, in which the meta split is."""
    found = InverseFrequency.from_facts(facts())
    assert_equal_values(found.class_weight, InverseFrequency([6, 3, 1]).class_weight, atol=1e-12)
    found = EffectiveNumber.from_facts(facts(), beta=0.9)
    assert_equal_values(found.class_weight, EffectiveNumber([6, 3, 1], beta=0.9).class_weight, atol=1e-12)
    other = EffectiveNumber.from_facts(facts())
    assert_equal_values(other.class_weight, EffectiveNumber([6, 3, 1], beta=0.9999).class_weight, atol=1e-12)


@pytest.mark.parametrize(("kwargs", "name"), [({}, "weight"), ({"column": "trust"}, "trust")])
def test_column_is_read_by_its_name(kwargs, name):
    columns = {"weight": torch.tensor([0.0, 1, 3]), "trust": torch.tensor([2.0, 2, 5])}
    found = Column.from_facts(facts(read_column=columns.__getitem__), **kwargs)
    assert_equal_values(found.values, columns[name].double() / columns[name].mean(), atol=1e-6)


@pytest.mark.parametrize("make", [InverseFrequency, EffectiveNumber])
@pytest.mark.parametrize("counts", [[3, 0], [3, -1]])
def test_a_class_without_examples_is_refused(make, counts):
    with pytest.raises(ValueError, match="at least one training example a class"):
        make(counts)


@pytest.mark.parametrize("beta", [1.0, -0.1])
def test_an_impossible_beta_is_refused(beta):
    with pytest.raises(ValueError, match="Expected 0 <= beta < 1"):
        EffectiveNumber([1, 2], beta=beta)


def test_column_is_rescaled_and_found_by_index():
    problem = rows_of(random_problem(4, 3, uniform=True), torch.tensor([3, 1]))
    w = weigh(Column(torch.tensor([0.0, 1, 2, 5])), problem, index=torch.tensor([3, 1])).weights
    assert_equal_values(w, torch.tensor([2.5, 0.5], dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, torch.nan, torch.inf], "2 of 3 are NaN or infinite"),
        ([1.0, -0.5], "minimum of -0.5"),
        ([0.0, 0.0], "all 2 are zero"),
    ],
)
def test_bad_columns_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Column(torch.tensor(values))


@pytest.mark.parametrize("bad", [[0.0, 0.0], [torch.nan, 1.0], [torch.inf, 1.0]])
def test_masses_that_cannot_be_rescaled_are_refused(bad):
    with pytest.raises(ValueError, match="finite and not all zero"):
        mean_one(torch.tensor(bad))


@pytest.mark.parametrize("target_ess", [0.2, 0.5, 0.9])
def test_target_ess_is_reached_and_no_more(target_ess):
    """Kills returning the lower end of the bracket, and a bisection the wrong way round."""
    problem = random_problem(60, 6, uniform=True)

    def ess(reg):
        return effective_sample_size(weigh(ClosedForm(reg=reg), problem).weights).item() / 60

    reg = reg_for_ess(lambda r: weigh(ClosedForm(reg=r), problem).weights, target_ess)
    assert ess(reg) >= target_ess > ess(0.999 * reg)
    chosen = weigh(ClosedForm(target_ess=target_ess), problem).weights
    assert_equal_values(chosen, weigh(ClosedForm(reg=reg), problem).weights, atol=1e-9)


def test_an_ess_out_of_reach_gives_the_largest_reg():
    problem = random_problem(20, 6, uniform=True, cost=lambda s, t: 1e6 * FeatureCost()(s, t))
    found = reg_for_ess(lambda r: weigh(ClosedForm(reg=r), problem).weights, 0.99)
    assert found == pytest.approx(100)


@pytest.mark.parametrize("target_ess", [0.0, 1.0, 1.5, torch.nan])
def test_an_impossible_ess_is_refused(target_ess):
    with pytest.raises(ValueError, match="Expected 0 < target_ess < 1"):
        reg_for_ess(lambda r: torch.ones(3), target_ess)
