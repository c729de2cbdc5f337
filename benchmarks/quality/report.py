"""The page docs/quality.md and its pictures, from the results files alone.

    python -m benchmarks.quality.report

Prose that no number decides is in benchmarks/quality/notes.md.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality.audit_report import audit_section
from benchmarks.quality.compared import JUDGED, OURS, REFERENCE, Regime, title
from benchmarks.quality.development_report import development_section
from benchmarks.quality.results import RESULTS, Row
from benchmarks.quality.statistics import critical_difference, friedman, mean_se, paired_difference
from benchmarks.quality.tables import (
    METRICS,
    REGIMES,
    baseline_table,
    details,
    difference_table,
    estimate,
    legend,
    loss_table,
    markdown,
    missing_text,
    rank_table,
    readme_table,
    same_test_table,
    score_table,
    settings_table,
)
from benchmarks.quality.targets import verdicts
from benchmarks.quality.variants import DEVELOPMENT_RESULTS
from tools.markdown import fill

ROOT = Path(__file__).resolve().parents[2]
AUDIT_RESULTS = RESULTS.with_name("label_audit.json")
COST_RESULTS = RESULTS.with_name("quality_cost.json")
NOTES = Path(__file__).with_name("notes.md")
PAGE = ROOT / "docs" / "quality.md"
README = ROOT / "README.md"
PICTURES = PAGE.with_suffix("")

#: Accuracy on SST-2 with so many : 1000 training examples, fine-tuned BERT, mean of 15 runs (Hu et al., NeurIPS 2019).
PUBLISHED = {"20-1000": (54.9, 75.1), "50-1000": (67.7, 79.4), "100-1000": (75.0, 81.8)}

PROTOCOL = {
    "frozen": """A linear head on features of a pretrained model that is not trained (MiniLM for texts, principal \
components for images). All methods train for the same steps on the same batches with the same optimizer. Each has a \
grid of four settings; which one is used is chosen, for each cell and seed, by balanced accuracy on a fifth of the \
*training* rows, with the labels that they were given. The test set is looked at once, with that setting.""",
    "fine_tuning": """MiniLM, all of it, through the `Trainer`. All methods train for the same steps at the same \
