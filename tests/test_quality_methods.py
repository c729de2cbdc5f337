"""The methods of the arena and of fine-tuning: each does what its name says."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch import Tensor
from torch.func import functional_call, grad
from torch.nn import functional as F

from benchmarks.quality import fine_tuning
from benchmarks.quality.development import CHOICES, row_weights
from benchmarks.quality.development_report import CHOICE_TITLES
from benchmarks.quality.frozen import load
from benchmarks.quality.head import Head
from benchmarks.quality.judge import cross_fitted, joined
from benchmarks.quality.methods import METHODS
from benchmarks.quality.prepared import (
    cleaned,
    oracle,
    uniform,
    without_doubts,
)
from benchmarks.quality.problems import Cell, Problem, draw
from benchmarks.quality.robust import relabelled, with_channel
from benchmarks.quality.run import run_method
from benchmarks.quality.tuned_methods import Corrected, channel_of, problem_of
from hf_otw.weighting.models.trust import LEAST_SHARE, trust_of, with_least_share

NOISY = Cell("digits", 20, label_noise=0.4)


@pytest.fixture(scope="module")
def problem() -> Problem:
    return draw(load("digits"), NOISY, 0)


def test_learning_to_reweight_has_the_weights_of_a_meta_gradient(problem: Problem) -> None:
    """Second derivation: autograd through one step of gradient descent with a weight of 0 on every row."""
    torch.manual_seed(0)
    head, rows = Head(torch.randn(10, 64) * 0.1, torch.randn(10) * 0.1), torch.arange(30)
    objective = METHODS["learning_to_reweight"].objectives(uniform(problem), [{"l2": 0.0}], 0)
    found = objective(Head(head.weight[None], head.bias[None]), rows, 0)[0]

    linear = torch.nn.Linear(64, 10)
    x, y = problem.features[rows], problem.labels[rows]

    def after_a_step(epsilon: Tensor) -> Tensor:
        def loss(parameters: dict[str, Tensor]) -> Tensor:
            return (epsilon * F.cross_entropy(functional_call(linear, parameters, (x,)), y, reduction="none")).sum()

        parameters = {"weight": head.weight, "bias": head.bias}
        moved = {name: parameters[name] - step for name, step in grad(loss)(parameters).items()}
        return F.cross_entropy(functional_call(linear, moved, (problem.meta_features,)), problem.meta_labels)

    weights = (-grad(after_a_step)(torch.zeros(30))).clamp_min(0)
    expected = (weights / weights.sum() * F.cross_entropy(head(x), y, reduction="none")).sum()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert 0 < int((weights > 0).sum()) < 30


def test_cleaned_rows_are_mostly_wrong_ones_and_no_class_goes(problem: Problem) -> None:
    """Kills: a filter that is turned round; meta rows that are not trained on, or that may be taken for wrong."""
    wrong = problem.labels != problem.true_labels
    found = cleaned(problem, 0)
    weights, of_meta = found.weights[: len(wrong)], found.weights[len(wrong) :]
    assert float(weights[wrong].mean()) < 0.5 * float(weights[~wrong].mean())
    assert torch.zeros(10).index_add_(0, problem.labels, weights).min() > 0
    assert len(of_meta) == len(problem.meta_labels)
    assert float(of_meta.min()) == pytest.approx(float(weights.max()))


def test_oracle_leaves_out_wrong_rows_alone(problem: Problem) -> None:
    """Kills: an oracle that is turned round, or other masses of classes than those of the default."""
    wrong = problem.labels != problem.true_labels
    found, plain_weights = oracle(problem, 0), without_doubts(problem, 0)
    assert float(found.weights[wrong].max()) == 0
    assert float(found.weights[~wrong].min()) > 0
    totals = torch.zeros(10).index_add_(0, problem.labels, plain_weights.weights)
    counts = problem.class_counts.sqrt()
    torch.testing.assert_close(totals / totals.sum(), counts / counts.sum())
    torch.testing.assert_close(plain_weights.prior, counts / counts.sum())


def test_a_judge_has_not_seen_the_row(problem: Problem) -> None:
    """A row repeated under another label is known to who has seen it; here its probability does not follow it."""
    right = draw(load("digits"), Cell("digits", 20), 0)
    flipped = right.labels.clone()
    flipped[:5] = (flipped[:5] + 1) % 10
    found = cross_fitted(right._replace(labels=flipped), (1e-2, 1e-1), 0, with_meta=False).probabilities
    assert (found[:5].argmax(1) == right.labels[:5]).sum() >= 4
    torch.testing.assert_close(found.sum(1), torch.ones(len(found)))


def test_channel_says_which_class_is_taken_for_which() -> None:
    """Kills: the transpose of the channel, in heads and in fine-tuning."""
    right = draw(load("digits"), Cell("digits", 0), 0)
    half = torch.rand(len(right.labels), generator=torch.Generator().manual_seed(0)) < 0.6
    noisy = right._replace(labels=torch.where((right.labels == 3) & half, 8, right.labels))
    found = with_channel(noisy, 0)
    assert found.channel[3, 8] > 0.4 > 0.2 > found.channel[8, 3]
    assert int(found.trusted.sum()) == len(right.meta_labels)
    answers = torch.tensor([[0.2, 0.8], [0.4, 0.6], [0.1, 0.9]])
    torch.testing.assert_close(channel_of(answers, torch.tensor([0, 0, 1]), 2), torch.tensor([[0.3, 0.7], [0.1, 0.9]]))
    loss = Corrected(torch.tensor([[0.3, 0.7], [0.1, 0.9]]))(
        torch.tensor([[50.0, 0.0]]), torch.tensor([1]), torch.ones(2)
    )
    assert float(loss) == pytest.approx(-math.log(0.7), abs=1e-5)


def test_generalised_cross_entropy_by_hand(problem: Problem) -> None:
    losses = METHODS["generalised_cross_entropy"].group_loss(uniform(problem), {"tau": 0.0})
    logits = torch.zeros(1, 4, 10)
    torch.testing.assert_close(losses(logits, torch.arange(4), 0), torch.full((1, 4), (1 - 0.1**0.7) / 0.7))


def test_early_learning_pulls_towards_what_was_learned_first(problem: Problem) -> None:
    """Kills: a regulariser of the other sign. A row's own earlier answer makes the same answer cheaper."""
    losses = METHODS["early_learning"].group_loss(uniform(problem), {"strength": 3.0})
    rows, other = torch.tensor([0]), (int(problem.labels[0]) + 1) % 10
    said = torch.zeros(1, 1, 10)
    said[..., other] = 5.0
    first = float(losses(said, rows, 0))
    for step in range(1, 6):
        last = float(losses(said, rows, step))
    assert last < first - 1


