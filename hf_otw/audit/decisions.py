"""What a person decided about findings: read from the file that the page of the audit saves, and taken up."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal, NamedTuple, cast, get_args

import numpy as np

from hf_otw.audit.labelled import RIGHT, UNKNOWN, Labelled
from hf_otw.data.frame import check_columns
from hf_otw.data.reading.files import read_file

Action = Literal["keep", "relabel", "drop"]
COLUMNS = ("example_index", "given", "decision", "label")


class Decision(NamedTuple):
    """What a person said of one row.

    Attributes:
        row: number in the data as given.
        given: the label that the person saw.
        action: `keep` (the label is right), `relabel` or `drop`.
        label: the right class, of `relabel`.
    """

    row: int
    given: str
    action: Action
    label: str = ""


def read_decisions(path: Path) -> list[Decision]:
    """Read a CSV file with the columns `example_index`, `given`, `decision` and `label`; rows undecided are skipped.

    Raises:
        ValueError: columns that are missing, an unknown decision, a row twice, or a relabelled row without its class.
    """
    table = read_file(path, typed=False)
    check_columns(COLUMNS, table.column_names)
    found: dict[int, Decision] = {}
    for values in table.select(list(COLUMNS)).to_pylist():
        cells = {name: str(value or "").strip() for name, value in values.items()}
        if not cells["decision"]:
            continue
        if cells["decision"] not in get_args(Action) or not cells["example_index"].isdecimal():
            raise ValueError(
                f"Expected a row number and one of {', '.join(get_args(Action))} in {path}, got "
                f"{cells['example_index']!r} and {cells['decision']!r}. Correct that line."
            )
        row = int(cells["example_index"])
        if row in found:
            raise ValueError(f"Expected one decision a row in {path}, got several of row {row}. Leave one.")
        if cells["decision"] == "relabel" and not cells["label"]:
            raise ValueError(f"Expected the right class of row {row} in the column 'label' of {path}. Fill it in.")
        found[row] = Decision(row, cells["given"], cast(Action, cells["decision"]), cells["label"])
    return list(found.values())


def check_decisions(rows: Labelled, decisions: list[Decision]) -> None:
    """Check that decisions are about these rows.

    Raises:
        ValueError: another label than the one that was decided about, or an unknown class.
    """
    place = {int(row): number for number, row in enumerate(rows.index)}
    for decision in decisions:
        if decision.row not in place:
            continue
        label = rows.class_names[rows.labels[place[decision.row]]]
        if label != decision.given:
            raise ValueError(
                f"Expected row {decision.row} to have the label {decision.given!r}, about which was decided, got "
                f"{label!r}: the data have changed since, or are others. Decide again, or name the data of that audit."
            )
        if decision.action == "relabel" and decision.label not in rows.class_names:
            raise ValueError(
                f"Expected one of the classes {rows.class_names[:20]} for row {decision.row}, got {decision.label!r}."
            )


def decided(rows: Labelled, decisions: list[Decision]) -> Labelled:
    """The rows as decided: dropped ones gone, labels corrected, and both kept and corrected ones trusted.

    Raises:
        ValueError: see `check_decisions`, or a class that loses all but one of its rows.
    """
    check_decisions(rows, decisions)
    place = {int(row): number for number, row in enumerate(rows.index)}
    labels = rows.labels.copy()
    known = np.full(len(labels), UNKNOWN, dtype=np.int8) if rows.known is None else rows.known.copy()
    stays = np.ones(len(labels), dtype=bool)
    for decision in decisions:
        number = place.get(decision.row)
        if number is None:  # set aside, or not drawn
            continue
        if decision.action == "drop":
            stays[number] = False
            continue
        known[number] = RIGHT
        if decision.action == "relabel":
            labels[number] = rows.class_names.index(decision.label)
    kept = np.flatnonzero(stays)
    counts = np.bincount(labels[kept], minlength=len(rows.class_names))
    if (counts < 2).any():
        name = rows.class_names[int(counts.argmin())]
        raise ValueError(
            f"Expected 2 rows or more of every class, but the decisions leave {counts.min()} of {name!r}."
        )
    return dataclasses.replace(
        rows,
        frame=rows.frame.select(kept),
        labels=labels[kept],
        features=rows.features[kept],
        index=rows.index[kept],
        texts=None if rows.texts is None else [rows.texts[row] for row in kept],
        known=known[kept],
    )
