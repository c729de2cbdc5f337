"""The default against the baselines: the best of a cell, each over all cells, and what was to be reached."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.quality.compared import JUDGED, ORACLE, REFERENCE, SCORE, WITHOUT_DOUBTS, Regime, title
from benchmarks.quality.statistics import Blocked, Difference, blocked, mean_se, paired_difference

#: Points that the default is to gain where a program made labels wrong, over the single best baseline.
WANTED_MADE = 0.02
#: Points that it is to gain over each of `COMMON` where people made labels wrong.
WANTED_HUMAN = 0.015
COMMON = ("cross_entropy", "logit_adjustment", "confident_learning")
#: Share of the way to the oracle that the weights are to go.
WANTED_SHARE = 0.5
#: Points that the default may lie below cross-entropy where labels are as they are.
ALLOWED_BELOW = 0.005
SIGNIFICANT = 0.05
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
    """Default, or another that is judged, against baseline; none without a seed that both have.

    The standard error of the score holds that of the seeds and that of the test set's sampling.
    """
    ours, theirs = regime.seeds(cell, judged, metric), regime.seeds(cell, baseline, metric)
    variance = regime.sampling_variance(cell, judged, baseline) if metric == SCORE else 0.0
    difference = paired_difference(ours, theirs, sampling_variance=variance)
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


def over_cells(regime: Regime, cells: Sequence[str], baseline: str, judged: str = JUDGED) -> list[Comparison]:
    """Default against one baseline in the cells that have both."""
    found = [compare(regime, cell, baseline, judged=judged) for cell in cells]
    return [one for one in found if one is not None]


def by_block(regime: Regime, found: Sequence[Comparison]) -> Blocked | None:
    """Mean difference, every data set counting once."""
    blocks: dict[str, list[float]] = {}
    for one in found:
        blocks.setdefault(regime.block(one.cell), []).append(one.difference.mean)
    return blocked(blocks)


def best_everywhere(
    regime: Regime, cells: Sequence[str], judged: str = JUDGED
) -> tuple[str, list[Comparison], Blocked] | None:
    """The single baseline over which the default gains least, data sets counting once, out of those with results in
    all `cells`.
    """
    found = []
    for baseline in regime.baselines:
        known = over_cells(regime, cells, baseline, judged)
        mean = by_block(regime, known)
        if cells and mean is not None and len(known) == len(cells):
            found.append((baseline, known, mean))
    return min(found, key=lambda one: one[2].mean, default=None)


def gain(comparisons: Sequence[Comparison]) -> float:
    """Mean of the differences over the cells."""
    return float(np.mean([one.difference.mean for one in comparisons]))


def points(value: float) -> str:
    """A difference in points, with its sign."""
    return f"{100 * value:+.1f}".replace("-", "−")


def with_error(mean: float, error: float) -> str:
    """A difference and its standard error in points."""
    return points(mean) if math.isnan(error) else f"{points(mean)} ± {100 * error:.1f}"


def verdicts(regime: Regime) -> list[Verdict]:
    """All targets."""
    return [
        human_not_worse(regime),
        human_gain(regime),
        made_gain(regime),
        way_to_oracle(regime),
        clean_not_worse(regime),
        clean_above_reference(regime),
    ]


def judged_cells(regime: Regime, kind: str) -> list[str]:
    """Cells of a kind that have results of the default."""
    return [cell for cell in regime.of_kind(kind) if regime.seeds(cell, JUDGED)]


def against_best(regime: Regime, judged: str, kind: str) -> list[Comparison]:
    """A method against the best baseline of each cell of a kind, where two seeds at least are shared."""
    found = [compare_best(regime, cell, judged=judged) for cell in regime.of_kind(kind)]
    return [one for one in found if one is not None and one.known]


def clearly_worse(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Those where the baseline is ahead by more than a standard error."""
    return [one for one in comparisons if one.difference.mean < -one.difference.standard_error]


def listed(regime: Regime, worse: Sequence[Comparison]) -> str:
    """Cells with what the default is behind by, worst first."""
    ordered = sorted(worse, key=lambda one: one.difference.mean)
    return "; ".join(
        f"{regime.title(one.cell)} {with_error(one.difference.mean, one.difference.standard_error)} against "
        f"{title(one.baseline)}"
        for one in ordered
    )


