"""The pages docs/quality.md and docs/quality-development.md and their pictures, from the results files alone.

    python -m benchmarks.quality.report

Prose that no number decides is in benchmarks/quality/reading.md and benchmarks/quality/notes.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.quality.audit_report import audit_section
from benchmarks.quality.compared import KINDS, OURS, Regime, title
from benchmarks.quality.development import DEVELOPMENT_RESULTS
from benchmarks.quality.development_report import development_section
from benchmarks.quality.results import RESULTS, Row
from benchmarks.quality.statistics import critical_difference, friedman
from benchmarks.quality.tables import (
    REGIMES,
    behind_table,
    cell_table,
    details,
    legend,
    markdown,
    method_table,
    missing_text,
    readme_table,
    score_table,
    subgroup_text,
    test_rows_text,
)
from benchmarks.quality.targets import verdicts
from tools.markdown import fill

ROOT = Path(__file__).resolve().parents[2]
AUDIT_RESULTS = RESULTS.with_name("label_audit.json")
READING = Path(__file__).with_name("reading.md")
NOTES = Path(__file__).with_name("notes.md")
PAGE = ROOT / "docs" / "quality.md"
DEVELOPMENT_PAGE = ROOT / "docs" / "quality-development.md"
README = ROOT / "README.md"
PICTURES = PAGE.with_suffix("")

PROTOCOL = """\
A linear head on features of a pretrained model that is not trained: MiniLM for texts, EfficientNet-Lite0 at 64 \
pixels for CIFAR-10 (principal components; the images are JPEG copies, which costs accuracy), principal \
components of the pixels for Fashion-MNIST. All methods train for the same steps on the same batches with the \
same optimizer, and search the same penalties `l2`, by the settings of their own if they have some. Which is \
used is chosen, for each cell and seed, by balanced accuracy on a fifth of the *training* rows, with the labels \
that they were given. The test set is looked at once, with that setting. The meta set has 10 clean examples a \
class, unless the cell says that it was split off the training set with the labels found there."""

FINE_TUNING = """MiniLM, all of it, through the `Trainer`. **These figures are of 4 epochs, at which plain training \
has not converged**: on TREC 10:500 cross-entropy has 63 after 4 epochs and 87 after 12. What they show is how fast \
a method learns, not what it is worth in the end. `make bench-fine-tuning` trains every method for the same steps, as \
many as the best baseline needs to converge; it has not been run to the end yet, as it takes hours."""


def page(quality: dict[str, Any], audit: dict[str, Any] | None, reading: str) -> str:
    """The page for readers, a function of what the files hold.

    Args:
        quality, audit: results of the commands that the page names.
        reading: prose on what it says for the reader's data.

    Raises:
        ValueError: rows of a regime that the page does not know.
    """
    rows: list[Row] = quality["rows"]
    unknown = {row["regime"] for row in rows} - set(REGIMES)
    if unknown:
        raise ValueError(f"Expected rows of {' and '.join(REGIMES)}, got {sorted(unknown)}. Name them in `REGIMES`.")
    regimes = {name: Regime.of(rows, name) for name in REGIMES if any(row["regime"] == name for row in rows)}
    versions = ", ".join(f"{name} {version}" for name, version in quality["versions"].items())
    parts = [
        "# Learning quality",
        "Does `OTWeightedTrainer` as it comes learn better than what else one would try? Written by "
        "`make quality-report` from [benchmarks/results/quality.json](../benchmarks/results/quality.json) "
        "(`make bench-quality`). Scores are *balanced accuracy*, the mean of the classes' recalls on the test split, "
        f"in per cent. Versions: {versions}. How the default was chosen: [development](quality-development.md).",
        reading.strip(),
        *(part for regime in regimes.values() for part in regime_section(regime)),
        audit_section(audit) if audit else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def regime_section(regime: Regime) -> list[str]:
    """All that is said of a regime."""
    if regime.name == "frozen":
        return frozen_section(regime)
    return [
        f"## {REGIMES[regime.name].capitalize()}",
        FINE_TUNING if regime.name == "fine_tuning_4_epochs" else "",
        *(cell_table(regime, regime.of_kind(kind)) for kind in KINDS if regime.of_kind(kind)),
    ]


def frozen_section(regime: Regime) -> list[str]:
    """Heads on frozen features: targets, cells, methods, ranks, and where the default loses."""
    parts = [
        "## Targets",
        target_table(regime),
        "## What was run",
        PROTOCOL,
        missing_text(regime),
        "± is a standard error over the seeds and, by a bootstrap within the classes, over the test rows. *Best "
        "baseline* is the one that does best against the default on the same seeds, which is read off the test set "
        "and so favours the baseline: the best of many equals is ahead of any one of them by luck.",
    ]
    for kind, heading in KINDS.items():
        cells = regime.of_kind(kind)
        if cells:
            parts += [f"## {heading.capitalize()}", cell_table(regime, cells)]
    parts += [
        test_rows_text(regime),
        subgroup_text(regime),
        "## Default against each method",
        "Default minus the method in points, every data set counting once, ± a standard error over the data sets; "
        "*edge*: share of the runs in which the chosen `l2` was the smallest or the largest of the grid.",
        method_table(regime),
        *rank_part(regime),
        "## Where it does not help",
        behind_table(regime) or "The default is ahead of the best baseline in every cell that was run.",
        details("Methods", legend(regime.methods)),
        *(details(f"Every method: {heading}", score_table(regime, cells)) for heading, cells in by_kind(regime)),
        details(
            "Expected calibration error (low is good)",
            score_table(regime, regime.cells, "expected_calibration_error"),
        ),
    ]
    return parts


def by_kind(regime: Regime) -> list[tuple[str, tuple[str, ...]]]:
    """Headings and cells of the kinds that have some."""
    return [(heading, regime.of_kind(kind)) for kind, heading in KINDS.items() if regime.of_kind(kind)]


def target_table(regime: Regime) -> str:
    """Every target: yes, no, or open where nothing can be said yet."""
    words = {True: "**yes**", False: "**no**", None: "open"}
    lines = [[verdict.target, words[verdict.reached], verdict.numbers] for verdict in verdicts(regime)]
    return markdown(["target", "reached", "numbers"], lines, left=3)


def rank_part(regime: Regime) -> list[str]:
    """Mean ranks with Friedman's test and the diagram."""
    methods, cells, means = regime.rankable()
    if len(cells) < 2 or len(methods) < 2:
        return []
    test = friedman(means)
    text = (
        f"Ranks over the {len(cells)} of {len(regime.cells)} cells that have results of all {len(methods)} methods: "
        f"Friedman's χ² = {test.chi_square:.1f}, p = {test.p_value:.1g}; Nemenyi's critical difference (Demšar 2006, "
        f"5 %) {critical_difference(len(methods), len(cells)):.2f}, too narrow, as cells share data sets."
    )
    return [text, f"![Mean ranks; bars join methods that are not told apart](quality/ranks_{regime.name}.svg)"]


