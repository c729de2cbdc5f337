"""The tables of the report, as Markdown, in per cent and points."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from benchmarks.quality.compared import JUDGED, REFERENCE, SCORE, TITLES, Regime, title
from benchmarks.quality.results import Row
from benchmarks.quality.statistics import Difference, Estimate, mean_se, paired_difference, ranks
from benchmarks.quality.targets import (
    FEWEST_SEEDS,
    Comparison,
    against_best,
    clearly_worse,
    compare,
    compare_best,
    gain,
    points,
)

#: Metric -> heading; the calibration error is the one that is better low.
METRICS = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "worst_class": "recall of the worst class",
    "few_shot": "recall of classes with fewer than 20 training rows, in cells that have such classes",
    "expected_calibration_error": "expected calibration error (low is good)",
}
LOW_IS_GOOD = frozenset({"expected_calibration_error"})
README_METHODS = {
    "cross_entropy": "cross-entropy",
    "inverse_frequency": "inverse frequency",
    "logit_adjustment": "logit adjustment",
    "logit_adjustment_meta_term": "logit adjustment + meta term",
    "confident_learning": "confident learning + logit adjustment",
    "meta_weight_net": "Meta-Weight-Net",
    "paper": "paper preset",
    "default": "default",
}
REGIMES = {"frozen": "linear head on frozen features", "fine_tuning": "full fine-tuning"}


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]], left: int = 1) -> str:
    """A table whose first `left` columns hold words and whose other ones hold numbers."""
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *lines))


def estimate(found: Estimate) -> str:
    """Mean ± standard error in per cent."""
    error = "" if math.isnan(found.standard_error) else f" ± {100 * found.standard_error:.1f}"
    return f"{100 * found.mean:.1f}{error}"


def interval(found: Difference) -> str:
    """A difference with its interval, in points."""
    if math.isnan(found.low):
        return f"{points(found.mean)} (one seed)"
    return f"{points(found.mean)} ({points(found.low)} to {points(found.high)})"


def score_table(regime: Regime, cells: Sequence[str], metric: str = SCORE) -> str:
    """A row a cell, a column a method; bold: the best; italic: within a standard error of it."""
    methods = regime.methods
    cells = [cell for cell in cells if any(regime.seeds(cell, method, metric) for method in methods)]
    lines = []
    for cell in cells:
        found = {method: regime.seeds(cell, method, metric) for method in methods}
        known = {method: mean_se(list(seeds.values())) for method, seeds in found.items() if seeds}
        most = max(one.count for one in known.values())
        sign = -1 if metric in LOW_IS_GOOD else 1
        enough = min(FEWEST_SEEDS, most)
        best = max((name for name in known if known[name].count >= enough), key=lambda name: sign * known[name].mean)
        line = [regime.title(cell)]
        for method in methods:
            if method not in known:
                line.append("–")
                continue
            shown = estimate(known[method])
            if known[method].count >= enough:
                shown = mark(shown, method == best, paired_difference(found[best], found[method]), sign)
            if known[method].count < most:
                shown += f" (n={known[method].count})"
            line.append(shown)
        lines.append([*line, str(most)])
    return markdown(["cell", *(title(method) for method in methods), "seeds"], lines)


def mark(shown: str, best: bool, behind: Difference | None, sign: int) -> str:
    """Emphasis of a score; `behind` is the best method's lead over it."""
    if best:
        return f"**{shown}**"
    near = behind is not None and sign * behind.mean <= behind.standard_error
    return f"*{shown}*" if near else shown


def difference_table(
    regime: Regime, cells: Sequence[str], metric: str = SCORE, baselines: Sequence[str] | None = None
) -> str:
    """Default minus the best baseline of each cell."""
    lines = []
    for cell in cells:
        found = compare_best(regime, cell, metric, baselines)
        if found is None:
            lines.append([regime.title(cell), "not run", "–", "–", "–", "–"])
            continue
        shown = [f"{100 * found.ours:.1f}", f"{100 * found.theirs:.1f}", interval(found.difference)]
        lines.append([regime.title(cell), title(found.baseline), *shown, str(found.difference.count)])
    return markdown(["cell", "best baseline", "default", "baseline", "difference (95 %)", "seeds"], lines, left=2)


def baseline_table(regime: Regime) -> str:
    """Default minus each baseline, on average over the cells without and with wrong labels."""
    lines = []
    for baseline in regime.baselines:
        line = [title(baseline)]
        for noisy in (False, True):
            cells = regime.half(noisy)
            found = [one for one in (compare(regime, cell, baseline) for cell in cells) if one is not None]
            line += summary(found, len(cells))
        lines.append(line)
    head = ["default minus", "labels as they are", "lowest", "ahead in", "wrong labels", "lowest", "ahead in"]
    return markdown(head, lines)


def same_test_table(regime: Regime) -> str:
    """Every method against the best baseline of each cell, itself left out: what the default is held to."""
    lines = []
    for method in regime.methods:
        clean, noisy = (against_best(regime, method, noisy=kind) for kind in (False, True))
        if clean and noisy:
            worse = f"{len(clearly_worse(clean))} of {len(clean)}"
            lines.append([title(method), worse, points(gain(clean)), points(gain(noisy))])
    head = ["method", "labels as they are: clearly worse in", "labels as they are: mean", "wrong labels: mean"]
    return markdown(head, lines) if lines else ""