def human_not_worse(regime: Regime) -> Verdict:
    """In no cell with labels that people got wrong is the best baseline ahead by more than a standard error."""
    target = "labels that people got wrong: in every cell at least the best baseline, within a standard error"
    known = against_best(regime, JUDGED, "human")
    if not known:
        return Verdict(target, None, "no cell with two seeds")
    worse = clearly_worse(known)
    told = f"behind in {len(worse)} of {len(known)} cells"
    return Verdict(target, not worse, told + (f": {listed(regime, worse)}" if worse else ""))


def human_gain(regime: Regime) -> Verdict:
    """Mean gain over what one would try first."""
    names = ", ".join(title(name) for name in COMMON)
    target = f"labels that people got wrong: on average {points(WANTED_HUMAN)} over each of {names}"
    cells = judged_cells(regime, "human")
    found = {name: over_cells(regime, cells, name) for name in COMMON}
    if not cells or not all(found.values()):
        return Verdict(target, None, "not all of them have results")
    gains = {name: gain(one) for name, one in found.items()}
    told = ", ".join(f"{points(value)} over {title(name)}" for name, value in gains.items())
    return Verdict(target, min(gains.values()) >= WANTED_HUMAN, f"{told}; {len(cells)} cells of two data sets")


def made_gain(regime: Regime) -> Verdict:
    """Gain over the single baseline that is best where a program made labels wrong."""
    target = f"labels made wrong: {points(WANTED_MADE)} over the single best baseline, by data set, p < {SIGNIFICANT}"
    found = best_everywhere(regime, judged_cells(regime, "made"))
    if found is None:
        return Verdict(target, None, "no baseline has results in all cells of the default")
    baseline, known, mean = found
    told = f"{with_error(mean.mean, mean.standard_error)} over {title(baseline)}, {mean.count} data sets"
    if math.isnan(mean.p_value):
        return Verdict(target, None, told)
    reached = mean.mean >= WANTED_MADE and mean.p_value < SIGNIFICANT
    return Verdict(target, reached, f"{told}, {len(known)} cells, p = {mean.p_value:.2g}")


def way_to_oracle(regime: Regime) -> Verdict:
    """How much of what knowing the wrong labels would bring the weights bring."""
    target = "labels made wrong: half of the way from the default without doubts to the oracle"
    cells = judged_cells(regime, "made")
    ours, theirs = (by_block(regime, over_cells(regime, cells, WITHOUT_DOUBTS, one)) for one in (JUDGED, ORACLE))
    if ours is None or theirs is None or theirs.mean <= 0:
        return Verdict(target, None, "not run")
    share = ours.mean / theirs.mean
    told = f"{100 * share:.0f} %: {points(ours.mean)} of {points(theirs.mean)} points, {ours.count} data sets"
    return Verdict(target, share >= WANTED_SHARE, told)


def clean_not_worse(regime: Regime) -> Verdict:
    """Data sets where the baseline that is best over all clean cells is ahead by more than a standard error."""
    target = "labels as they are: within a standard error of the single best baseline on every data set"
    found = best_everywhere(regime, judged_cells(regime, "clean"))
    if found is None or not any(one.known for one in found[1]):
        return Verdict(target, None, "no cell with two seeds")
    baseline, known, mean = found
    worse = clearly_worse([one for one in known if one.known])
    told = f"{with_error(mean.mean, mean.standard_error)} against {title(baseline)}, behind in {len(worse)} of "
    told += f"{len(known)} cells" + (f": {listed(regime, worse)}" if worse else "")
    return Verdict(target, not worse, told)


def clean_above_reference(regime: Regime) -> Verdict:
    """Never clearly below cross-entropy."""
    target = f"labels as they are: never more than {100 * ALLOWED_BELOW:.1f} below cross-entropy"
    known = over_cells(regime, regime.of_kind("clean"), REFERENCE)
    if not known:
        return Verdict(target, None, "no cell")
    below = [one for one in known if one.difference.mean < -ALLOWED_BELOW]
    told = f"below in {len(below)} of {len(known)} cells"
    return Verdict(target, not below, told + (f": {listed(regime, below)}" if below else ""))
