"""Choosing `reg` by the effective sample size that it leaves."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from hf_otw.target import effective_sample_size

LOWEST_REG, HIGHEST_REG = 1e-3, 1e2
STEPS = 20


def reg_for_ess(weights_at: Callable[[float], Tensor], target_ess: float) -> float:
    """The smallest `reg` in `[1e-3, 1e2]` whose weights keep `ess >= target_ess * n`, by bisection in `log reg`.

    The ess of a closed form or a plan grows with `reg`, so bisection finds it to one part in 10^5 in 20 solves. Where
    even the largest `reg` stays below the target (a cost that ranges over hundreds), that `reg` is returned.

    Args:
        weights_at: `reg -> weights (n,)`.
        target_ess: fraction of the number of rows, in `(0, 1)`.

    Raises:
        ValueError: a fraction that is not in `(0, 1)`.
    """
    if not 0 < target_ess < 1:
        raise ValueError(f"Expected 0 < target_ess < 1 (a fraction of the training examples), got {target_ess}.")
    low, high = math.log(LOWEST_REG), math.log(HIGHEST_REG)
    for _ in range(STEPS):
        middle = (low + high) / 2
        weights = weights_at(math.exp(middle))
        if effective_sample_size(weights).item() < target_ess * len(weights):
            low = middle
        else:
            high = middle
    return math.exp(high)
