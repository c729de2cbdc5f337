"""Losses of single examples against their formulas, in float64, at generic points."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hf_otw.losses import BinaryCrossEntropy, CrossEntropy, Focal, LogitAdjusted, SquaredError

G = torch.Generator().manual_seed(3)
LOGITS = torch.randn(6, 4, generator=G, dtype=torch.float64)
LABELS = torch.tensor([0, 3, 1, 1, 2, 0])
PRIOR = torch.tensor([0.7, 0.2, 0.1, 0.0], dtype=torch.float64)
MULTI_HOT = torch.randint(2, (6, 4), generator=G)
NUMBERS = torch.randn(6, 4, generator=G, dtype=torch.float64)


def smoothed(logits: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy with `1 - smoothing + smoothing / K` on the label and `smoothing / K` elsewhere."""
    log_p = logits - logits.exp().sum(dim=1, keepdim=True).log()
    wanted = torch.full_like(log_p, smoothing / 4)
    wanted[torch.arange(6), LABELS] += 1 - smoothing
    return -(wanted * log_p).sum(dim=1)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_cross_entropy(smoothing: float) -> None:
    torch.testing.assert_close(CrossEntropy(smoothing)(LOGITS, LABELS, PRIOR), smoothed(LOGITS, smoothing))


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("tau", [1.0, 0.4])
def test_logit_adjusted(tau: float, smoothing: float) -> None:
    """A class without weight has a prior of 1e-12, not a loss of infinity."""
    adjusted = LOGITS + tau * torch.tensor([0.7, 0.2, 0.1, 1e-12], dtype=torch.float64).log()
    found = LogitAdjusted(tau, smoothing)(LOGITS, LABELS, PRIOR)
    torch.testing.assert_close(found, smoothed(adjusted, smoothing))


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("gamma", [2.0, 0.5])
def test_focal(gamma: float, smoothing: float) -> None:
    p = LOGITS.exp()[torch.arange(6), LABELS] / LOGITS.exp().sum(dim=1)
    torch.testing.assert_close(
        Focal(gamma, smoothing)(LOGITS, LABELS, PRIOR), (1 - p) ** gamma * smoothed(LOGITS, smoothing)
    )


def test_defaults_are_those_of_the_papers() -> None:
    assert (CrossEntropy().label_smoothing, LogitAdjusted().tau, LogitAdjusted().label_smoothing) == (0, 1, 0)
    assert (Focal().gamma, Focal().label_smoothing) == (2, 0)


def test_binary_cross_entropy() -> None:
    p = 1 / (1 + (-LOGITS).exp())
    expected = -torch.where(MULTI_HOT == 1, p.log(), (1 - p).log()).sum(dim=1) / 4
    torch.testing.assert_close(BinaryCrossEntropy()(LOGITS, MULTI_HOT, PRIOR), expected)


def test_squared_error() -> None:
    torch.testing.assert_close(
        SquaredError()(LOGITS, NUMBERS, PRIOR), (LOGITS**2 - 2 * LOGITS * NUMBERS + NUMBERS**2).sum(dim=1) / 4
    )


@pytest.mark.parametrize(
    ("loss", "labels"),
    [
        (CrossEntropy(), LABELS),
        (LogitAdjusted(), LABELS),
        (Focal(), LABELS),
        (BinaryCrossEntropy(), MULTI_HOT),
        (SquaredError(), NUMBERS),
        (SquaredError(), MULTI_HOT),
    ],
)
@pytest.mark.parametrize(
    ("dtype", "wanted"),
    [(torch.bfloat16, torch.float32), (torch.float16, torch.float32), (torch.float32, torch.float32)]
    + [(torch.float64, torch.float64)],
)
def test_half_precision_is_computed_in_single(
    loss: object, labels: Tensor, dtype: torch.dtype, wanted: object
) -> None:
    """Kills: a loss in bfloat16, whose last digit is a hundredth, and one that rounds float64."""
    logits = LOGITS.to(dtype)
    found = loss(logits, labels, PRIOR.to(wanted))
    assert found.dtype == wanted
    torch.testing.assert_close(found, loss(logits.to(wanted), labels, PRIOR.to(wanted)), rtol=0, atol=0)