def development_page(development: dict[str, Any] | None, notes: str) -> str:
    """The page on how the default was chosen."""
    parts = ["# How the default was chosen", development_section(development) if development else "", notes.strip()]
    return "\n\n".join(part for part in parts if part) + "\n"


def draw(regime: Regime, folder: Path) -> None:
    """The picture of ranks; not drawn where there are no numbers for it."""
    from benchmarks.quality.figures import Ranked, rank_diagram
    from benchmarks.quality.statistics import ranks

    methods, cells, means = regime.rankable()
    if len(cells) >= 2 and len(methods) >= 2:
        places = zip(methods, ranks(means).mean(0).tolist(), strict=True)
        ranked = [Ranked(title(method), rank, method in OURS) for method, rank in places]
        rank_diagram(ranked, critical_difference(len(methods), len(cells)), folder / f"ranks_{regime.name}.svg")


def read_file(path: Path) -> dict[str, Any] | None:
    """What a results file holds; none where there is no such file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def pages_of_files() -> dict[Path, str]:
    """The pages as the files have them; those files that are not there have no part in it."""
    quality = read_file(RESULTS) or {"versions": {}, "rows": []}
    return {
        PAGE: page(quality, read_file(AUDIT_RESULTS), READING.read_text(encoding="utf-8")),
        DEVELOPMENT_PAGE: development_page(read_file(DEVELOPMENT_RESULTS), NOTES.read_text(encoding="utf-8")),
    }


def fill_readme(readme: str, rows: Sequence[Row]) -> str:
    """The README's text with its table as the rows have it."""
    return fill(readme, "quality", readme_table(rows))


def main() -> None:
    """Write the pages and their pictures."""
    for path, text in pages_of_files().items():
        path.write_text(text, encoding="utf-8")
    quality = read_file(RESULTS) or {"rows": []}
    draw(Regime.of(quality["rows"], "frozen"), PICTURES)
    README.write_text(fill_readme(README.read_text(encoding="utf-8"), quality["rows"]), encoding="utf-8")
    print(f"wrote {', '.join(str(path.relative_to(ROOT)) for path in pages_of_files())} and pictures")


if __name__ == "__main__":
    main()
