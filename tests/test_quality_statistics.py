"""Statistics of the report on learning quality, against closed forms and SciPy; the rule of convergence."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from benchmarks.quality.convergence import BASELINES, best_scores, enough, ladder
from benchmarks.quality.per_row import pack, sampling_variance, unpack
from benchmarks.quality.statistics import (
    blocked,
    cliques,
    critical_difference,
    friedman,
    mean_se,
    paired_difference,
    ranks,
)


def test_mean_and_standard_error() -> None:
    found = mean_se([1.0, 2.0, 4.0])
    assert found.mean == pytest.approx(7 / 3)
    assert found.standard_error == pytest.approx(stats.sem([1.0, 2.0, 4.0]))
    assert math.isnan(mean_se([5.0]).standard_error)
    with pytest.raises(ValueError, match="at least one value"):
        mean_se([])


def test_paired_interval_is_that_of_scipy() -> None:
    first = {0: 0.81, 1: 0.84, 2: 0.79, 3: 0.9}
    second = {0: 0.80, 1: 0.80, 2: 0.80, 3: 0.82}
    found = paired_difference(first, second)
    test = stats.ttest_rel(list(first.values()), list(second.values()))
    low, high = test.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.mean / found.standard_error == pytest.approx(test.statistic)
    unpaired = stats.ttest_ind(list(first.values()), list(second.values())).confidence_interval(0.95)
    assert found.low != pytest.approx(unpaired.low)


def test_only_shared_seeds_are_compared() -> None:
    """Kills: means over different seeds. Seed 9 would turn the sign."""
    found = paired_difference({0: 0.5, 1: 0.6, 9: 9.0}, {1: 0.5, 0: 0.6, 7: 3.0})
    assert found.count == 2
    assert found.mean == pytest.approx(0.0)
    assert paired_difference({0: 1.0}, {1: 1.0}) is None
    one = paired_difference({0: 1.0}, {0: 0.5})
    assert one.mean == 0.5
    assert math.isnan(one.low)


def test_ranks_with_ties_by_hand() -> None:
    scores = np.array([[0.9, 0.7, 0.9, 0.5], [0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.5, 0.5]])
    expected = [[1.5, 3, 1.5, 4], [4, 3, 2, 1], [2.5, 2.5, 2.5, 2.5]]
    np.testing.assert_array_equal(ranks(scores), expected)


def test_friedman_is_that_of_scipy_with_and_without_ties() -> None:
    rng = np.random.default_rng(0)
    for scores in (rng.normal(size=(8, 5)), rng.integers(0, 3, size=(8, 5)).astype(float)):
        expected = stats.friedmanchisquare(*scores.T)
        assert friedman(scores) == pytest.approx((expected.statistic, expected.pvalue))
    assert friedman(np.ones((4, 3))) == (0.0, 1.0)
    with pytest.raises(ValueError, match="at least 2 cells"):
        friedman(np.ones((1, 3)))


@pytest.mark.parametrize(("methods", "q"), [(2, 1.960), (5, 2.728), (10, 3.164)])
def test_critical_difference_is_that_of_the_published_table(methods: int, q: float) -> None:
    """The table of Demšar 2006 holds the Studentized range over sqrt 2; its last digit is rounded."""
    cells = 14
    expected = q * math.sqrt(methods * (methods + 1) / (6 * cells))
    assert critical_difference(methods, cells) == pytest.approx(expected, rel=4e-4)


def test_cliques_by_hand() -> None:
    assert cliques([1.0, 1.8, 2.5, 4.0], 1.0) == [(0, 1), (1, 2)]
    assert cliques([1.0, 1.2, 1.4], 1.0) == [(0, 2)]
    assert cliques([1.0, 3.0], 1.0) == []
    assert cliques([1.0, 2.0], 1.0) == []  # the critical difference itself is a difference


def test_blocks_count_once() -> None:
    """Kills: cells of one data set as independent evidence. Three cells of one and one of another: 0.2, not 0.15."""
    found = blocked({"a": [0.1, 0.1, 0.1], "b": [0.3]})
    test = stats.ttest_1samp([0.1, 0.3], 0.0)
    assert found.mean == pytest.approx(0.2)
    assert (found.p_value, found.count) == (pytest.approx(test.pvalue), 2)
    assert blocked({}) is None
    assert math.isnan(blocked({"a": [0.1, 0.2]}).p_value)


def test_right_rows_come_back() -> None:
    """Kills: bits in the order of the file, or of another length than the test set."""
    labels = torch.tensor([2, 0, 2, 0, 2, 0, 0, 2, 2])
    logits = torch.nn.functional.one_hot(torch.tensor([2, 0, 0, 1, 2, 0, 0, 2, 1]), 3).float()
    first, second = unpack(pack(logits, labels))
    assert first.tolist() == [True, False, True, True]
    assert second.tolist() == [True, False, True, True, False]


def test_sampling_variance_is_that_of_a_bootstrap() -> None:
    """Second derivation: 20,000 samples of the test rows within their classes."""
    rng = np.random.default_rng(0)
    labels = torch.tensor([0] * 30 + [1] * 10)
    rows = [
        [pack(torch.nn.functional.one_hot(torch.tensor(rng.integers(0, 2, 40)), 2).float(), labels) for _ in range(3)]
        for _ in range(2)
    ]
    of_class = [
        np.mean([unpack(a)[k].astype(float) - unpack(b)[k] for a, b in zip(*rows, strict=True)], axis=0)
        for k in (0, 1)
    ]
    drawn = sum(one[rng.integers(0, len(one), (20_000, len(one)))].mean(1) for one in of_class) / 2
    assert sampling_variance(*rows) == pytest.approx(drawn.var(), rel=0.05)
    assert sampling_variance(rows[0], rows[0]) == 0.0


def test_steps_are_those_from_which_half_as_many_again_gain_little() -> None:
    """Kills: a stop at the first plateau of a method that is not the best, or before the next rung is known."""
    first, second, third = ladder()[:3]
    assert enough({}) is None
    assert enough({first: 0.6}) is None
    assert enough({first: 0.6, second: 0.7}) is None
    assert enough({first: 0.6, second: 0.7, third: 0.704}) == second
    rows = [
        {"cell": "c", "method": name, "steps": steps, "balanced_accuracy": score + 0.01 * (name == "cross_entropy")}
        for steps, score in ((first, 0.5), (second, 0.7))
        for name in BASELINES
    ]
    assert best_scores(rows, "c") == {first: pytest.approx(0.51), second: pytest.approx(0.71)}
    assert best_scores(rows[:-1], "c") == {first: pytest.approx(0.51)}  # a rung that not all have run
