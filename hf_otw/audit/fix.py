"""A cleaned copy of the data: rows dropped, relabelled or weighted; the original stays as it is."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from hf_otw.audit.decisions import Decision
from hf_otw.audit.judge import Verdicts
from hf_otw.audit.labelled import Labelled, words_of
from hf_otw.data.files import PATH, load_frame
from hf_otw.data.frame import Frame
from hf_otw.data.reading.delimited import find_delimiter, without_hint
from hf_otw.data.reading.encoding import decoded
from hf_otw.data.reading.files import DELIMITED

How = Literal["decided", "drop", "relabel", "weight"]
#: Probability from which the suggested class replaces a doubted label.
SURE = 0.8
BEFORE, CONFIDENCE, WEIGHT = "label_before", "confidence", "weight"


class Changes(NamedTuple):
    """What is done to the rows; numbers are those of the data as given.

    Attributes:
        dropped: rows.
        labels: row -> its new class.
        confidence: row -> probability of that class; 1 where a person decided.
        weights: row -> weight; empty unless rows are weighted.
    """

    dropped: set[int]
    labels: dict[int, str]
    confidence: dict[int, float]
    weights: dict[int, float]

    def told(self) -> str:
        """What was done, in a sentence."""
        parts = [f"{len(self.dropped):,} rows dropped", f"{len(self.labels):,} relabelled"]
        return ", ".join([*parts, *([f"{len(self.weights):,} weighted"] if self.weights else [])])


def changes(
    rows: Labelled, verdicts: Verdicts, decisions: list[Decision], how: How, weights: dict[int, float] | None = None
) -> Changes:
    """Put together what people decided and what is done about the other doubted labels.

    Args:
        rows: that were judged.
        verdicts: of these rows.
        decisions: are carried out as they are.
        how: the others: left (`decided`), dropped (`drop`), relabelled where the suggestion is sure and else left
            (`relabel`), or all rows given a weight (`weight`).
        weights: row -> weight, for `weight`.
    """
    made = Changes(set(), {}, {}, dict(weights or {}) if how == "weight" else {})
    for decision in decisions:
        if decision.action == "drop":
            made.dropped.add(decision.row)
            made.weights.pop(decision.row, None)
        elif decision.action == "relabel":
            made.labels[decision.row], made.confidence[decision.row] = decision.label, 1.0
    by_person = {decision.row for decision in decisions}
    for number in np.flatnonzero(verdicts.is_doubted).tolist():
        row, sure = int(rows.index[number]), float(verdicts.probability[number])
        if row in by_person or how not in ("drop", "relabel"):
            continue
        if how == "drop":
            made.dropped.add(row)
        elif sure >= SURE and verdicts.suggested[number] != rows.labels[number]:
            made.labels[row], made.confidence[row] = rows.class_names[verdicts.suggested[number]], sure
    return made


def changed(frame: Frame, label: str, made: Changes) -> pa.Table:
    """All columns but pictures, with the changes; relabelled rows say what they were and how sure the new one is."""
    table = frame.table
    words, values = words_of(frame, label), frame.values(label)
    of_class: dict[str | None, Any] = dict(zip(words, values, strict=True))  # as the file writes that class
    new = [of_class[made.labels[row]] if row in made.labels else value for row, value in enumerate(values)]
    place = table.column_names.index(label)
    table = table.set_column(place, label, pa.array(new, table.schema.field(label).type))
    rows = range(len(frame))
    extra: dict[str, pa.Array] = {}
    if made.labels:
        extra[BEFORE] = pa.array([words[row] if row in made.labels else None for row in rows], pa.string())
        extra[CONFIDENCE] = pa.array([made.confidence.get(row) for row in rows], pa.float64())
    if made.weights:
        extra[WEIGHT] = pa.array([made.weights.get(row, 0.0) for row in rows], pa.float64())
    for name, column in extra.items():
        table = table.append_column(name if name not in table.column_names else f"{name}_of_audit", column)
    kept = [row for row in rows if row not in made.dropped]
    return table.take(pa.array(kept, pa.int64()))


def check_target(data: str, target: Path) -> None:
    """Refuse to write over the data, and what cannot be written.

    Raises:
        ValueError: the data themselves, or a name of another kind.
    """
    source = Path(data).expanduser()
    if source.exists() and target.exists() and source.samefile(target):
        raise ValueError(f"Expected another file for --fix than the data, got {target}. The original is kept: rename.")
    if is_folder_of_pictures(source):
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise ValueError(f"Expected no folder at {target}, or an empty one, for the pictures. Name another.")
    elif target.suffix.lower() not in (*DELIMITED, ".parquet"):
        raise ValueError(f"Expected --fix to end with .csv, .tsv or .parquet, got {target}. Rename it.")


def is_folder_of_pictures(path: Path) -> bool:
    """Whether the data are pictures in folders."""
    return path.is_dir() and not (path / "dataset_info.json").is_file() and not (path / "dataset_dict.json").is_file()


def write_fixed(data: str, target: Path, label: str, made: Changes, *, split: str, encoding: str | None) -> None:
    """Write the copy: CSV with the delimiter and the encoding of the original, Parquet, or a folder of pictures."""
    source = Path(data).expanduser()
    frame = load_frame(data, split, encoding=encoding)
    table = changed(frame, label, made)
    target.parent.mkdir(parents=True, exist_ok=True)
    if is_folder_of_pictures(source):
        copy_pictures(source, target, frame, label, table)
    elif target.suffix.lower() == ".parquet":
        pa.parquet.write_table(table, target)
    else:
        target.write_bytes(as_csv(table, source, target, encoding))


def as_csv(table: pa.Table, source: Path, target: Path, encoding: str | None) -> bytes:
    """The table as text; lists of numbers cannot be written so."""
    delimiter, codec = DELIMITED[target.suffix.lower()], "utf-8"
    if source.is_file() and source.suffix.lower() == target.suffix.lower():
        text = decoded(source.read_bytes(), encoding)
        content, told = without_hint(text.content)
        delimiter, codec = told or find_delimiter(content), text.encoding
    lists = [field.name for field in table.schema if pa.types.is_nested(field.type)]
    if lists:
        raise ValueError(f"Expected --fix to end with .parquet, as the column {lists[0]!r} holds lists, got {target}.")
    out = io.BytesIO()
    pa.csv.write_csv(table, out, pa.csv.WriteOptions(delimiter=delimiter, quoting_style="needed"))
    content = out.getvalue()
    return content if codec == "utf-8" else content.decode("utf-8").encode(codec)


def copy_pictures(source: Path, target: Path, frame: Frame, label: str, table: pa.Table) -> None:
    """Copy each picture into the folder of its class; two of one name get numbers."""
    names = frame.class_names[label]
    for path, k in zip(table.column(PATH).to_pylist(), table.column(label).to_pylist(), strict=True):
        folder = target / names[k]
        folder.mkdir(parents=True, exist_ok=True)
        place, number = folder / Path(path).name, 1
        while place.exists():
            place, number = folder / f"{Path(path).stem}-{number}{Path(path).suffix}", number + 1
        shutil.copy2(source / path, place)
    if table.num_columns > frame.table.num_columns:
        pa.csv.write_csv(table.drop_columns([label]), target / "changes.csv")
