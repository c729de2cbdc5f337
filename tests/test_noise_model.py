"""Expectation maximisation of a Gaussian a class behind a channel of labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from hf_otw.types import Measure
from hf_otw.weighting.models import gaussians
from hf_otw.weighting.models import noise_model as module
from hf_otw.weighting.models.class_scores import ClassScores
from hf_otw.weighting.models.noise_model import META_ROWS, PRIOR_ROWS, NoiseModel, _Data

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


def densities(model: NoiseModel) -> list[multivariate_normal]:
    """SciPy's Gaussians, one a class."""
    inverse = np.linalg.inv(model.classes.whiten.numpy())  # (C, K, K)
    sigma = np.broadcast_to(inverse @ inverse.transpose(0, 2, 1), (K, K, K))
    return [multivariate_normal(mean, own) for mean, own in zip(model.classes.means.numpy(), sigma, strict=True)]


@pytest.fixture(params=["each its own", "one for all"])
def _covariances(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few classes, and what would be many."""
    if request.param == "one for all":
        monkeypatch.setattr(gaussians, "MOST_COVARIANCES", K - 1)


@pytest.mark.usefixtures("_covariances")
def test_plan_is_the_posterior_of_the_mixture() -> None:
    """Kills: a wrong sign, a wrong triangle, the channel read the wrong way round. Second derivation: SciPy."""
    scores, source, target, _ = problem()
    model = NoiseModel.fit(scores, source, target, K)
    found = model.plan(scores.rows, source.labels).numpy()
    density = np.stack([of_class.pdf(scores.rows.numpy()) for of_class in densities(model)], axis=1)
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
    np.testing.assert_allclose(model.classes.means.numpy(), np.eye(K), atol=0.05)


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
    np.testing.assert_allclose(new.classes.means.numpy(), means, rtol=1e-10)
    points, shares = np.concatenate([rows, columns]), np.concatenate([plan, known])
    apart = points[:, None] - means  # (84, K, K)
    scatters = np.einsum("ik,ikd,ike->kde", shares, apart, apart)
    common = scatters.sum(0) / total.sum()
    drawn = [
        (own + gaussians.COMMON_ROWS * common) / (rows + gaussians.COMMON_ROWS)
        for own, rows in zip(scatters, total, strict=True)
    ]
    spread = np.mean([np.trace(own) / K for own in drawn])
    for found, own in zip(densities(new), drawn, strict=True):
        widened = own + (gaussians.SHRINKAGE * spread + gaussians.TINY) * np.eye(K)
        np.testing.assert_allclose(found.cov, widened, rtol=1e-8)
    joint = np.stack([[plan[given == g, k].sum() for g in range(K)] for k in range(K)])
    rate = 1 - np.trace(joint) / 60
    prior = PRIOR_ROWS * (rate / (K - 1) * (1 - np.eye(K)) + (1 - rate) * np.eye(K))
    channel = (joint + prior) / (joint + prior).sum(1, keepdims=True)
    np.testing.assert_allclose(new.log_channel.exp().numpy(), channel, rtol=1e-10)
    np.testing.assert_allclose(new.log_mass.exp().numpy(), (plan.sum(0) + 1) / (60 + K), rtol=1e-10)


def log_likelihood(model: NoiseModel, scores: ClassScores, source: Measure, target: Measure) -> float:
    """Of rows and labels, of columns, and of the prior on the channel that a fixed rate stands for."""
    of_class = densities(model)
    mass, channel = model.log_mass.exp().numpy(), model.log_channel.exp().numpy()
    given = source.labels.numpy()
    rows = sum(mass[k] * of_class[k].pdf(scores.rows.numpy()) * channel[k][given] for k in range(K))
    columns = zip(scores.columns.numpy(), target.labels.tolist(), strict=True)
    known = sum(META_ROWS * of_class[y].logpdf(x) for x, y in columns)
    return float(np.log(rows).sum() + known)


@pytest.mark.usefixtures("_covariances")
def test_steps_raise_the_likelihood(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills: a step that is not one of expectation maximisation. Priors and shrinkage off: they raise theirs."""
    monkeypatch.setattr(module, "PRIOR_ROWS", 0.0)
    monkeypatch.setattr(gaussians, "SHRINKAGE", 0.0)
    monkeypatch.setattr(gaussians, "COMMON_ROWS", 0.0)
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
    sigma += (gaussians.SHRINKAGE * np.trace(sigma) / K + gaussians.TINY) * np.eye(K)
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
    torch.testing.assert_close(data.start(given).classes.means, data.start().classes.means)


def test_a_class_that_spreads_wider_reaches_further() -> None:
    """Kills: one covariance for all classes, under which a wide class's own rows are taken for wrong."""
    rng = np.random.default_rng(0)
    true = np.repeat([0, 1], 1000)

    def place(labels: np.ndarray) -> np.ndarray:
        centre = np.stack([4.0 * labels, 0.0 * labels], axis=1)
        return centre + rng.normal(size=(len(labels), 2)) * np.where(labels == 0, 0.2, 2.0)[:, None]

    meta = np.repeat([0, 1], 10)
    rows, columns = torch.tensor(place(true)), torch.tensor(place(meta))
    labels, mass = torch.tensor(true), torch.full((2000,), 1 / 2000, dtype=torch.float64)
    source, target = Measure(rows, labels, mass), Measure(columns, torch.tensor(meta), mass[:20])
    model = NoiseModel.fit(ClassScores(rows, columns), source, target, 2)
    between = torch.tensor([[1.6, 0.0]], dtype=torch.float64)  # nearer to the narrow class's mean
    assert model.plan(between, torch.tensor([1]))[0, 1] > 0.9
    assert model.own_class_mass(rows, source)[labels == 1].mean() > 0.95


def test_common_scatter_is_the_sum_over_the_classes() -> None:
    """Second derivation: the classes' own, added up."""
    rng = np.random.default_rng(1)
    points, shares, means = (torch.tensor(rng.normal(size=size)) for size in ((50, K), (50, K), (K, K)))
    part = gaussians.Weighted(points + 7, shares.abs())
    means = means + 7
    together = gaussians._scatters(part, means).sum(dim=0)
    torch.testing.assert_close(gaussians._common_scatter(part, means), together)
