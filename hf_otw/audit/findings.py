"""Verdicts in words: one finding a row, and a CSV file of them."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any, NamedTuple

from hf_otw.audit.judge import Verdicts
from hf_otw.audit.labelled import Labelled

PREVIEW = 60  # characters of a text in a table
#: A cell that begins so, after white space and what is not seen, is a formula to spreadsheet programs. The full-width
#: forms of the signs are taken for them where the program reads them so.
FORMULA = (
    "=",
    "+",
    "-",
    "@",
    "\uff1d",
    "\uff0b",
    "\uff0d",
    "\uff20",
    "\u2212",
    "\ufe62",
    "\ufe63",
    "\ufe66",
    "\ufe6b",
)
#: Characters that some programs drop or trim before they look at a cell.
UNSEEN = re.compile(r"[\s\x00-\x20\x7f-\xa0\xad\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff]*")
#: Appended to the name of a column of the user's that a column of ours has.
THEIRS = "_in_file"


class Finding(NamedTuple):
    """What is said of one row.

    Attributes:
        example_index: number of the row in the data as given.
        kind: `label`, `far` or nothing.
        label, suggested: names of classes.
        probability: of the suggested class.
        quality, distance: see `Verdicts`.
        text: of the example; empty for others than texts.
        others: the user's other columns, as text.
    """

    example_index: int
    kind: str
    label: str
    suggested: str
    probability: float
    quality: float
    distance: float
    text: str
    others: dict[str, str]

    @property
    def preview(self) -> str:
        """The beginning of the text, on one line; of others than texts, of the other columns."""
        line = " ".join((self.text or ", ".join(self.others.values())).split())
        return line if len(line) <= PREVIEW else line[: PREVIEW - 1] + "…"


def findings(rows: Labelled, verdicts: Verdicts) -> list[Finding]:
    """All rows, worst first."""
    names = rows.class_names
    columns = other_columns(rows)
    cells = {name: rows.frame.table.column(name) for name in columns}
    return [
        Finding(
            int(rows.index[row]),
            "label" if verdicts.is_doubted[row] else "far" if verdicts.is_far[row] else "",
            names[rows.labels[row]],
            names[verdicts.suggested[row]],
            float(verdicts.probability[row]),
            float(verdicts.quality[row]),
            float(verdicts.distance[row]),
            "" if rows.texts is None else rows.texts[row],
            {name: cell(cells[name][row].as_py()) for name in columns},
        )
        for row in verdicts.ranked().tolist()
    ]


def other_columns(rows: Labelled) -> list[str]:
    """The columns that are neither the label nor what an example is, lists of numbers left out."""
    used = {rows.label, *rows.content.names}
    frame = rows.frame
    return [name for name in frame.table.column_names if name not in used and frame.kind(name) in ("text", "number")]


def cell(value: Any) -> str:
    """A value as text; empty where there is none."""
    return "" if value is None else str(value)


def write_csv(path: Path, found: list[Finding]) -> None:
    """One line a row; texts that a spreadsheet would run as a formula begin with an apostrophe."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ours = [name for name in Finding._fields if name != "others"]
    theirs = list(found[0].others) if found else []
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        out = csv.writer(file)
        out.writerow([*ours, *(safe(f"{name}{THEIRS}" if name in ours else name) for name in theirs)])
        for finding in found:
            values = [*finding[: len(ours)], *finding.others.values()]
            out.writerow([safe(value) if isinstance(value, str) else value for value in values])


def safe(text: str) -> str:
    """The text as a cell that is shown and not run.

    A tab or carriage return at the beginning is guarded in any case: it moves what follows into a cell of its own.
    """
    first = text[UNSEEN.match(text).end() :]  # type: ignore[union-attr]
    return f"'{text}" if first.startswith(FORMULA) or text.startswith(("\t", "\r", "\n")) else text
