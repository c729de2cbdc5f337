"""When weights are learned."""

from __future__ import annotations

from typing import NamedTuple


class Schedule(NamedTuple):
    """When to solve, in optimizer steps.

    Attributes:
        warmup_steps: steps with all weights 1 at the start.
        refresh_steps: steps between two solves; 0 for a single one.
        smoothing: share of the old weights kept at a solve, in `[0, 1)`.
    """

    warmup_steps: int
    refresh_steps: int
    smoothing: float
