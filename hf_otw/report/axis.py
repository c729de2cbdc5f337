"""Value axes of the figures: linear, or logarithmic where the values span more than a factor of 8."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

_MAX_RATIO = 8


class Axis(NamedTuple):
    """A linear or logarithmic axis over given values; on a logarithmic one, smaller values are drawn at `low`."""

    kind: str
    low: float
    high: float
    ticks: list[float]

    def place(self, values: np.ndarray) -> np.ndarray:
        """Return where to draw `values`, any shape."""
        return np.clip(values, self.low, self.high)

    def title(self, name: str, values: np.ndarray) -> str:
        """Return the label of an axis on which `values` are drawn."""
        edge = ", smaller at the edge" if values.min() < self.low else ""
        return f"{name} (log scale{edge})" if self.kind == "log" else name

    def limits(self, pad: float = 0.03) -> tuple[float, float]:
        """Return the ends of the axis with some room, a share of its length, at both."""
        if self.kind == "log":
            room = (self.high / self.low) ** pad
            return self.low / room, self.high * room
        room = pad * (self.high - self.low)
        return self.low - room, self.high + room


def value_axis(values: np.ndarray, floor: float = 1e-4) -> Axis:
    """Choose the scale for values that are all >= 0; those below `floor` times the largest are drawn at the edge."""
    high = float(values.max())
    positive = values[values > 0]
    low = max(float(positive.min()), floor * high)
    if high / low <= _MAX_RATIO:
        return linear_axis(0.0, high)
    low, high = low / (1.15 if len(positive) == len(values) else 3), high * 1.15
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high / low < 20 else (1, 3) if high / low < 300 else (1,)
    ticks = [float(f"{step}e{decade}") for decade in decades for step in steps]
    return Axis("log", low, high, [value for value in ticks if low <= value <= high])


def linear_axis(low: float, high: float) -> Axis:
    """Return a linear axis with at most seven ticks at round values."""
    step = next(s * 10**e for e in range(-4, 6) for s in (1, 2, 5) if (high - low) / (s * 10**e) <= 6)
    first = math.ceil(round(low / step, 6))
    return Axis("linear", low, high, [round(i * step, 6) for i in range(first, math.floor(round(high / step, 6)) + 1)])


def recall_axis(values: np.ndarray) -> Axis:
    """Return an axis for recalls: from 0 or, where all are high, from just below the lowest, to 1. NaN is ignored."""
    low = float(np.nanmin(np.append(values, 1.0)))
    return linear_axis(0.0 if low < 0.5 else math.floor(10 * low - 0.5) / 10, 1.0)
