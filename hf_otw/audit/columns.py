"""Which columns say what an example is, and what they hold."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from hf_otw.data.files import list_array
from hf_otw.data.frame import Frame, check_columns, shown
from hf_otw.data.reading.delimited import as_numbers
from hf_otw.data.reading.files import Tell
from hf_otw.data.words import LABEL

Kind = Literal["text", "image", "features"]
KINDS: tuple[Kind, ...] = ("text", "image", "features")


@dataclass(frozen=True)
class Columns:
    """Which columns hold what; left empty: found by their types.

    Attributes:
        label: the class, a word or a whole number.
        text: texts, joined by a line end where there are several columns.
        image: pictures.
        features: a column of lists of numbers, or columns of numbers; a name may be a pattern such as `gene*`.
    """

    label: str = LABEL
    text: tuple[str, ...] = ()
    image: str | None = None
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class Content:
    """What an example is.

    Attributes:
        kind: of the columns.
        names: of the columns.
    """

    kind: Kind
    names: tuple[str, ...]

    @property
    def called(self) -> str:
        """The columns as a message names them."""
        if len(self.names) > 3:
            return f"{self.names[0]!r} to {self.names[-1]!r} ({len(self.names):,})"
        return " and ".join(repr(name) for name in self.names)


def find_content(frame: Frame, columns: Columns, tell: Tell) -> Content:
    """What an example is, and in which columns: as told, else by the columns' types.

    Of several columns of texts, the one with the longest texts is taken.

    Raises:
        ValueError: several kinds told, a column that is not there, or nothing that could be meant.
    """
    told = {"text": columns.text, "image": (columns.image,) if columns.image else (), "features": columns.features}
    given: list[Kind] = [kind for kind in KINDS if told[kind]]
    if len(given) > 1:
        raise ValueError(f"Expected one of --text, --image and --features, got {', '.join(given)}. Choose one.")
    others = [name for name in frame.columns if name != columns.label]
    if given:
        return checked(frame, Content(given[0], matching(told[given[0]], others)))
    found = {kind: [name for name in others if frame.kind(name) == kind] for kind in KINDS}
    for kind in ("features", "image"):
        if len(found[kind]) == 1:
            return Content(kind, tuple(found[kind]))
    lengths = {name: mean_length(frame, name) for name in found["text"]}
    best = max(lengths, key=lambda name: lengths[name], default=None)
    if best is None:
        raise ValueError(
            f"Expected a column of texts, pictures or lists of numbers, got {shown(others)}. Name it with --text, "
            "--image or --features."
        )
    if len(lengths) > 1:
        tell(f"Texts: the column {best!r}, which has the longest; --text names others.")
    return Content("text", (best,))


def matching(wanted: tuple[str, ...], known: list[str]) -> tuple[str, ...]:
    """Names, and what patterns stand for, in the order of the file.

    Raises:
        ValueError: a name that is not there, or a pattern that fits none.
    """
    names = []
    for name in wanted:
        fitting = [other for other in known if fnmatchcase(other, name)] if name not in known else [name]
        if not fitting:
            check_columns([name], known)
        names += fitting
    return tuple(dict.fromkeys(names))


def checked(frame: Frame, content: Content) -> Content:
    """Check that the named columns are of the kind that was told.

    Raises:
        ValueError: one is not.
    """
    for name in content.names:
        kind = frame.kind(name)
        fits = kind == content.kind or (content.kind == "text" and kind == "number")
        if not fits and not (content.kind == "features" and kind in ("number", "text")):
            raise ValueError(f"Expected {WANTED[content.kind]} in the column {name!r}, got {kind}. Name another.")
    if content.kind == "image" and len(content.names) > 1:
        raise ValueError(f"Expected one column of pictures, got {content.called}. Name one.")
    return content


WANTED: dict[Kind, str] = {"text": "texts", "image": "pictures", "features": "lists of numbers, or numbers"}


def mean_length(frame: Frame, name: str) -> float:
    """Characters of a text, a mean over the rows; 0 for texts that are numbers or empty."""
    column = frame.table.column(name)
    if pa.compute.all(pa.compute.equal(pa.compute.utf8_trim_whitespace(column), "")).as_py():
        return 0.0
    if not pa.types.is_string(as_numbers(column.cast(pa.string())).type):
        return 0.0
    return float(pa.compute.mean(pa.compute.utf8_length(column)).as_py() or 0)


def texts_of(frame: Frame, content: Content) -> list[str | None]:
    """The text of each row, its columns joined; None where all of them are blank."""
    columns = [[cell_text(value) for value in frame.values(name)] for name in content.names]
    joined = ["\n".join(part for part in parts if part) for parts in zip(*columns, strict=True)]
    return [text or None for text in joined]


def cell_text(value: Any) -> str:
    """A cell as text; empty where it is blank."""
    if value is None or value != value:
        return ""
    text = value if isinstance(value, str) else str(value)
    return "" if not text.strip() else text


def feature_matrix(frame: Frame, content: Content) -> np.ndarray:
    """Lists of numbers, or several columns of numbers, as an array `(N, D)`.

    Raises:
        ValueError: what is no number.
    """
    if len(content.names) == 1 and frame.kind(content.names[0]) == "features":
        return list_array(frame.table.column(content.names[0]), content.names[0])
    arrays = []
    for name in content.names:
        column = frame.table.column(name)
        numbers = as_numbers(column) if frame.kind(name) == "text" else column
        if frame.kind(name) not in ("text", "number") or pa.types.is_string(numbers.type):
            raise ValueError(f"Expected {WANTED['features']} in the column {name!r}, got {frame.kind(name)}.")
        arrays.append(np.asarray(numbers.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)))
    array = np.stack(arrays, axis=1)
    if not np.isfinite(array).all():
        raise ValueError(f"Expected finite numbers in the columns {content.called}, but some are not.")
    return array


def has_content(frame: Frame, content: Content) -> np.ndarray:
    """Whether each row says what it is, `(N,)` bool: some text, a list, or a number in every column."""
    if content.kind == "text":
        return np.array([text is not None for text in texts_of(frame, content)], dtype=bool)
    if content.kind == "image":
        return np.ones(len(frame), dtype=bool)
    filled = np.ones(len(frame), dtype=bool)
    for name in content.names:
        column = frame.table.column(name)
        empty = pa.compute.is_null(column, nan_is_null=pa.types.is_floating(column.type))
        if frame.kind(name) == "text":
            empty = pa.compute.or_kleene(empty, pa.compute.equal(pa.compute.utf8_trim_whitespace(column), ""))
        filled &= ~empty.to_numpy(zero_copy_only=False).astype(bool)
    return filled
