"""The default against the baselines: the best of a cell, each over all cells, and what was to be reached."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.quality.compared import JUDGED, REFERENCE, SCORE, Regime, title
from benchmarks.quality.statistics import Difference, friedman, mean_se, paired_difference, ranks

#: Balanced accuracy that the default is to gain over the best baseline where labels are wrong.
WANTED_GAIN = 0.03
#: Seeds in common that make a baseline a candidate for the best of a cell: a lucky seed alone does not.
FEWEST_SEEDS = 2


class Comparison(NamedTuple):
    """The method that is judged and one baseline in one cell, on the seeds that both have."""

    cell: str
    baseline: str
    ours: float
    theirs: float
    difference: Difference

    @property
    def known(self) -> bool:
        """Whether there are two seeds, so that the difference has a standard error."""
        return not math.isnan(self.difference.standard_error)


class Verdict(NamedTuple):
    """Whether a target is reached, none where that cannot be said, and the numbers."""

    target: str
    reached: bool | None
    numbers: str


def compare(regime: Regime, cell: str, baseline: str, metric: str = SCORE, judged: str = JUDGED) -> Comparison | None:
    """Default, or another that is judged, against baseline; none without a seed that both have."""
    ours, theirs = regime.seeds(cell, judged, metric), regime.seeds(cell, baseline, metric)
    difference = paired_difference(ours, theirs)
    if difference is None:
        return None
    shared = sorted(ours.keys() & theirs.keys())
    means = (mean_se([found[seed] for seed in shared]).mean for found in (ours, theirs))
    return Comparison(cell, baseline, *means, difference)


def compare_best(
    regime: Regime, cell: str, metric: str = SCORE, baselines: Sequence[str] | None = None, judged: str = JUDGED
) -> Comparison | None:
    """Default, or another that is judged, against the baseline that is best in the cell, itself left out: out of those
    with `FEWEST_SEEDS` in common, or with the most where none has as many.
    """
    candidates = regime.baselines if baselines is None else baselines
    found = [compare(regime, cell, baseline, metric, judged) for baseline in candidates if baseline != judged]
    known = [comparison for comparison in found if comparison is not None]
    if not known:
        return None
    enough = min(FEWEST_SEEDS, max(comparison.difference.count for comparison in known))
    # By the difference, so that which one is best is told from the same seeds as by how much.
    return min((one for one in known if one.difference.count >= enough), key=lambda one: one.difference.mean)


def best_everywhere(regime: Regime, cells: Sequence[str]) -> tuple[str, list[Comparison]] | None:
    """The single baseline over which the default gains least on average, out of those with results in all `cells`."""
    found = []
    for baseline in regime.baselines:
        known = [one for one in (compare(regime, cell, baseline) for cell in cells) if one is not None]
        if cells and len(known) == len(cells):
            found.append((baseline, known))
    return min(found, key=lambda pair: gain(pair[1]), default=None)


def gain(comparisons: Sequence[Comparison]) -> float:
    """Mean of the differences over the cells."""
    return float(np.mean([one.difference.mean for one in comparisons]))


def points(value: float) -> str:
    """A difference in points, with its sign."""
    return f"{100 * value:+.1f}".replace("-", "−")


def verdicts(regime: Regime) -> list[Verdict]:
    """All targets."""
    return [
        not_worse(regime),
        gains_per_cell(regime),
        gains_over_single(regime),
        above_reference(regime),
        first_by_rank(regime),
    ]


def judged_cells(regime: Regime, cells: Sequence[str]) -> list[str]:
    """Those that have results of the default."""
    return [cell for cell in cells if regime.seeds(cell, JUDGED)]


def coverage(judged: int, all_cells: int) -> str:
    """How many cells were judged, said only if not all were."""
    return "" if judged == all_cells else f" (judged: {judged} of {all_cells} cells)"


def against_best(regime: Regime, judged: str, *, noisy: bool) -> list[Comparison]:
    """A method against the best baseline of each cell of a half, where two seeds at least are shared."""
    found = [compare_best(regime, cell, judged=judged) for cell in regime.half(noisy)]
    return [one for one in found if one is not None and one.known]


def clearly_worse(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Those where the baseline is ahead by more than a standard error."""
    return [one for one in comparisons if one.difference.mean < -one.difference.standard_error]


