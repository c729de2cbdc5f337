"""Verdicts in words: one finding a row, and a CSV file of them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

from hf_otw.audit.judge import Verdicts
from hf_otw.audit.labelled import Labelled

PREVIEW = 60  # characters of a text in a table
#: A cell that begins so is a formula to spreadsheet programs.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Finding(NamedTuple):
    """What is said of one row.

    Attributes:
        example_index: number of the row in the data as given.
        kind: `label`, `far` or nothing.
        label, suggested: names of classes.
        probability: of the suggested class.
        quality, distance: see `Verdicts`.
        text: of the example; empty for others than texts.
    """

    example_index: int
    kind: str
    label: str
    suggested: str
    probability: float
    quality: float
    distance: float
    text: str

    @property
    def preview(self) -> str:
        """The beginning of the text, on one line."""
        line = " ".join(self.text.split())
        return line if len(line) <= PREVIEW else line[: PREVIEW - 1] + "…"


def findings(rows: Labelled, verdicts: Verdicts) -> list[Finding]:
    """All rows, worst first."""
    texts = rows.rows.with_format(None)[rows.column][:] if rows.kind == "text" else None
    names = rows.class_names
    return [
        Finding(
            int(rows.index[row]),
            "label" if verdicts.is_doubted[row] else "far" if verdicts.is_far[row] else "",
            names[rows.labels[row]],
            names[verdicts.suggested[row]],
            float(verdicts.probability[row]),
            float(verdicts.quality[row]),
            float(verdicts.distance[row]),
            "" if texts is None else texts[row],
        )
        for row in verdicts.ranked().tolist()
    ]


def write_csv(path: Path, found: list[Finding]) -> None:
    """One line a row; texts that a spreadsheet would run as a formula begin with an apostrophe."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        out = csv.writer(file)
        out.writerow(Finding._fields)
        for finding in found:
            out.writerow([safe(value) if isinstance(value, str) else value for value in finding])


def safe(text: str) -> str:
    """The text as a cell that is shown and not run."""
    return f"'{text}" if text.startswith(FORMULA) else text
