"""Labelled rows of a user's: classes, features, the meta set, and the rows that cannot be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from hf_otw.audit.columns import Columns as Columns
from hf_otw.audit.columns import Content, feature_matrix, find_content, has_content, texts_of
from hf_otw.audit.features import TFIDF, Track, image_features, text_features, word_features
from hf_otw.data.files import load_frame, logger
from hf_otw.data.frame import Frame, check_columns, shown
from hf_otw.data.reading.files import Tell
from hf_otw.data.words import alike, class_order, class_words

#: What is known of a label beforehand.
WRONG, UNKNOWN, RIGHT = -1, 0, 1
SINGLE = "only one of its class"


class SetAside(NamedTuple):
    """Rows that are neither weighed nor judged.

    Attributes:
        reason: `no label`, `empty` or `SINGLE`.
        rows: their numbers in the data as given.
        labels: their classes, where they have one.
    """

    reason: str
    rows: np.ndarray
    labels: list[str | None]


@dataclass(frozen=True, eq=False)
class Labelled:
    """Rows that can be weighed.

    Attributes:
        frame: the `N` rows with all their columns.
        label: column of the classes.
        class_names: `K` names.
        labels: `(N,)`, in `0..K-1`.
        features: `(N, D)`, float64.
        content: what the features were made of.
        model: what made them.
        index: `(N,)`, row numbers in the data as given.
        texts: of the examples, where these are texts.
        set_aside: the other rows.
        known: `(N,)`, what the trusted examples say of a row's label: `RIGHT`, `WRONG` or `UNKNOWN`.
        meta_features, meta_labels: of trusted examples, or None.
    """

    frame: Frame
    label: str
    class_names: list[str]
    labels: np.ndarray
    features: np.ndarray
    content: Content
    model: str
    index: np.ndarray
    texts: list[str] | None = None
    set_aside: list[SetAside] = field(default_factory=list)
    known: np.ndarray | None = None
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
    encoding: str | None = None,
    track: Track = iter,
    tell: Tell = logger.info,
) -> Labelled:
    """Load rows and make features.

    Args:
        place: file, folder or name on the Hub, see `hf_otw.data.files.load_rows`.
        columns: of both sets.
        model: path or name of a pretrained model; `tfidf`, the default for texts, needs none.
        split: of a name on the Hub.
        meta: trusted examples, from a place of the same kind.
        max_rows: take no more than so many, drawn with a fixed seed.
        encoding: of a text file; detected by default.
        track: shows progress.
        tell: is given what was detected and what was set aside.

    Raises:
        ValueError: columns that are not there or do not fit, one class only, pictures without a model, or trusted
            examples that are the rows themselves.
    """
    if meta is not None and is_same(place, meta):
        raise ValueError(f"Expected trusted examples in --meta, got the rows themselves, {meta}. Name another file.")
    trusted = None if meta is None else load_frame(meta, split, encoding=encoding, tell=tell)
    frame = load_frame(place, split, encoding=encoding, tell=tell)
    return label_frame(frame, columns, model=model, meta=trusted, max_rows=max_rows, track=track, tell=tell)


def is_same(place: str, other: str) -> bool:
    """Whether two places are one."""
    one, two = Path(place).expanduser(), Path(other).expanduser()
    return one.samefile(two) if one.exists() and two.exists() else place == other


def label_frame(
    frame: Frame,
    columns: Columns,
    *,
    model: str | None = None,
    meta: Frame | None = None,
    max_rows: int | None = None,
    track: Track = iter,
    tell: Tell = logger.info,
) -> Labelled:
    """Find classes and features of rows that are in memory; see `load_labelled`."""
    rows = usable_rows(frame, columns, tell, max_rows)
    frame, content, names = rows.frame, rows.content, rows.class_names
    number = {name: k for k, name in enumerate(names)}
    labels = np.array([number[word] for word in rows.words], dtype=np.int64)
    frames, trusted = [frame], None
    if meta is not None:
        frames.append(meta)
        trusted = trusted_labels(meta, columns.label, content, number)
    features, texts = make_features(frames, content, model, track)
    used = "columns" if content.kind == "features" else model or TFIDF
    known = None if trusted is None else agreement(texts, features, content, labels, trusted)
    return Labelled(
        frame,
        columns.label,
        names,
        labels,
        features[0],
        content,
        used,
        rows.index,
        texts[0],
        rows.set_aside,
        known,
        *((features[1], trusted) if meta is not None else ()),
    )


@dataclass(frozen=True, eq=False)
class Usable:
    """Rows with a class and content.

    Attributes:
        frame: the `N` rows with all their columns.
        content: what an example is.
        words: `(N,)`, the classes.
        class_names: `K` names.
        index: `(N,)`, row numbers in the data as given.
        set_aside: the other rows.
    """

    frame: Frame
    content: Content
    words: list[str]
    class_names: list[str]
    index: np.ndarray
    set_aside: list[SetAside]

    @property
    def texts(self) -> list[str] | None:
        """The texts, where the content is texts."""
        return [text or "" for text in texts_of(self.frame, self.content)] if self.content.kind == "text" else None

    def vectors(self) -> pa.Array:
        """The features, where the content is numbers."""
        array = feature_matrix(self.frame, self.content)
        return pa.FixedSizeListArray.from_arrays(pa.array(array.ravel()), array.shape[1]).cast(pa.list_(pa.float64()))


def usable_rows(frame: Frame, columns: Columns, tell: Tell, max_rows: int | None = None) -> Usable:
    """Set rows aside that have no class or no content, or are the only one of their class.

    Raises:
        ValueError: columns that are not there or do not fit, or fewer than two classes.
    """
    check_columns([columns.label], frame.columns)
    index = np.arange(len(frame))
    if max_rows is not None and max_rows < len(frame):
        index = np.sort(np.random.default_rng(0).permutation(len(frame))[:max_rows])
        frame = frame.select(index)
    content = find_content(frame, columns, tell)
    words = words_of(frame, columns.label)
    set_aside = unusable(frame, content, words, index)
    for part in set_aside:
        named = f": {shown([str(name) for name in part.labels], 5)}" if part.reason == SINGLE else ""
        tell(f"Set aside: {len(part.rows):,} of {len(index):,} rows ({part.reason}{named}), {rows_shown(part.rows)}.")
    if set_aside:
        kept = np.flatnonzero(~np.isin(index, np.concatenate([part.rows for part in set_aside])))
        frame, index, words = frame.select(kept), index[kept], [words[row] for row in kept]
    names = class_order(words)
    if len(names) < 2:
        raise ValueError(
            f"Expected two classes or more in the column {columns.label!r}, with two rows or more of each, got "
            f"{shown(names)}. Name another column."
        )
    for group in alike(names):
        tell(f"The classes {' and '.join(map(repr, group))} differ in case or spaces only; they are kept apart.")
    return Usable(frame, content, [str(word) for word in words], names, index, set_aside)


def words_of(frame: Frame, label: str) -> list[str | None]:
    """The class of each row, as a word."""
    if frame.kind(label) == "image":
        raise ValueError(f"Expected classes in the column {label!r}, got pictures. Name another with --label.")
    values = frame.values(label)
    names = frame.class_names.get(label)
    if names is not None:
        return [names[value] if value is not None and 0 <= value < len(names) else None for value in values]
    return class_words(values, label)


def unusable(frame: Frame, content: Content, words: list[str | None], index: np.ndarray) -> list[SetAside]:
    """Rows without a label, rows without content, and the only row of a class."""
    blank = np.array([word is None for word in words], dtype=bool)
    empty = ~has_content(frame, content) & ~blank
    counts = Counter(word for word, out in zip(words, blank | empty, strict=True) if not out)
    single = np.array([counts[word] == 1 for word in words], dtype=bool) & ~blank & ~empty
    found = {"no label": blank, "empty": empty, SINGLE: single}
    return [
        SetAside(reason, index[rows], [words[row] for row in np.flatnonzero(rows)])
        for reason, rows in found.items()
        if rows.any()
    ]


def rows_shown(rows: np.ndarray) -> str:
    """The first row numbers."""
    word = "row" if len(rows) == 1 else "rows"
    return f"{word} {', '.join(map(str, rows[:5].tolist()))}{', ...' if len(rows) > 5 else ''}"


def trusted_labels(meta: Frame, label: str, content: Content, number: dict[str, int]) -> np.ndarray:
    """Classes of trusted examples, `(m,)`.

    Raises:
        ValueError: columns that the rows have and these have not, a row without a label or content, a class that the
            rows do not have, or one of theirs that is missing.
    """
    absent = [name for name in (label, *content.names) if name not in meta.columns]
    if absent:
        raise ValueError(f"Expected the column {absent[0]!r} in the meta set too, got {shown(meta.columns)}. Add it.")
    words = words_of(meta, label)
    bad = np.array([word is None for word in words], dtype=bool) | ~has_content(meta, content)
    if bad.any():
        raise ValueError(
            f"Expected a label and an example in every row of the meta set, but {int(bad.sum()):,} lack one "
            f"({rows_shown(np.flatnonzero(bad))}). Fill in or drop these."
        )
    unknown = sorted({str(word) for word in words if word not in number})
    if unknown:
        raise ValueError(
            f"Expected the classes {shown(list(number))} in the meta set, got {unknown[:5]} as well. Drop them."
        )
    missing = [name for name in number if name not in words]
    if missing:
        raise ValueError(f"Expected trusted examples of every class, got none of {shown(missing)}. Add some.")
    return np.array([number[str(word)] for word in words], dtype=np.int64)


def agreement(
    texts: list[list[str] | None],
    features: list[np.ndarray],
    content: Content,
    labels: np.ndarray,
    trusted: np.ndarray,
) -> np.ndarray:
    """What the trusted examples say of the labels of the rows that are among them, `(N,)`.

    Raises:
        ValueError: every row is among them with its label, so that nothing is left to weigh.
    """

    def keys(part: int) -> list[Any]:
        own = texts[part]
        return [row.tobytes() for row in features[part]] if own is None else list(own)

    said = dict(zip(keys(1), trusted.tolist(), strict=True))
    known = np.array(
        [
            UNKNOWN if key not in said else RIGHT if said[key] == label else WRONG
            for key, label in zip(keys(0), labels, strict=True)
        ],
        dtype=np.int8,
    )
    if (known == RIGHT).all():
        raise ValueError("Expected trusted examples in --meta, got the rows themselves. Name another file.")
    return known


def make_features(
    parts: Sequence[Frame], content: Content, model: str | None, track: Track
) -> tuple[list[np.ndarray], list[list[str] | None]]:
    """Features of each part, all in one space, and their texts."""
    no_texts: list[list[str] | None] = [None] * len(parts)
    if content.kind == "features":
        found = [feature_matrix(part, content) for part in parts]
        if found[0].shape[1] != found[-1].shape[1]:
            raise ValueError(f"Expected {found[0].shape[1]} numbers in the meta set too, got {found[-1].shape[1]}.")
        return found, no_texts
    if content.kind == "image":
        if model is None or model == TFIDF:
            raise ValueError("Expected --model for pictures, such as facebook/dinov2-small, got none. Name one.")
        pictures = [part.pictures[content.names[0]][content.names[0]] for part in parts]
        return [image_features(part, model, track=track).astype(np.float64) for part in pictures], no_texts
    texts = [[text or "" for text in texts_of(part, content)] for part in parts]
    if model is None or model == TFIDF:
        first, other = word_features(texts[0], texts[1] if len(parts) > 1 else ())
        return [first, other][: len(parts)], [*texts]
    return [text_features(part, model, track=track).astype(np.float64) for part in texts], [*texts]
