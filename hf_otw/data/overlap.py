"""Do two data sets share examples? Compared by the content of their input columns, in one vectorised pass each."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

#: Columns that do not describe the input.
NOT_INPUTS = ("label", "labels", "label_ids", "example_index", "weight", "idx", "id")
SAMPLED_ROWS = 1000
BATCH_ROWS = 1000
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def row_hashes(dataset: Any, like: Any = None) -> np.ndarray | None:
    """A 64-bit hash of each row's inputs, shape `(N,)`, or None where the columns cannot be read (not a
    `datasets.Dataset`).

    Only columns that `like` has too are used, so that hashes of two sets compare. None as well where an input column
    has a type that cannot be hashed: the others alone would call rows equal that are not.
    """
    if not isinstance(dataset, Dataset) or (like is not None and not isinstance(like, Dataset)):
        return None
    names = [c for c in dataset.column_names if c not in NOT_INPUTS and (like is None or c in like.column_names)]
    if not names or not len(dataset):
        return None
    found = []
    # Some rows at a time: one array of more than 2 GiB of text would not fit its offsets.
    for table in dataset.with_format("arrow", columns=names).iter(batch_size=BATCH_ROWS):
        rows = _in_order([_chunked(table[name]) for name in sorted(names)], len(table))
        if rows is None:
            return None
        found.append(rows)
    return np.concatenate(found)


def count_overlap(dataset: Any, other: Any) -> int:
    """How many rows of `dataset` also occur in `other` (0 where contents cannot be compared)."""
    mine, theirs = row_hashes(dataset, like=other), row_hashes(other, like=dataset)
    return 0 if mine is None or theirs is None else int(np.isin(mine, theirs).sum())


def remove_overlap(dataset: Dataset, other: Dataset) -> Dataset:
    """Return `dataset` without the rows whose inputs also occur in `other`."""
    mine, theirs = row_hashes(dataset, like=other), row_hashes(other, like=dataset)
    return dataset if mine is None or theirs is None else dataset.select(np.flatnonzero(~np.isin(mine, theirs)))


def contents_digest(dataset: Any) -> str | None:
    """Identifies the inputs of a data set by up to 1,000 rows, evenly spaced; None where they cannot be read.

    Of the columns as they are stored: a transform that draws at random does not change it.
    """
    if not isinstance(dataset, Dataset):
        return None
    rows = np.unique(np.linspace(0, len(dataset) - 1, min(len(dataset), SAMPLED_ROWS)).astype(np.int64))
    hashes = row_hashes(dataset.select(rows))
    return None if hashes is None else hashlib.sha256(hashes.tobytes()).hexdigest()[:16]


def _chunked(column: pa.ChunkedArray) -> np.ndarray | None:
    """Hashes of a column, chunk by chunk."""
    parts = [_hashes(chunk) for chunk in column.chunks]
    found = [part for part in parts if part is not None]
    return np.concatenate(found) if found and len(found) == len(parts) else None


def _hashes(column: pa.Array) -> np.ndarray | None:
    """A 64-bit hash of each value, shape `(N,)`, or None for a type that has none."""
    kind = column.type
    if isinstance(column, pa.ExtensionArray):
        return _hashes(column.storage)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        unique = pc.dictionary_encode(column)
        codes = np.array([_bytes_hash(text.encode()) for text in unique.dictionary.to_pylist()] + [0], dtype=np.uint64)
        return codes[np.asarray(unique.indices.fill_null(len(codes) - 1))]
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return np.array([_bytes_hash(value.as_py() or b"") for value in column], dtype=np.uint64)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        numbers = column.cast(pa.float64(), safe=False).fill_null(0)
        return _mix(np.asarray(numbers).view(np.uint64))
    if pa.types.is_struct(kind):
        # An image is its bytes, or its path where there are none.
        parts = [_hashes(pc.struct_field(column, k)) for k in range(kind.num_fields)]
        return _in_order(parts, len(column))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _list_hashes(column)
    return np.zeros(len(column), dtype=np.uint64) if pa.types.is_null(kind) else None


def _list_hashes(column: pa.Array) -> np.ndarray | None:
    """Hash of each list: the sum over its values of a hash of value and place."""
    values = _hashes(pc.list_flatten(column))
    if values is None:
        return None
    lengths = np.asarray(pc.list_value_length(column).fill_null(0)).astype(np.int64)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    place = np.arange(len(values), dtype=np.uint64) - np.repeat(ends[:-1], lengths).astype(np.uint64)
    sums = np.concatenate([[np.uint64(0)], np.cumsum(_mix(values + _mix(place)), dtype=np.uint64)])
    return sums[ends[1:]] - sums[ends[:-1]] + _mix(lengths.astype(np.uint64))


def _in_order(parts: list[np.ndarray | None], rows: int) -> np.ndarray | None:
    """One hash of several, shape `(N,)`; None where one of them is missing."""
    out = np.zeros(rows, dtype=np.uint64)
    for part in parts:
        if part is None:
            return None
        out = _mix(out) ^ part
    return out


def _bytes_hash(content: bytes) -> int:
    # Not the built-in `hash`: it is salted per process, and ranks must agree.
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def _mix(values: np.ndarray) -> np.ndarray:
    """A bijection of 64-bit integers that spreads nearby values (the finaliser of splitmix64,
    https://doi.org/10.1145/2714064.2660195).
    """
    z = values + _MULTIPLIER
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