learning rate, each with one setting: a grid takes a GPU. Learning to reweight and Meta-Weight-Net are not run here: \
a step takes three to four times as long.""",
}


def page(
    quality: dict[str, Any],
    audit: dict[str, Any] | None,
    notes: str,
    development: dict[str, Any] | None = None,
    cost: dict[str, Any] | None = None,
) -> str:
    """The whole page, a function of what the files hold.

    Args:
        quality, audit, development: results of the commands that the page names.
        notes: prose.
        cost: rows as in `quality`, of runs that shared nothing and followed each other: their times compare.

    Raises:
        ValueError: rows of a regime that the page does not know.
    """
    rows: list[Row] = quality["rows"]
    unknown = {row["regime"] for row in rows} - set(REGIMES)
    if unknown:
        raise ValueError(f"Expected rows of {' and '.join(REGIMES)}, got {sorted(unknown)}. Name them in `REGIMES`.")
    names = [name for name in REGIMES if any(row["regime"] == name for row in rows)]
    regimes = [Regime.of(rows, name) for name in names]
    parts = [
        "# Learning quality",
        "Does `OTWeightedTrainer` as it comes learn better than what else one would try? This page is written by "
        "`python -m benchmarks.quality.report` from "
        "[benchmarks/results/quality.json](../benchmarks/results/quality.json), which "
        "`python -m benchmarks.quality.run` and `python -m benchmarks.quality.fine_tuning` write. The score is "
        "*balanced accuracy*, the mean of the classes' recalls on the official test split, in per cent; ± is one "
        "standard error over the seeds. Comparisons are paired: they use the seeds that both methods have.",
        "## Targets",
        target_table(regimes),
        "## What was compared",
        f"Versions: {', '.join(f'{name} {version}' for name, version in quality['versions'].items())}.",
        "A cell is a data set with its tail (the rarest class's share of the most frequent one's rows, or their "
        "counts), the share and kind of its wrong labels (`uniform`: any other class; `similar`: the class with the "
        "nearest mean feature), and a meta set of 10 examples a class: clean, "
        "as noisy as the training set, or split off the training set with the labels found there.",
        details("Methods", legend(list(dict.fromkeys(method for regime in regimes for method in regime.methods)))),
        *(part for regime in regimes for part in regime_section(regime, timed(cost, regime.name))),
        published_section(regimes),
        audit_section(audit) if audit else "",
        development_section(development["rows"]) if development else "",
        notes.strip(),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def target_table(regimes: Sequence[Regime]) -> str:
    """Every target in every regime: yes, no, or open where nothing can be said yet."""
    words = {True: "**yes**", False: "**no**", None: "open"}
    lines = [
        [REGIMES[regime.name], verdict.target, words[verdict.reached], verdict.numbers]
        for regime in regimes
        for verdict in verdicts(regime)
    ]
    return markdown(["regime", "target", "reached", "numbers"], lines, left=4)


def timed(cost: dict[str, Any] | None, name: str) -> Regime:
    """The runs of a regime that were timed side by side, which may be none."""
    return Regime.of(cost["rows"] if cost else [], name)


def regime_section(regime: Regime, side_by_side: Regime) -> list[str]:
    """All that is said of a regime."""
    halves = (("Labels as they are", regime.half(noisy=False)), ("Wrong labels", regime.half(noisy=True)))
    chosen = settings_table(regime)
    losses = loss_table(regime)
    parts = [f"## {REGIMES[regime.name].capitalize()}", PROTOCOL[regime.name], missing_text(regime)]
    parts += [details("Settings that were chosen", chosen)] if chosen else []
    parts += ["**Bold**: the best of a cell; *italic*: less than a standard error of the paired difference behind it."]
    parts += [f"### {heading}\n\n{score_table(regime, cells)}" for heading, cells in halves if cells]
    for metric, heading in METRICS.items():
        parts.append(details(heading.capitalize(), score_table(regime, regime.cells, metric)))
    parts += [
        "### Default against the best baseline of each cell",
        "The baseline that does best against the default on the seeds that both have, two or more, in points. Which "
        f"of {len(regime.baselines)} that is, is read off the test set, which favours the baseline: the best of many "
        "equals is ahead of any one of them by luck. In brackets Student's interval over the paired seeds.",
        difference_table(regime, regime.cells),
        *subgroup_part(regime),
        *same_test_part(regime),
        "### Default against each baseline",
        "Mean over the cells in points, the cell where the default does worst, and in how many it is ahead.",
        baseline_table(regime),
        *rank_part(regime),
        *cost_part(regime, side_by_side),
        "### Where it does not help",
        losses or "The default is ahead of the best baseline in every cell that was run.",
    ]
    return parts


def subgroup_part(regime: Regime) -> list[str]:
    """Cells where classes are merged are also judged by their worst subgroup."""
    if not regime.subgroup_cells:
        return []
    return [
        "Recall of the worst *hidden subgroup*, where classes were merged and the tail is one of subgroups:",
        difference_table(regime, regime.subgroup_cells, "worst_group"),
    ]


def same_test_part(regime: Regime) -> list[str]:
    """How hard the targets are: nobody knows beforehand which baseline a cell will favour."""
    table = same_test_table(regime)
    if not table:
        return []
    return [
        "### Every method against the best baseline of each cell",
        "The default is to be no more than a standard error behind the best baseline of each cell. The same test, put "
        "to every method (against the others; ours are nobody's rivals): in how many cells it is more than a standard "
        "error behind the best of the others, and the mean difference from that best, in points, above it where "
        "positive.",
        table,
    ]


def rank_part(regime: Regime) -> list[str]:
    """Mean ranks with Friedman's test and the diagram."""
    methods, cells, means = regime.rankable()
    if len(cells) < 2 or len(methods) < 2:
        return ["### Ranks", "Fewer than two cells have results of all methods."]
    test = friedman(means)
    left_out = [title(method) for method in regime.methods if method not in methods]
    text = (
        f"Over {len(cells)} of {len(regime.cells)} cells, those that have results of all {len(methods)} methods. "
        f"Friedman's test: χ² = {test.chi_square:.1f}, p = {test.p_value:.1g}. "
        f"Nemenyi's critical difference (Demšar 2006, 5 %): {critical_difference(len(methods), len(cells)):.2f}; the "
        f"cells share data sets, which makes it too narrow."
    )
    text += f" Left out, with results in less than half of the cells: {', '.join(left_out)}." if left_out else ""
    picture = f"![Mean ranks; bars join methods that are not told apart](quality/ranks_{regime.name}.svg)"
    return ["### Ranks", text, picture, details("Mean ranks", rank_table(methods, means))]


def costs(regime: Regime, side_by_side: Regime, cells: Sequence[str]) -> list[tuple[str, float, float, int]]:
    """Method, time over that of cross-entropy (geometric mean over the cells that were timed), gain over it in points,
    and cells of the gain.
    """
    found = []
    for method in regime.methods:
        pairs = [side_by_side.shared_means(cell, (method, REFERENCE), "seconds") for cell in side_by_side.cells]
        ratios = [math.log(pair[0] / pair[1]) for pair in pairs if pair is not None and min(pair) > 0]
        differences = [paired_difference(regime.seeds(c, method), regime.seeds(c, REFERENCE)) for c in cells]
        gains = [one.mean for one in differences if one is not None]
        if gains and ratios:
            found.append((method, math.exp(np.mean(ratios)), 100 * float(np.mean(gains)), len(gains)))
    return found


