"""Labelled rows of a user's: classes, features, and the meta set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset, Image, List, Value

from hf_otw.audit.features import TFIDF, Track, image_features, text_features, word_features
from hf_otw.data.files import feature_array, load_rows, renamed, with_classes

LABEL = "label"
KINDS = ("text", "image", "features")


@dataclass(frozen=True)
class Columns:
    """Which columns hold what; None means: find it by its type.

    Attributes:
        label: the class, a word or a whole number.
        text, image, features: one of them says what an example is.
    """

    label: str = LABEL
    text: str | None = None
    image: str | None = None
    features: str | None = None


@dataclass(frozen=True, eq=False)
class Labelled:
    """Rows that can be weighed.

    Attributes:
        rows: as given, the label's column called `label`.
        class_names: `K` names.
        labels: `(N,)`, in `0..K-1`.
        features: `(N, D)`, float64.
        kind: what the features were made of, `text`, `image` or `features`.
        column: its name.
        model: what made them.
        index: `(N,)`, row numbers in the data as given.
        meta_features, meta_labels: of trusted examples, or None.
    """

    rows: Dataset
    class_names: list[str]
    labels: np.ndarray
    features: np.ndarray
    kind: str
    column: str
    model: str
    index: np.ndarray
    meta_features: np.ndarray | None = None
    meta_labels: np.ndarray | None = None


def load_labelled(
    place: str,
    columns: Columns,
    *,
    model: str | None = None,
    split: str = "train",
    meta: str | None = None,
    max_rows: int | None = None,
    track: Track = iter,
) -> Labelled:
    """Load rows and make features.

    Args:
        place: file, folder or name on the Hub, see `hf_otw.data.files.load_rows`.
        columns: of both sets.
        model: path or name of a pretrained model; `tfidf`, the default for texts, needs none.
        split: of a name on the Hub.
        meta: trusted examples, from a place of the same kind.
        max_rows: take no more than so many, drawn with a fixed seed.
        track: shows progress.

    Raises:
        ValueError: columns that are not there or do not fit, one class only, or pictures without a model.
    """
    rows = numbered(load_rows(place, split), columns.label)
    index = np.arange(len(rows))
    if max_rows is not None and max_rows < len(rows):
        index = np.sort(np.random.default_rng(0).permutation(len(rows))[:max_rows])
        rows = rows.select(index)
    splits = {"the rows": rows}
    if meta is not None:
        splits["the meta set"] = numbered(load_rows(meta, split), columns.label)
    classed = with_classes(splits, LABEL, called=columns.label)
    rows = classed["the rows"]
    names = rows.features[LABEL].names
    if len(names) < 2:
        raise ValueError(f"Expected two classes or more in the column {columns.label!r}, got {names}. Name another.")
    kind, column = find_column(rows, columns)
    check_rows(list(classed.values()), kind, column)
    made = make_features(list(classed.values()), kind, column, model, track)
    labels = [np.asarray(part.with_format(None)[LABEL][:], dtype=np.int64) for part in classed.values()]
    used = "column" if kind == "features" else model or TFIDF
    return Labelled(
        rows, names, labels[0], made[0], kind, column, used, index, *((made[1], labels[1]) if meta else ())
    )


def numbered(rows: Dataset, label: str) -> Dataset:
    """Call the label's column `label`."""
    return rows if label == LABEL else renamed(rows, {label: LABEL})


def find_column(rows: Dataset, columns: Columns) -> tuple[str, str]:
    """What an example is, and in which column: as told, else by the columns' types.

    Raises:
        ValueError: several told, one that is not there, or none or several that could be meant.
    """
    told = [(kind, getattr(columns, kind)) for kind in KINDS if getattr(columns, kind) is not None]
    if len(told) > 1:
        raise ValueError(f"Expected one of --text, --image and --features, got {dict(told)}. Choose one.")
    if told:
        if told[0][1] not in rows.column_names:
            raise ValueError(f"Expected a column {told[0][1]!r}, got {others_of(rows)}. Name one of them.")
        return told[0]
    others = {name: rows.features[name] for name in others_of(rows)}
    numbers = [name for name, feature in others.items() if isinstance(feature, List)]
    pictures = [name for name, feature in others.items() if isinstance(feature, Image)]
    words = [
        name
        for name, feature in others.items()
        if isinstance(feature, Value) and feature.dtype in ("string", "large_string")
    ]
    for kind, names in (("features", numbers), ("image", pictures), ("text", words)):
        if len(names) == 1:
            return kind, names[0]
    raise ValueError(
        f"Expected one column of texts, pictures or lists of numbers, got {others_of(rows)}. Name it with --text, "
        "--image or --features."
    )


def others_of(rows: Dataset) -> list[str]:
    """Columns beside the label's."""
    return [name for name in rows.column_names if name != LABEL]


def check_rows(parts: Sequence[Dataset], kind: str, column: str) -> None:
    """Nothing is missing."""
    for part in parts:
        if column not in part.column_names:
            raise ValueError(f"Expected the column {column!r} in the meta set too, got {part.column_names}. Add it.")
        if kind == "text" and any(not isinstance(text, str) for text in part.with_format(None)[column][:]):
            raise ValueError(f"Expected a text in every row of the column {column!r}, but some have none. Drop them.")


def make_features(
    parts: Sequence[Dataset], kind: str, column: str, model: str | None, track: Track
) -> list[np.ndarray]:
    """Features of each part, all in one space."""
    if kind == "features":
        return [feature_array(part, column) for part in parts]
    values: list[Any] = [part.with_format(None)[column] for part in parts]
    if kind == "image":
        if model is None or model == TFIDF:
            raise ValueError("Expected --model for pictures, such as facebook/dinov2-small, got none. Name one.")
        return [image_features(part, model, track=track).astype(np.float64) for part in values]
    if model is None or model == TFIDF:
        first, other = word_features(values[0][:], values[1][:] if len(parts) > 1 else ())
        return [first, other][: len(parts)]
    return [text_features(part[:], model, track=track).astype(np.float64) for part in values]
