"""The checks that every solver makes."""

from __future__ import annotations

import math

from torch import Tensor


def check_reg(reg: float) -> None:
    """Raise a ValueError unless `reg` is a positive, finite number."""
    if not (reg > 0 and math.isfinite(reg)):
        raise ValueError(
            f"Expected reg > 0 (entropic strength, in units of the cost), got {reg}. Cosine costs lie in [0, 2]: "
            "0.05 to 0.5 is usual."
        )


def check_problem(a: Tensor, b: Tensor, reg: float) -> None:
    """Raise a ValueError for a bad `reg`, or for masses `a` `(n,)`, `b` `(m,)` that are no probabilities."""
    check_reg(reg)
    for name, mass in (("a", a), ("b", b)):
        total = mass.sum().item()
        if not abs(total - 1) < 1e-3:
            raise ValueError(f"Expected the masses {name} to sum to 1, got {total:.6g}. Divide them by their sum.")
        if (mass < 0).any():
            raise ValueError(f"Expected non-negative masses {name}, got a minimum of {mass.min().item():.6g}.")


def check_steps(steps: int) -> None:
    """Raise a ValueError unless a weight model takes at least one step a call."""
    if steps < 1:
        raise ValueError(f"Expected steps >= 1 (gradient steps a call), got {steps}.")
