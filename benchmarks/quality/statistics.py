"""Means, paired differences and ranks. Pure functions; nothing here knows of methods or files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

#: Seed -> score.
Seeds = Mapping[int, float]


class Estimate(NamedTuple):
    """A mean; its standard error is NaN where there is one value only."""

    mean: float
    standard_error: float
    count: int


class Difference(NamedTuple):
    """A mean of paired differences with its confidence interval, NaN where there is one pair only."""

    mean: float
    standard_error: float
    low: float
    high: float
    count: int


class Blocked(NamedTuple):
    """A mean over blocks, its standard error, the probability of one as far from 0 by chance, and the blocks."""

    mean: float
    standard_error: float
    p_value: float
    count: int


class Friedman(NamedTuple):
    """Friedman's statistic, and the probability of one as large if no method differs from another."""

    chi_square: float
    p_value: float


def mean_se(values: Sequence[float]) -> Estimate:
    """Mean and its standard error.

    Raises:
        ValueError: no values.
    """
    if not len(values):
        raise ValueError("Expected at least one value to take the mean of, got none. Leave the entry out.")
    count = len(values)
    error = float(np.std(values, ddof=1) / math.sqrt(count)) if count > 1 else math.nan
    return Estimate(float(np.mean(values)), error, count)


def paired_difference(
    first: Seeds, second: Seeds, confidence: float = 0.95, sampling_variance: float = 0.0
) -> Difference | None:
    """Mean of `first - second` over the seeds that both have, with Student's interval; none without such seeds.

    Args:
        first, second: scores.
        confidence: of the interval.
        sampling_variance: of the mean by the sampling of the test set, which all seeds share.
    """
    shared = sorted(first.keys() & second.keys())
    if not shared:
        return None
    mean, error, count = mean_se([first[seed] - second[seed] for seed in shared])
    error = math.sqrt(error**2 + sampling_variance)
    half = float(stats.t.ppf((1 + confidence) / 2, count - 1)) * error if count > 1 else math.nan
    return Difference(mean, error, mean - half, mean + half, count)


def blocked(differences: Mapping[str, Sequence[float]]) -> Blocked | None:
    """Mean over blocks of each block's mean, with Student's t-test over the blocks; none without a block.

    Cells of one data set are no independent evidence: each data set counts as one number.
    """
    if not differences:
        return None
    mean, error, count = mean_se([float(np.mean(values)) for values in differences.values()])
    if count < 2:
        return Blocked(mean, error, math.nan, count)
    p_value = float(2 * stats.t.sf(abs(mean) / error, count - 1)) if error > 0 else float(mean == 0)
    return Blocked(mean, error, p_value, count)


def ranks(scores: np.ndarray) -> np.ndarray:
    """Ranks of the methods in each cell, 1 for the highest score; tied methods share the mean of their ranks.

    Shape:
        - scores: `(N, k)`, N cells, k methods; returns the same.
    """
    return stats.rankdata(-np.asarray(scores, dtype=np.float64), axis=1)


def friedman(scores: np.ndarray) -> Friedman:
    """Friedman's test, corrected for ties.

    Raises:
        ValueError: fewer than two cells or methods.
    """
    cells, methods = np.shape(scores)
    if cells < 2 or methods < 2:
        raise ValueError(f"Expected at least 2 cells and 2 methods to rank, got {cells} and {methods}.")
    found = ranks(scores)
    spread = float(((found - (methods + 1) / 2) ** 2).sum())
    if spread == 0:
        return Friedman(0.0, 1.0)  # every cell is a tie of all
    off = found.mean(0) - (methods + 1) / 2
    statistic = (methods - 1) * cells**2 * float(off @ off) / spread
    return Friedman(statistic, float(stats.chi2.sf(statistic, methods - 1)))


def critical_difference(methods: int, cells: int, alpha: float = 0.05) -> float:
    """Mean ranks that differ by less are not told apart by Nemenyi's test (Demšar 2006, section 3.2.2).

    `q sqrt(k (k + 1) / (6 N))`; q is that of the Studentized range with infinitely many degrees of freedom, over
    sqrt 2.
    """
    q = float(stats.studentized_range.ppf(1 - alpha, methods, np.inf)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * cells))


def cliques(sorted_ranks: Sequence[float], width: float) -> list[tuple[int, int]]:
    """Longest runs of methods whose ranks, from low to high, differ by less than `width`: first and last place."""
    found: list[tuple[int, int]] = []
    for first, low in enumerate(sorted_ranks):
        last = max(place for place, rank in enumerate(sorted_ranks) if rank - low < width)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found