def not_worse(regime: Regime) -> Verdict:
    """No cell without wrong labels where the best baseline is ahead by more than a standard error."""
    target = "labels as they are: in no cell worse than the best baseline by more than a standard error"
    cells, known = regime.half(noisy=False), against_best(regime, JUDGED, noisy=False)
    if not known:
        return Verdict(target, None, "no cell with two seeds")
    worse = clearly_worse(known)
    told = f"worse in {len(worse)} of {len(known)} cells{coverage(len(known), len(cells))}"
    listed = "; ".join(
        f"{regime.title(one.cell)}: {points(one.difference.mean)} ± {100 * one.difference.standard_error:.1f} "
        f"against {title(one.baseline)}"
        for one in sorted(worse, key=lambda one: one.difference.mean)
    )
    return Verdict(target, not worse, told + (f": {listed}" if worse else ""))


def gains_per_cell(regime: Regime) -> Verdict:
    """Mean gain over the best baseline of each cell with wrong labels."""
    target = f"wrong labels: at least {100 * WANTED_GAIN:.0f} points above the best baseline of each cell, on average"
    cells = regime.half(noisy=True)
    known = [one for one in (compare_best(regime, cell) for cell in cells) if one is not None]
    if not known:
        return Verdict(target, None, "no cell")
    mean = gain(known)
    lost = sum(one.difference.mean < 0 for one in known)
    numbers = f"{points(mean)} over {len(known)} cells{coverage(len(known), len(cells))}, below it in {lost}"
    return Verdict(target, mean >= WANTED_GAIN, numbers)


def gains_over_single(regime: Regime) -> Verdict:
    """Mean gain over the one baseline that is best on average where labels are wrong."""
    target = f"wrong labels: at least {100 * WANTED_GAIN:.0f} points above the single best baseline, on average"
    cells = regime.half(noisy=True)
    found = best_everywhere(regime, judged_cells(regime, cells))
    if found is None:
        return Verdict(target, None, "no cell, or no baseline with results in all of them")
    baseline, known = found
    mean = gain(known)
    numbers = f"{points(mean)} over {title(baseline)}, {len(known)} cells{coverage(len(known), len(cells))}"
    return Verdict(target, mean >= WANTED_GAIN, numbers)


def above_reference(regime: Regime) -> Verdict:
    """Never below cross-entropy."""
    target = "in no cell below cross-entropy"
    known = [one for one in (compare(regime, cell, REFERENCE) for cell in regime.cells) if one is not None]
    if not known:
        return Verdict(target, None, "no cell")
    below = sorted((one for one in known if one.difference.mean < 0), key=lambda one: one.difference.mean)
    listed = "; ".join(
        f"{regime.title(one.cell)}: {points(one.difference.mean)} ± {100 * one.difference.standard_error:.1f}"
        if one.known
        else f"{regime.title(one.cell)}: {points(one.difference.mean)}, one seed"
        for one in below
    )
    told = f"below in {len(below)} of {len(known)} cells{coverage(len(known), len(regime.cells))}"
    return Verdict(target, not below, told + (f": {listed}" if below else ""))


def first_by_rank(regime: Regime) -> Verdict:
    """The lowest mean rank of all methods."""
    target = "the best mean rank of all methods"
    methods, cells, means = regime.rankable()
    if JUDGED not in methods or len(cells) < 2 or len(methods) < 2:
        return Verdict(target, None, "fewer than two cells that all ranked methods have")
    mean_ranks = dict(zip(methods, ranks(means).mean(0), strict=True))
    first = min(mean_ranks.values())
    place = sum(rank < mean_ranks[JUDGED] for rank in mean_ranks.values()) + 1
    best = int((ranks(means)[:, methods.index(JUDGED)] == 1).sum())
    numbers = (
        f"mean rank {mean_ranks[JUDGED]:.2f}, place {place} of {len(methods)}, first in {best} of {len(cells)} "
        f"cells{coverage(len(cells), len(regime.cells))}; Friedman p = {friedman(means).p_value:.1g}"
    )
    return Verdict(target, mean_ranks[JUDGED] == first, numbers)
