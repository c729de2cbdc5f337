"""The classes of a column: words and whole numbers as people write them, and the numbers that stand for them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from datasets import ClassLabel, Dataset, DatasetDict

from hf_otw.data.frame import nearest, shown

LABEL = "label"
NUMBERED = "__numbered__"  # while a column takes another's place
WHOLE = re.compile(r"-?(0|[1-9][0-9]*)")
#: A whole number of a column that once held a gap: pandas makes floats of the others.
WHOLE_FLOAT = re.compile(r"-?(0|[1-9][0-9]*)\.0+")
FRACTION = re.compile(r"-?[0-9]*\.[0-9]+")


def class_words(values: Sequence[Any], called: str = LABEL) -> list[str | None]:
    """The class of each row, as a word; None where the row has none.

    Whole numbers are classes whether they are written as 1, as 1.0 or as text; spaces around a word do not count.
    `01` and `1` are two classes.

    Args:
        values: words, numbers, or None; `(N,)`.
        called: name of the column, for messages.

    Raises:
        ValueError: a value that is neither a word nor a whole number.
    """
    words = [one_word(value, called) for value in values]
    known = {word for word in words if word is not None}
    fractions = sorted(word for word in known if FRACTION.fullmatch(word) and not WHOLE_FLOAT.fullmatch(word))
    if fractions and all(WHOLE.fullmatch(word) or FRACTION.fullmatch(word) for word in known):
        raise not_a_class(float(fractions[0]), called)
    if any(WHOLE_FLOAT.fullmatch(word) for word in known) and all(
        WHOLE.fullmatch(word) or WHOLE_FLOAT.fullmatch(word) for word in known
    ):
        return [None if word is None else word.split(".")[0] for word in words]
    return words


def one_word(value: Any, called: str) -> str | None:
    """One label as a word, or None."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int):  # bool too
        return str(value)
    raise not_a_class(value, called)


def not_a_class(value: Any, called: str) -> ValueError:
    """What is said of a label that is none."""
    return ValueError(
        f"Expected one class a row, a word or a whole number, in the column {called!r}, got {value!r}. Name another "
        "column, or drop such rows."
    )


def class_order(words: Sequence[str | None]) -> list[str]:
    """The classes, in order: whole numbers by size, then words by the alphabet."""
    return sorted({word for word in words if word is not None}, key=place)


def place(word: str) -> tuple[bool, int, str]:
    """What classes are sorted by."""
    return (False, int(word), "") if WHOLE.fullmatch(word) and len(word) < 19 else (True, 0, word)


def alike(names: Sequence[str]) -> list[list[str]]:
    """Groups of classes whose names differ in case and inner spaces only: probably one class each."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(" ".join(name.casefold().split()), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def with_classes(splits: Mapping[str, Dataset], column: str = LABEL, *, called: str | None = None) -> DatasetDict:
    """Make a column of words or numbers the classes: numbered by their names, the same in all splits.

    Args:
        splits: name -> rows.
        column: of the classes.
        called: what the user calls that column, where it was renamed.

    Raises:
        ValueError: no such column, values missing, fractions, or a class that only later splits have.
    """
    first = next(iter(splits.values()))
    for name, rows in splits.items():
        if column not in rows.column_names:
            near = nearest(column, rows.column_names)
            hint = f"Did you mean {near!r}?" if near else "Name the labels' column."
            raise ValueError(f"Expected a column {column!r} in {name}, got {shown(rows.column_names)}. {hint}")
    if isinstance(first.features[column], ClassLabel):
        return DatasetDict(splits)
    words = {name: class_words(rows.with_format(None)[column][:], called or column) for name, rows in splits.items()}
    for name, found in words.items():
        if None in found:
            raise ValueError(
                f"Expected a class in every row of the column {called or column!r} of {name}, but row "
                f"{found.index(None)} has none. Fill in or drop such rows."
            )
    feature = ClassLabel(names=class_order(next(iter(words.values()))))
    number = {word: k for k, word in enumerate(feature.names)}
    made = {}
    for name, rows in splits.items():
        unknown = sorted({word for word in words[name] if word is not None and word not in number})
        if unknown:
            raise ValueError(
                f"Expected the classes {feature.names[:20]} in {name}, got {unknown[:5]} as well. Drop them."
            )
        order = rows.column_names
        codes = [number[word] for word in words[name] if word is not None]
        coded = rows.add_column(NUMBERED, codes, feature=feature).remove_columns(column)
        made[name] = coded.rename_column(NUMBERED, column).select_columns(order)
    return DatasetDict(made)
