"""Expectation maximisation of a Gaussian a class behind a channel of labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from hf_otw.types import Measure
from hf_otw.weighting import noise_model as module
from hf_otw.weighting.class_scores import ClassScores
from hf_otw.weighting.noise_model import META_ROWS, PRIOR_ROWS, NoiseModel, _Data

K = 3


def problem(n: int = 600, noise: float = 0.3, seed: int = 0) -> tuple[ClassScores, Measure, Measure, np.ndarray]:
    rng = np.random.default_rng(seed)
    spread = np.array([[0.09, 0.03, 0.0], [0.03, 0.06, 0.01], [0.0, 0.01, 0.05]])
    true = rng.choice(K, size=n, p=[0.6, 0.3, 0.1])
    given = np.where(rng.random(n) < noise, (true + 1) % K, true)  # every class is taken for the next one
    meta = np.repeat(np.arange(K), 8)
    draw = lambda labels: torch.tensor(np.eye(K)[labels] + rng.multivariate_normal(np.zeros(K), spread, len(labels)))  # noqa: E731
    rows, columns = draw(true), draw(meta)
    mass = torch.full((n,), 1 / n, dtype=torch.float64)
    source = Measure(rows, torch.tensor(given), mass)
    return ClassScores(rows, columns), source, Measure(columns, torch.tensor(meta), mass[: len(meta)]), true


def covariance(model: NoiseModel) -> np.ndarray:
    inverse = np.linalg.inv(model.whiten.numpy())
    return inverse @ inverse.T


def test_plan_is_the_posterior_of_the_mixture() -> None:
    """Kills: a wrong sign, a wrong triangle, the channel read the wrong way round. Second derivation: SciPy."""
    scores, source, target, _ = problem()
    model = NoiseModel.fit(scores, source, target, K)
    found = model.plan(scores.rows, source.labels).numpy()
    density = np.stack(
        [multivariate_normal(mean, covariance(model)).pdf(scores.rows.numpy()) for mean in model.means.numpy()], axis=1
    )
    joint = density * model.log_mass.exp().numpy() * model.log_channel.exp().numpy().T[source.labels.numpy()]
    np.testing.assert_allclose(found, joint / joint.sum(1, keepdims=True), rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(
        model.own_class_mass(scores.rows, source), torch.tensor(found)[torch.arange(600), source.labels]
    )


def test_channel_mass_and_means_are_found() -> None:
    """Kills: M-steps that mix rows and columns of the channel, or leave the masses at the labels' counts."""
    scores, source, target, true = problem(n=6000)
    model = NoiseModel.fit(scores, source, target, K)
    expected = 0.7 * np.eye(K) + 0.3 * np.roll(np.eye(K), 1, axis=1)
    np.testing.assert_allclose(model.log_channel.exp().numpy(), expected, atol=0.06)
    np.testing.assert_allclose(model.log_mass.exp().numpy(), np.bincount(true) / 6000, atol=0.02)
    np.testing.assert_allclose(model.means.numpy(), np.eye(K), atol=0.05)


def test_an_improvement_is_the_maximum_given_the_plan() -> None:
    """Second derivation: sums over rows and classes, one by one, in NumPy."""
    scores, source, target, _ = problem(n=60)
    data = _Data(scores, source, target, K)
    start = data.start()
    plan = start.plan(scores.rows, source.labels).numpy()
    new = data.improve(start)
    rows, columns, given = scores.rows.numpy(), scores.columns.numpy(), source.labels.numpy()
    known = META_ROWS * np.eye(K)[target.labels.numpy()]
    total = plan.sum(0) + known.sum(0)
    means = np.stack([(plan[:, k] @ rows + known[:, k] @ columns) / total[k] for k in range(K)])
    np.testing.assert_allclose(new.means.numpy(), means, rtol=1e-10)
    points, shares = np.concatenate([rows, columns]), np.concatenate([plan, known])
    apart = points[:, None] - means  # (84, K, K)
    scatter = np.einsum("ik,ikd,ike->de", shares, apart, apart)
    scatter /= total.sum()
    shrunk = scatter + (module.SHRINKAGE * np.trace(scatter) / K + module.TINY) * np.eye(K)
    np.testing.assert_allclose(covariance(new), shrunk, rtol=1e-8)
    joint = np.stack([[plan[given == g, k].sum() for g in range(K)] for k in range(K)])
    rate = 1 - np.trace(joint) / 60
    prior = PRIOR_ROWS * (rate / (K - 1) * (1 - np.eye(K)) + (1 - rate) * np.eye(K))
    channel = (joint + prior) / (joint + prior).sum(1, keepdims=True)
    np.testing.assert_allclose(new.log_channel.exp().numpy(), channel, rtol=1e-10)
    np.testing.assert_allclose(new.log_mass.exp().numpy(), (plan.sum(0) + 1) / (60 + K), rtol=1e-10)


