"""Comparators that raise, know the gauge of potentials, and refuse to compare nothing with nothing."""

from __future__ import annotations

import torch
from torch import Tensor


def assert_not_vacuous(values: Tensor) -> None:
    """Two empty tensors, or two all-zero ones, are equal whatever the code under test does."""
    assert values.numel() > 0, "vacuous comparison: nothing to compare"
    assert torch.isfinite(values).all(), f"vacuous comparison: the expected values are not finite: {values}"
    assert values.abs().max() > 0, "vacuous comparison: all expected values are zero"


def assert_equal_values(actual: Tensor, expected: Tensor, *, atol: float, rtol: float = 0.0) -> None:
    """`torch.testing.assert_close` with a guard."""
    assert_not_vacuous(expected)
    torch.testing.assert_close(actual, expected, atol=atol, rtol=rtol)


def assert_equal_up_to_constant(actual: Tensor, expected: Tensor, *, atol: float, rtol: float = 0.0) -> None:
    """Compare potentials or gradients on the simplex, where an additive constant has no meaning."""
    centred = expected - expected.mean()
    assert_not_vacuous(centred)
    assert centred.abs().max() > 10 * atol, "vacuous comparison: the values vary less than the tolerance allows"
    torch.testing.assert_close(actual - actual.mean(), centred, atol=atol, rtol=rtol)


def assert_plan(plan: Tensor, a: Tensor, b: Tensor, *, atol: float) -> None:
    """A transport plan is non-negative and has the marginals `a` `(n,)` and `b` `(m,)`."""
    assert_not_vacuous(plan)
    assert plan.min() >= 0, f"a plan is non-negative, got {plan.min()}"
    assert_equal_values(plan.sum(dim=1), a, atol=atol)
    assert_equal_values(plan.sum(dim=0), b, atol=atol)


def assert_weights(weights: Tensor, n: int, *, atol: float = 1e-4) -> None:
    """Weights are finite, non-negative and have mean 1. The tolerance is float32 rounding in a mean."""
    assert weights.shape == (n,), f"expected shape {(n,)}, got {tuple(weights.shape)}"
    assert_not_vacuous(weights)
    assert weights.min() >= 0, f"weights are non-negative, got {weights.min()}"
    torch.testing.assert_close(weights.double().mean().item(), 1.0, atol=atol, rtol=0)