def cost_part(regime: Regime, side_by_side: Regime) -> list[str]:
    """Time and gain, in a picture and a table; nothing where no times compare."""
    found = costs(regime, side_by_side, regime.cells)
    if not found:
        return []
    lines = [
        [title(method), f"{time:.2f}", f"{more:+.1f}".replace("-", "−"), str(cells)]
        for method, time, more, cells in found
    ]
    cells = ", ".join(side_by_side.title(cell) for cell in side_by_side.cells)
    return [
        "### Cost and gain",
        f"Time of a run, the search of its grid included, over that of cross-entropy, of runs one after the other on "
        f"{cells} ([benchmarks/results/quality_cost.json](../benchmarks/results/quality_cost.json), "
        "`make bench-quality-cost`), and points above cross-entropy, on average over all cells.",
        f"![Points above cross-entropy against time](quality/costs_{regime.name}.svg)",
        details("Numbers", markdown(["method", "time", "points above cross-entropy", "cells"], lines)),
    ]


def published_section(regimes: Sequence[Regime]) -> str:
    """SST-2 beside the figures of a publication."""
    frozen = next((regime for regime in regimes if regime.name == "frozen"), None)
    lines = []
    for counts, (plain, theirs) in PUBLISHED.items() if frozen else ():
        ours = [frozen.seeds(f"sst2/{counts}/clean/clean", method, "accuracy") for method in (REFERENCE, JUDGED)]
        if any(ours):
            shown = [estimate(mean_se(list(seeds.values()))) if seeds else "not run" for seeds in ours]
            words = counts.replace("-", " : ")
            lines.append([words, f"{plain:.1f}", f"{theirs:.1f}", *shown, str(len(ours[1]))])
    if not lines:
        return ""
    head = ["SST-2", "BERT, plain", "BERT, learned weights", "ours: cross-entropy", "ours: default", "our seeds"]
    return (
        "## Beside published figures\n\nAccuracy on SST-2 with few of one class (Hu et al., NeurIPS 2019: BERT, all "
        "of it fine-tuned, weights learned by a data-manipulation objective). Ours are linear heads on features of a "
        "frozen MiniLM, a model of a fifth of the size: to be read for the order of the gains, not as a contest.\n\n"
        + markdown(head, lines)
    )


def draw(regime: Regime, side_by_side: Regime, folder: Path) -> None:
    """The pictures of a regime; those that there are no numbers for are not drawn."""
    from benchmarks.quality.figures import Priced, Ranked, cost_diagram, rank_diagram
    from benchmarks.quality.statistics import ranks

    methods, cells, means = regime.rankable()
    if len(cells) >= 2 and len(methods) >= 2:
        places = zip(methods, ranks(means).mean(0).tolist(), strict=True)
        ranked = [Ranked(title(method), rank, method in OURS) for method, rank in places]
        rank_diagram(ranked, critical_difference(len(methods), len(cells)), folder / f"ranks_{regime.name}.svg")
    panels = []
    for noisy, heading in ((False, "labels as they are"), (True, "wrong labels")):
        found = costs(regime, side_by_side, regime.half(noisy))
        panels.append((heading, [Priced(title(name), time, more, name in OURS) for name, time, more, _ in found]))
    if any(priced for _, priced in panels):
        cost_diagram(panels, folder / f"costs_{regime.name}.svg")


def page_of_files() -> str:
    """The page as the files have it; those that are not there have no part in it."""
    found = [
        json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        for path in (RESULTS, AUDIT_RESULTS, DEVELOPMENT_RESULTS, COST_RESULTS)
    ]
    return page(*found[:2], NOTES.read_text(encoding="utf-8"), *found[2:])


def fill_readme(readme: str, rows: Sequence[Row]) -> str:
    """The README's text with its table as the rows have it."""
    return fill(readme, "quality", readme_table(rows))


def main() -> None:
    """Write the page and its pictures."""
    quality = json.loads(RESULTS.read_text(encoding="utf-8"))
    cost = json.loads(COST_RESULTS.read_text(encoding="utf-8")) if COST_RESULTS.exists() else None
    PAGE.write_text(page_of_files(), encoding="utf-8")
    for name in REGIMES:
        regime = Regime.of(quality["rows"], name)
        if regime.rows:
            draw(regime, timed(cost, name), PICTURES)
    README.write_text(fill_readme(README.read_text(encoding="utf-8"), quality["rows"]), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)} and the pictures of {PICTURES.relative_to(ROOT)}/")


if __name__ == "__main__":
    main()
