"""The weight model of the default preset: its noise rate is the maximum-likelihood one, and clean data are left
alone.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from hf_otw.costs import FeatureCost
from hf_otw.target import class_totals, examples_target, meta_folds, prototypes_target
from hf_otw.types import Measure
from hf_otw.weighting import CleanPosterior
from hf_otw.weighting.agreement import own_class_share
from hf_otw.weighting.clean_posterior import STRENGTHS

K, REG = 4, 0.1


def problem(noise: float, *, spread: float = 0.4, seed: int = 0) -> tuple[Measure, Measure, np.ndarray]:
    rng = np.random.default_rng(seed)
    centres = np.eye(K, 12) * 4
    true = rng.choice(K, size=800, p=[0.7, 0.2, 0.07, 0.03])
    given = np.where(rng.random(800) < noise, rng.integers(0, K, 800), true)
    features = centres[true] + spread * rng.normal(size=(800, 12))
    meta_labels = np.repeat(np.arange(K), 10)
    meta = centres[meta_labels] + spread * rng.normal(size=(40, 12))
    source = Measure(torch.tensor(features), torch.tensor(given), torch.full((800,), 1 / 800, dtype=torch.float64))
    class_mass = torch.full((K,), 1 / K, dtype=torch.float64)
    target = prototypes_target(torch.tensor(meta), torch.tensor(meta_labels), class_mass)
    return source, target, given != true


def solve(source: Measure, target: Measure) -> tuple[torch.Tensor, float]:
    model = CleanPosterior(reg=REG)
    weights = model(torch.arange(len(source.labels)), source, target, FeatureCost()).weights
    return weights, float(model.noise_rate)


@pytest.mark.parametrize("noise", [0.1, 0.3, 0.5])
def test_noise_rate_maximises_the_likelihood_of_the_labels(noise: float) -> None:
    """Kills: a wrong E or M step. Second derivation: a bounded scalar search on the likelihood itself."""
    source, target, _ = problem(noise, spread=1.5)
    _, found = solve(source, target)
    share = own_class_share(source, target, FeatureCost(), REG).numpy()
    best = minimize_scalar(
        lambda e: -np.log((1 - e) * share + e / K).mean(),
        bounds=(1e-9, 1 - 1e-9),
        method="bounded",
        options={"xatol": 1e-9},
    )
    # EM stops when e moves by less than 1e-6 a step; its linear rate here is below 0.99.
    assert found == pytest.approx(best.x, abs=1e-4)


def test_weights_are_the_posterior_at_that_rate() -> None:
    source, target, _ = problem(0.3, spread=1.5)
    weights, e = solve(source, target)
    share = own_class_share(source, target, FeatureCost(), REG)
    posterior = torch.stack([(1 - e) * p / ((1 - e) * p + e / K) for p in share])
    torch.testing.assert_close(weights, posterior / posterior.mean(), rtol=1e-4, atol=1e-6)


def test_clean_separable_data_keep_their_weights_in_every_class() -> None:
    """Kills: a fixed noise rate, which takes weight from rows of the border of a class."""
    source, target, _ = problem(0.0)
    weights, e = solve(source, target)
    assert e < 1e-3
    torch.testing.assert_close(weights, torch.ones_like(weights), rtol=0.02, atol=0.02)
    counts = torch.bincount(source.labels, minlength=K).double()
    torch.testing.assert_close(class_totals(weights, source.labels, K), counts / counts.sum(), rtol=1e-2, atol=0)


def test_noise_is_estimated_and_wrong_labels_lose_their_weight() -> None:
    """A quarter of the flips hit the right class again, so 30 % flips leave 22.5 % wrong; e counts all flips."""
    source, target, wrong = problem(0.3)
    weights, e = solve(source, target)
    assert e == pytest.approx(0.3, abs=0.05)
    assert float(weights[wrong].mean()) < 0.1
    assert float(weights[~wrong].min()) > 0.5


def test_noise_rate_is_part_of_the_state() -> None:
    source, target, _ = problem(0.3)
    model, other = CleanPosterior(reg=REG), CleanPosterior(reg=REG)
    model(torch.arange(800), source, target, FeatureCost())
    assert float(model.noise_rate) != float(other.noise_rate)
    other.load_state_dict(model.state_dict())
    assert float(model.noise_rate) == float(other.noise_rate)


def test_rows_that_no_column_reaches_do_not_break_it() -> None:
    """A tiny reg sends the share of a misplaced row to exactly zero, and with clean rows otherwise e may reach zero
    too.
    """
    source, target, _ = problem(0.0)
    source = source._replace(labels=source.labels.clone())
    source.labels[0] = (source.labels[0] + 1) % K
    weights = CleanPosterior(reg=1e-4)(torch.arange(800), source, target, FeatureCost()).weights
    assert torch.isfinite(weights).all()
    assert float(weights[0]) < 0.1
    assert float(weights.mean()) == pytest.approx(1, abs=1e-6)


def meta_of(spread: float, *, seed: int = 1, per_class: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(K), per_class)
    features = np.eye(K, 12)[labels] * 4 + spread * rng.normal(size=(len(labels), 12))
    return torch.tensor(features), torch.tensor(labels)


def calibrated(spread: float) -> CleanPosterior:
    features, labels = meta_of(spread)
    mass = torch.full((K,), 1 / K, dtype=torch.float64)
    model = CleanPosterior()
    model.calibrate(meta_folds(features, labels, mass, None, prototypes_target), FeatureCost())
    return model


def test_poor_features_get_a_flat_judgement() -> None:
    """Kills: a strength that does not follow the features. The better they are, the sharper."""
    strengths = [float(calibrated(spread).strength) for spread in (0.2, 3.0, 30.0)]
    assert strengths[0] < strengths[1] < strengths[2]
    assert strengths[0] == STRENGTHS[0]


def test_clean_labels_with_poor_features_keep_their_weight() -> None:
    """The fault that calibration repairs: a fixed strength takes what features cannot tell for noise."""
    source, target, _ = problem(0.0, spread=6.0)
    fixed, _ = solve(source, target)
    weights = calibrated(6.0)(torch.arange(800), source, target, FeatureCost()).weights
    assert (fixed < 0.1).double().mean() > 0.2
    assert weights.min() > 0.1


def test_strength_has_the_highest_held_out_likelihood() -> None:
    """Second derivation: leave a fifth out by hand, in NumPy."""
    features, labels = meta_of(3.0)
    z, y = features.numpy(), labels.numpy()
    losses = np.zeros(len(STRENGTHS))
    rank = np.tile(np.arange(20), K)
    for fold in range(5):
        out = rank % 5 == fold
        prototypes = np.stack([z[~out & (y == k)].mean(axis=0) for k in range(K)])
        cosine = (z[out] @ prototypes.T) / np.linalg.norm(z[out], axis=1)[:, None] / np.linalg.norm(prototypes, axis=1)
        for i, reg in enumerate(STRENGTHS):
            logits = cosine / reg
            log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
            losses[i] -= log_p[np.arange(out.sum()), y[out]].sum()
    assert float(calibrated(3.0).strength) == STRENGTHS[losses.argmin()]
    assert 0 < losses.argmin() < len(STRENGTHS) - 1


def test_a_given_strength_is_kept() -> None:
    features, labels = meta_of(3.0)
    model = CleanPosterior(reg=0.3)
    model.calibrate(meta_folds(features, labels, torch.full((K,), 1 / K), None, prototypes_target), FeatureCost())
    assert float(model.strength) == pytest.approx(0.3)


def test_folds_hold_each_example_out_once_and_never_a_whole_class() -> None:
    labels = torch.tensor([2, 0, 1, 0, 0, 1, 0, 0, 0, 0])  # one example of class 2, two of class 1
    features = torch.arange(10.0)[:, None] + 1
    folds = meta_folds(features, labels, torch.full((3,), 1 / 3), None, examples_target)
    held_out = torch.cat([fold.held_out.features for fold in folds]).flatten()
    assert sorted(held_out.tolist()) == [i + 1.0 for i in range(10) if i != 0]
    for fold in folds:
        assert set(fold.target.labels.tolist()) == {0, 1, 2}
        assert not set(fold.held_out.features.flatten().tolist()) & set(fold.target.features.flatten().tolist())
    assert meta_folds(features[:3], torch.arange(3), torch.full((3,), 1 / 3), None, prototypes_target) == []
