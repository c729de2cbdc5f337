"""Leave-one-out scores in closed form are those of a regression fitted without the row."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hf_otw.types import Measure
from hf_otw.weighting.models import class_scores as module
from hf_otw.weighting.models.class_scores import MAX_WIDTH, PENALTIES, alignment, class_scores

K = 3


def problem(n: int = 40, width: int = 5, seed: int = 0) -> tuple[Measure, Measure, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % K
    features = torch.randn(n, width, generator=generator, dtype=torch.float64)
    features = features + 0.3 + torch.eye(K, width, dtype=torch.float64)[labels]
    columns = torch.randn(7, width, generator=generator, dtype=torch.float64)
    weights = 0.2 + torch.rand(n, generator=generator, dtype=torch.float64)
    mass = torch.full((n,), 1 / n, dtype=torch.float64)
    source = Measure(features, labels, mass)
    return source, Measure(columns, torch.arange(7) % K, mass[:7]), weights / weights.mean()


def refit(source: Measure, weights: torch.Tensor, kept: np.ndarray, at: np.ndarray, penalty: float) -> np.ndarray:
    """Ridge regression by least squares on some rows, penalty as of all rows; predictions at other points."""
    x, y = source.features.numpy()[kept], np.eye(K)[source.labels.numpy()[kept]]
    w = weights.numpy()[kept]
    total = weights.numpy().sum()
    # The intercept is a column that the penalty spares.
    design = np.hstack([x, np.ones((len(x), 1))])
    ridge = penalty * total * np.diag([1.0] * x.shape[1] + [0.0])
    solution = np.linalg.solve(design.T @ (w[:, None] * design) + ridge, design.T @ (w[:, None] * y))
    return np.hstack([at, np.ones((len(at), 1))]) @ solution


@pytest.mark.parametrize("penalty", [PENALTIES[0], 0.1, PENALTIES[-1]])
def test_scores_are_those_of_the_regression_without_the_row(monkeypatch: pytest.MonkeyPatch, penalty: float) -> None:
    """Kills: a leverage without the intercept's share or the row's weight. Second derivation: refit n times."""
    monkeypatch.setattr(module, "PENALTIES", (penalty,))
    source, target, weights = problem()
    found = class_scores(source, target, K, weights)
    n, x = len(source.labels), source.features.numpy()
    for i in range(n):
        kept = np.arange(n) != i
        expected = refit(source, weights, kept, x[i : i + 1], penalty)[0]
        np.testing.assert_allclose(found.rows[i].numpy(), expected, rtol=1e-8, atol=1e-10)
    expected = refit(source, weights, np.ones(n, dtype=bool), target.features.numpy(), penalty)
    np.testing.assert_allclose(found.columns.numpy(), expected, rtol=1e-8, atol=1e-10)


def test_penalty_has_the_smallest_error_with_classes_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills: an error in which frequent classes count more, or one of rows that were not left out."""
    source, target, weights = problem(n=60)
    source = source._replace(labels=torch.tensor([0] * 40 + [1] * 14 + [2] * 6))
    errors = []
    for penalty in PENALTIES:
        monkeypatch.setattr(module, "PENALTIES", (penalty,))
        scores = class_scores(source, target, K, weights).rows
        squared = (scores - torch.eye(K, dtype=torch.float64)[source.labels]).square().sum(1) * weights
        of_class = [source.labels == k for k in range(K)]
        errors.append(sum(float(squared[own].sum() / weights[own].sum()) for own in of_class))
    monkeypatch.undo()
    best = int(np.argmin(errors))
    assert 0 < best < len(PENALTIES) - 1
    expected = refit(source, weights, np.ones(60, dtype=bool), target.features.numpy(), PENALTIES[best])
    np.testing.assert_allclose(class_scores(source, target, K, weights).columns.numpy(), expected, rtol=1e-8)


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    source, target, weights = problem()
    whole = class_scores(source, target, K, weights)
    monkeypatch.setattr(module, "BLOCK_ROWS", 7)
    parts = class_scores(source, target, K, weights)
    torch.testing.assert_close(parts.rows, whole.rows, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(parts.columns, whole.columns, rtol=1e-9, atol=1e-11)


def test_wide_features_are_projected_and_still_tell_the_classes_apart() -> None:
    """Kills: rows and columns that go through different matrices."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(90) % K
    centres = torch.randn(K, MAX_WIDTH + 300, generator=generator)
    noise = torch.randn(90 + 9, MAX_WIDTH + 300, generator=generator)
    points = centres[torch.cat([labels, torch.arange(9) % K])] + noise
    mass = torch.full((90,), 1 / 90)
    source, target = Measure(points[:90], labels, mass), Measure(points[90:], torch.arange(9) % K, mass[:9])
    found = class_scores(source, target, K, torch.ones(90))
    assert (found.rows.argmax(1) == labels).all()
    assert (found.columns.argmax(1) == target.labels).all()


def test_a_class_with_one_row_gets_no_score_from_itself() -> None:
    """Kills: scores that are not left out: the row would score 1 for its class."""
    source, target, weights = problem(n=41)
    labels = source.labels.clone() % 2
    labels[40] = 2
    scores = class_scores(source._replace(labels=labels), target, K, weights).rows
    assert float(scores[40, 2]) < 0.1


def test_alignment_is_the_cosine_of_a_balanced_regressions_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills: classes that count by their rows, in the regression or the cosine. Second derivation: least squares."""
    monkeypatch.setattr(module, "PENALTIES", (0.1,))
    source, target, weights = problem(n=60)
    source = source._replace(labels=torch.tensor([0] * 40 + [1] * 14 + [2] * 6))
    balanced = weights.clone()
    for k in range(K):
        balanced[source.labels == k] /= weights[source.labels == k].sum()
    balanced /= balanced.mean()
    scores = refit(source, balanced, np.ones(60, dtype=bool), target.features.numpy(), 0.1)
    one_hot = np.eye(K)[target.labels.numpy()]  # 3, 2 and 2 columns a class
    share = np.sqrt(1 / one_hot.sum(0)[target.labels.numpy()])[:, None]
    left, right = (share * (matrix - matrix.mean(1, keepdims=True)) for matrix in (scores, one_hot))
    expected = (left * right).sum() / np.linalg.norm(left) / np.linalg.norm(right)
    assert float(alignment(source, target, K, 5 * weights)) == pytest.approx(expected, abs=1e-9)


def test_alignment_prefers_right_labels() -> None:
    """Kills: a sign. A factor of all weights, and noise that shrinks all scores, do not matter by themselves."""
    source, target, _ = problem(n=90)
    target = target._replace(features=torch.eye(K, 5, dtype=torch.float64)[target.labels] * 3)
    wrong = torch.arange(90) % 4 == 0
    noisy = source._replace(labels=torch.where(wrong, (source.labels + 1) % K, source.labels))
    with_all, without = (float(alignment(noisy, target, K, w)) for w in (torch.ones(90), 1 - 0.98 * wrong.double()))
    assert with_all < without < 1
