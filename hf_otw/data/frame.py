"""Rows in columns as a command works on them: every column of the user's, whatever it came from."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from datasets import ClassLabel, Dataset, Image

Kind = Literal["text", "image", "features", "number", "other"]


@dataclass(frozen=True, eq=False)
class Frame:
    """Rows of `N` examples.

    Attributes:
        table: every column but pictures.
        pictures: column -> data set of that column alone, decoded when a row is asked for.
        class_names: of columns whose whole numbers stand for names: column -> names.
    """

    table: pa.Table
    pictures: dict[str, Dataset] = field(default_factory=dict)
    class_names: dict[str, list[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of rows."""
        if self.table.num_columns:
            return int(self.table.num_rows)
        return len(next(iter(self.pictures.values()), ()))

    @property
    def columns(self) -> list[str]:
        """Names of all columns."""
        return [*self.table.column_names, *self.pictures]

    def kind(self, name: str) -> Kind:
        """What a column holds, by its type."""
        if name in self.pictures:
            return "image"
        found = self.table.schema.field(name).type
        if pa.types.is_string(found) or pa.types.is_large_string(found):
            return "text"
        if pa.types.is_list(found) or pa.types.is_large_list(found) or pa.types.is_fixed_size_list(found):
            return "features"
        is_number = pa.types.is_integer(found) or pa.types.is_floating(found) or pa.types.is_boolean(found)
        return "number" if is_number else "other"

    def values(self, name: str) -> list[Any]:
        """A column that is no picture, as Python values."""
        return self.table.column(name).to_pylist()

    def select(self, rows: np.ndarray | Sequence[int]) -> Frame:
        """Take rows, in the order given."""
        index = np.asarray(rows, dtype=np.int64)
        pictures = {name: column.select(index) for name, column in self.pictures.items()}
        return Frame(self.table.take(pa.array(index)), pictures, self.class_names)

    def without(self, names: Iterable[str]) -> Frame:
        """Leave columns out."""
        dropped = set(names)
        kept = [name for name in self.table.column_names if name not in dropped]
        pictures = {name: column for name, column in self.pictures.items() if name not in dropped}
        return Frame(self.table.select(kept), pictures, self.class_names)


def frame_of(rows: Dataset) -> Frame:
    """The columns of a data set."""
    pictures = [name for name, feature in rows.features.items() if isinstance(feature, Image)]
    others = [name for name in rows.column_names if name not in pictures]
    names = {name: rows.features[name].names for name in others if isinstance(rows.features[name], ClassLabel)}
    table = rows.select_columns(others).with_format("arrow")[:] if others else pa.table({})
    return Frame(table, {name: rows.select_columns([name]) for name in pictures}, names)


def check_columns(wanted: Iterable[str], known: Sequence[str]) -> None:
    """Check that columns are there.

    Raises:
        ValueError: one is not; the message names the nearest.
    """
    for name in wanted:
        if name not in known:
            near = nearest(name, known)
            hint = f"Did you mean {near!r}?" if near else "Name one of these."
            raise ValueError(f"Expected a column {name!r}, got {shown(known)}. {hint}")


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The name that a person probably meant: the same but for case and spaces, else one spelt alike."""
    bare = {other.strip().casefold(): other for other in known}
    if name.strip().casefold() in bare:
        return bare[name.strip().casefold()]
    near = difflib.get_close_matches(name.strip().casefold(), bare, n=1)
    return bare[near[0]] if near else None


def shown(names: Sequence[str], limit: int = 20) -> str:
    """Names as a list, the first of many."""
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return f"{list(names[:limit])}{more}"