def log_likelihood(model: NoiseModel, scores: ClassScores, source: Measure, target: Measure) -> float:
    """Of rows and labels, of columns, and of the prior on the channel that a fixed rate stands for."""
    sigma = covariance(model)
    of_class = [multivariate_normal(mean, sigma) for mean in model.means.numpy()]
    mass, channel = model.log_mass.exp().numpy(), model.log_channel.exp().numpy()
    given = source.labels.numpy()
    rows = sum(mass[k] * of_class[k].pdf(scores.rows.numpy()) * channel[k][given] for k in range(K))
    columns = zip(scores.columns.numpy(), target.labels.tolist(), strict=True)
    known = sum(META_ROWS * of_class[y].logpdf(x) for x, y in columns)
    return float(np.log(rows).sum() + known)


def test_steps_raise_the_likelihood(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills: a step that is not one of expectation maximisation. Priors and shrinkage off: they raise theirs."""
    monkeypatch.setattr(module, "PRIOR_ROWS", 0.0)
    monkeypatch.setattr(module, "SHRINKAGE", 0.0)
    scores, source, target, _ = problem(n=2000, noise=0.4)
    data = _Data(scores, source, target, K)
    model, values = data.start(), []
    for _ in range(10):
        model = data.improve(model)
        values.append(log_likelihood(model, scores, source, target))
    # The masses are smoothed by one row a class, which may take a little back.
    assert all(later > earlier - 0.01 for earlier, later in zip(values, values[1:], strict=False))
    assert values[-1] > values[0] + 1


def test_start_is_what_a_discriminant_of_the_given_labels_says_of_the_columns() -> None:
    """Kills: a channel with rows and columns swapped, or a start from noise that is the same for all classes. Second
    derivation: SciPy, and scikit-learn's discriminant.
    """
    scores, source, target, _ = problem(n=3000, noise=0.4)
    found = _Data(scores, source, target, K).start().log_channel.exp().numpy()
    rows, given = scores.rows.numpy(), source.labels.numpy()
    means = np.stack([rows[given == k].mean(0) for k in range(K)])
    spread = rows - means[given]
    sigma = spread.T @ spread / len(rows)
    sigma += (module.SHRINKAGE * np.trace(sigma) / K + module.TINY) * np.eye(K)
    prior = np.bincount(given) / len(rows)
    density = np.stack(
        [p * multivariate_normal(m, sigma).pdf(scores.columns.numpy()) for p, m in zip(prior, means, strict=True)], 1
    )
    answers = density / density.sum(1, keepdims=True)
    meta = target.labels.numpy()
    expected = np.stack([answers[meta == k].mean(0) for k in range(K)]).clip(module.FIRST_RATE)
    np.testing.assert_allclose(found, expected / expected.sum(1, keepdims=True), rtol=1e-6)
    for k in range(K):  # most of what is wrong is the next class
        assert found[k, (k + 1) % K] > found[k, (k + 2) % K]


def test_a_channel_may_be_handed_on() -> None:
    scores, source, target, _ = problem(n=60)
    given = torch.full((K, K), 1 / K, dtype=torch.float64).log()
    data = _Data(scores, source, target, K)
    assert data.start(given).log_channel is given
    torch.testing.assert_close(data.start(given).means, data.start().means)