def test_relabelling_mends_labels_where_features_tell_the_classes() -> None:
    right = draw(load("digits"), Cell("digits", 0), 0)
    noisy = draw(load("digits"), Cell("digits", 0, label_noise=0.2), 0)
    found = relabelled(noisy, 0).problem.labels
    assert (found != right.labels).float().mean() < (noisy.labels != right.labels).float().mean()
    assert torch.bincount(found, minlength=10).min() > 0


def test_trust_keeps_a_label_until_it_is_surely_wrong() -> None:
    """Kills: log-odds of the other sign, a floor that is not kept, a posterior that is changed without benefit."""
    posterior = torch.tensor([0.0, 0.12, 0.5, 1.0], dtype=torch.float64)
    found = trust_of(posterior, 2.0)
    odds = posterior[1:3] / (1 - posterior[1:3]) * math.e**2
    torch.testing.assert_close(found[1:3], 0.02 + 0.98 * odds / (1 + odds))
    assert found[0] == pytest.approx(0.02)
    assert found[3] == 1.0
    torch.testing.assert_close(trust_of(posterior, 0.0), 0.02 + 0.98 * posterior)


def test_a_class_keeps_a_share_of_its_rows() -> None:
    """Kills: a class that is erased, and changes to a class that is not; the order of its rows stays."""
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    trust = torch.tensor([0.02, 0.05, 0.1, 0.9, 0.02, 0.5])
    found, raised = with_least_share(trust, labels, 2)
    assert float(found[:3].sum()) == pytest.approx(3 * LEAST_SHARE)
    assert found[:3].argsort().tolist() == [0, 1, 2]
    torch.testing.assert_close(found[3:], trust[3:])
    assert raised.tolist() == [True, False]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_learns(problem: Problem, name: str) -> None:
    """Kills: a method that breaks, or that learns nothing: chance is 0.1, wrong labels are four in ten."""
    found = run_method(problem, name, 0)
    assert 0.4 < found["balanced_accuracy"] <= 1
    assert found["setting"] in METHODS[name].settings


def test_every_choice_of_development_has_weights_and_a_title(problem: Problem) -> None:
    """Kills: meta rows that are trained on where they are not to be, and the reverse."""
    both, count = joined(problem), len(problem.meta_labels)
    for name, choice in CHOICES.items():
        weights, log_prior = row_weights(both, choice, torch.ones(len(problem.labels)), count)
        assert bool(weights[-count:].any()) is choice.meta_rows, name
        assert float(log_prior.exp().sum()) == pytest.approx(1)
    assert CHOICES.keys() == CHOICE_TITLES.keys()


def test_features_of_fine_tuning_are_a_problem_of_heads() -> None:
    texts = {"text": list("abcd"), "label": [0, 1, 1, 0]}
    drawn = fine_tuning.Drawn(
        Dataset.from_dict(texts),
        Dataset.from_dict(texts),
        Dataset.from_dict(texts),
        np.arange(4),
        2,
        np.array([0, 1, 0, 0]),
    )
    found = problem_of(torch.randn(4, 3), torch.randn(4, 3), drawn)
    assert found.labels.tolist() == [0, 1, 1, 0]
    assert found.true_labels.tolist() == [0, 1, 0, 0]
    torch.testing.assert_close(found.features.mean(0), torch.zeros(3), rtol=0, atol=1e-5)


def test_the_default_beats_its_loss_alone_under_noise(problem: Problem) -> None:
    """Kills: weights that do not reach the loss."""
    ours, alone = (run_method(problem, name, 0) for name in ("default", "logit_adjustment"))
    assert ours["balanced_accuracy"] > alone["balanced_accuracy"] + 0.1
