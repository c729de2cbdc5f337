"""The weight model of the default preset: its noise rate is the maximum-likelihood one, and clean data are left
alone.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from hf_otw.costs import FeatureCost
from hf_otw.target import class_totals, prototypes_target
from hf_otw.types import Measure
from hf_otw.weighting import CleanPosterior
from hf_otw.weighting.agreement import own_class_share

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
