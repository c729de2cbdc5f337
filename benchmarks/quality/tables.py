"""The tables of the report, as Markdown, in per cent and points."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from benchmarks.quality.compared import FEW_TEST_ROWS, JUDGED, KINDS, ORACLE, REFERENCE, SCORE, TITLES, Regime, title
from benchmarks.quality.method import at_edge
from benchmarks.quality.results import Row
from benchmarks.quality.statistics import Difference, Estimate, mean_se, paired_difference
from benchmarks.quality.targets import (
    FEWEST_SEEDS,
    Comparison,
    by_block,
    compare_best,
    over_cells,
    points,
    with_error,
)

#: The metric that is better low.
LOW_IS_GOOD = frozenset({"expected_calibration_error"})
README_METHODS = {
    "cross_entropy": "cross-entropy",
    "inverse_frequency": "inverse frequency",
    "logit_adjustment": "logit adjustment",
    "logit_adjustment_meta_term": "logit adjustment + meta term",
    "continued_on_trusted_rows": "continued on trusted rows",
    "confident_learning": "confident learning + logit adjustment",
    "default": "default",
    "oracle": "wrong labels known",
}
REGIMES = {
    "frozen": "linear head on frozen features",
    "fine_tuning": "full fine-tuning",
    "fine_tuning_4_epochs": "full fine-tuning, 4 epochs",
}


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


#: Columns of a table of cells, beside the default and the best baseline.
IN_CELLS = ("cross_entropy", "logit_adjustment", "confident_learning", "default_without_doubts", "oracle")


def cell_table(regime: Regime, cells: Sequence[str]) -> str:
    """A row a cell: some methods, the default, and its difference from the best baseline."""
    shown = [method for method in IN_CELLS if method in regime.methods]
    lines = []
    for cell in cells:
        means = [mean_or_dash(regime, cell, method) for method in shown]
        best = compare_best(regime, cell)
        if best is None:
            lines.append([regime.title(cell), mean_or_dash(regime, cell, JUDGED), *means, "not run", "–", "–"])
            continue
        difference = with_error(best.difference.mean, best.difference.standard_error)
        tail = [title(best.baseline), difference, str(best.difference.count)]
        lines.append([regime.title(cell), mean_or_dash(regime, cell, JUDGED), *means, *tail])
    heads = ["cell", "default", *(title(method) for method in shown), "best baseline", "difference", "seeds"]
    return markdown(heads, lines)


def mean_or_dash(regime: Regime, cell: str, method: str) -> str:
    """Mean over the seeds in per cent, or a dash."""
    seeds = regime.seeds(cell, method)
    return f"{100 * mean_se(list(seeds.values())).mean:.1f}" if seeds else "–"


def method_table(regime: Regime) -> str:
    """Default minus each other method by kind of cells, and how often its penalty was at the edge of the grid."""
    lines = []
    for method in regime.methods:
        line = [title(method)]
        for kind in KINDS:
            cells = regime.of_kind(kind)
            mean = by_block(regime, over_cells(regime, cells, method)) if method != JUDGED else None
            line.append("–" if mean is None else with_error(mean.mean, mean.standard_error))
        lines.append([*line, edge_share(regime, method)])
    return markdown(["default minus", *KINDS.values(), "edge"], lines)


def edge_share(regime: Regime, method: str) -> str:
    """Share of a method's runs whose penalty was at an edge; smallest and largest apart."""
    chosen = [row["setting"] for row in regime.rows if row["method"] == method and "l2" in (row.get("setting") or {})]
    if not chosen:
        return "–"
    edges = [setting["l2"] for setting in chosen if at_edge(setting)]
    low = sum(value < 1 for value in edges) / len(chosen)
    high = len(edges) / len(chosen) - low
    return f"{100 * low:.0f} % low, {100 * high:.0f} % high"


def test_rows_text(regime: Regime) -> str:
    """Data sets where a class has hardly any test rows."""
    found = {regime.block(cell): regime.few_test_rows(cell) for cell in regime.cells if regime.few_test_rows(cell)}
    if not found:
        return ""
    told = ", ".join(f"{count} of {name}" for name, count in sorted(found.items()))
    return f"Classes with fewer than {FEW_TEST_ROWS} test rows, whose recall is a coarse number: {told}."


def subgroup_text(regime: Regime) -> str:
    """Cells where classes are merged are also judged by their worst subgroup."""
    if not regime.subgroup_cells:
        return ""
    table = difference_table(regime, regime.subgroup_cells, "worst_group")
    told = "Recall of the worst *hidden subgroup*, where classes were merged and the tail is one of subgroups:"
    return f"{told}\n\n{table}"


def behind_table(regime: Regime) -> str:
    """Cells where the best baseline is ahead of the default by more than a standard error, worst first."""
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


def readme_table(rows: Sequence[Row]) -> str:
    """Mean balanced accuracy of heads on frozen features over the cells of each kind, of the methods to know.

    The means are over the cells and seeds that cross-entropy and the default both have. A method that lacks some of
    them shows in how many cells it has them all, and no mean.
    """
    lines = []
    regime = Regime.of(rows, "frozen")
    for kind, words in KINDS.items():
        cells = [cell for cell in regime.of_kind(kind) if readme_seeds(regime, cell)]
        shown = readme_means(regime, cells)
        many = f"{len(cells)} cell{'s' * (len(cells) != 1)}"
        lines.append([f"{words} ({many})", *(shown[method] for method in README_METHODS)])
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
    best = max((name for name in means if name != ORACLE), key=lambda method: means[method], default=None)
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