def summary(found: Sequence[Comparison], cells: int) -> list[str]:
    """Mean difference, the lowest, and in how many of the compared cells it is positive."""
    if not found:
        return ["not run"] + ["–"] * 2
    ahead = sum(one.difference.mean > 0 for one in found)
    left_out = f", {cells - len(found)} not run" if len(found) < cells else ""
    lowest = min(one.difference.mean for one in found)
    return [points(gain(found)), points(lowest), f"{ahead} of {len(found)}{left_out}"]


def rank_table(methods: Sequence[str], means: np.ndarray) -> str:
    """Mean rank of each method, and in how many cells it is first."""
    found = ranks(means)
    order = np.argsort(found.mean(0), kind="stable")
    lines = [[title(methods[k]), f"{found[:, k].mean():.2f}", str(int((found[:, k] == 1).sum()))] for k in order]
    return markdown(["method", "mean rank", "cells where it is first"], lines)


def loss_table(regime: Regime) -> str:
    """Cells where the best baseline is ahead of the default, worst first; empty if there is none."""
    found = [compare_best(regime, cell) for cell in regime.cells]
    lost = sorted(
        (one for one in found if one is not None and one.difference.mean < 0), key=lambda one: one.difference.mean
    )
    lines = [[regime.title(one.cell), title(one.baseline), certainty(one), interval(one.difference)] for one in lost]
    return markdown(["cell", "best baseline", "behind by", "difference (95 %)"], lines, left=3) if lines else ""


def certainty(one: Comparison) -> str:
    """What can be said of a loss."""
    if not one.known:
        return "one seed: unknown"
    if one.difference.high < 0:
        return "more than chance: the interval is below 0"
    if one.difference.mean < -one.difference.standard_error:
        return "more than a standard error"
    return "less than a standard error"


def legend(methods: Sequence[str]) -> str:
    """Headings of columns and what they mean."""
    lines = [[title(name), f"`{name}`", TITLES[name][1] if name in TITLES else ""] for name in methods]
    return markdown(["heading", "in the results file", "method"], lines, left=3)


def settings_table(regime: Regime) -> str:
    """How often each setting of a grid was chosen; empty for a regime without grids."""
    lines = []
    for method in regime.methods:
        chosen = [row["setting"] for row in regime.rows if row["method"] == method and row.get("setting")]
        shown = [", ".join(f"{name} {value:g}" for name, value in setting.items()) for setting in chosen]
        shares = sorted(((shown.count(one) / len(shown), one) for one in set(shown)), key=lambda p: (-p[0], p[1]))
        if shares:
            lines.append([title(method), "; ".join(f"{one}: {100 * share:.0f} %" for share, one in shares)])
    return markdown(["method", "settings, by how often they were chosen"], lines, left=2) if lines else ""


def readme_table(rows: Sequence[Row]) -> str:
    """Mean balanced accuracy over the cells, by regime, without and with wrong labels, of the methods to know.

    The means are over the cells and seeds that cross-entropy and the default both have. A method that lacks some of
    them shows in how many cells it has them all, and no mean.
    """
    lines = []
    for name, words in REGIMES.items():
        regime = Regime.of(rows, name)
        for noisy in (False, True):
            cells = [cell for cell in regime.half(noisy) if readme_seeds(regime, cell)]
            shown = readme_means(regime, cells)
            labels = "wrong labels" if noisy else "clean labels"
            many = f"{len(cells)} cell{'s' * (len(cells) != 1)}"
            lines.append([f"{words}, {labels} ({many})", *(shown[method] for method in README_METHODS)])
    return markdown(["balanced accuracy", *README_METHODS.values()], lines)


def readme_seeds(regime: Regime, cell: str) -> set[int]:
    """Seeds that cross-entropy and the default have in a cell."""
    return set(regime.seeds(cell, JUDGED)) & set(regime.seeds(cell, REFERENCE))


def readme_means(regime: Regime, cells: Sequence[str]) -> dict[str, str]:
    """Method -> mean over the cells in per cent, the best in bold, or what is missing."""
    means: dict[str, float] = {}
    shown: dict[str, str] = {}
    for method in README_METHODS:
        complete = [cell for cell in cells if readme_seeds(regime, cell) <= regime.seeds(cell, method).keys()]
        if cells and len(complete) == len(cells):
            per_cell = [
                mean_se([regime.seeds(cell, method)[seed] for seed in sorted(readme_seeds(regime, cell))]).mean
                for cell in cells
            ]
            means[method] = float(np.mean(per_cell))
        else:
            shown[method] = f"{len(complete)} of {len(cells)} cells run" if complete else "not run"
    best = max(means, key=lambda method: means[method], default=None)
    for method, mean in means.items():
        shown[method] = f"**{100 * mean:.1f}**" if method == best else f"{100 * mean:.1f}"
    return shown


def details(summary: str, body: str) -> str:
    """A part that is folded."""
    return f"<details>\n<summary>{summary}</summary>\n\n{body}\n\n</details>"


def missing_text(regime: Regime, metric: str = SCORE) -> str:
    """What has not been run."""
    found = regime.missing(metric)
    if not found:
        seeds = [max(len(regime.seeds(cell, method, metric)) for method in regime.methods) for cell in regime.cells]
        many = f"{min(seeds)} to {max(seeds)}" if min(seeds) < max(seeds) else f"{seeds[0]}"
        return (
            f"Every method has run in every cell: {len(regime.methods)} methods, {len(seeds)} cells of {many} seeds."
        )
    lines = [f"- {title(method)}: {'; '.join(cells)}" for method, cells in found.items()]
    count = sum(len(cells) for cells in found.values())
    return details(f"Missing: {count} of {len(regime.methods) * len(regime.cells)} entries", "\n".join(lines))
