"""The checks that every solver makes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hf_otw.types import Shard


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
        check_mass(name, mass.sum().item(), mass.amin().item())


def check_mass(name: str, total: float, least: float) -> None:
    """Raise a ValueError for masses of that sum and minimum, which are no probabilities."""
    if not abs(total - 1) < 1e-3:
        raise ValueError(f"Expected the masses {name} to sum to 1, got {total:.6g}. Divide them by their sum.")
    if least < 0:
        raise ValueError(f"Expected non-negative masses {name}, got a minimum of {least:.6g}.")


def check_steps(steps: int) -> None:
    """Raise a ValueError unless a weight model takes at least one step a call."""
    if steps < 1:
        raise ValueError(f"Expected steps >= 1 (gradient steps a call), got {steps}.")


def check_finite(values: Tensor, what: str, shard: Shard | None = None) -> Tensor:
    """Return the values, or raise a ValueError where some are not finite, here or in another process's `shard`."""
    # The Trainer leaves NaN out of the losses that it logs (`logging_nan_inf_filter`), so that nobody would notice.
    check_none_infinite((~torch.isfinite(values)).sum(), what, shard)
    return values


def check_none_infinite(bad: Tensor, what: str, shard: Shard | None = None) -> None:
    """Raise a ValueError where this process, or another one of `shard`, has counted numbers that are not finite."""
    # All processes raise, or none: one that goes on alone would wait for the others for ever.
    count = int(bad if shard is None else shard.sum(bad))
    if count:
        raise ValueError(
            f"Expected finite {what}, but {count} numbers are NaN or infinite. Check the inputs, lower the learning "
            "rate, or train in bfloat16 or float32."
        )
