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
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def row_hashes(dataset: Any, like: Any = None) -> np.ndarray | None:
    """A 64-bit hash of each row's inputs, shape `(N,)`, or None where the columns cannot be read (not a
    `datasets.Dataset`).

    Strings, numbers and lists of integers are hashed. Only columns that `like` has too are used, so that hashes of two
    sets compare.
    """
    if not isinstance(dataset, Dataset) or (like is not None and not isinstance(like, Dataset)):
        return None
    names = [c for c in dataset.column_names if c not in NOT_INPUTS and (like is None or c in like.column_names)]
    table = dataset.with_format("arrow")[:] if len(dataset) else None
    out: np.ndarray | None = None
    for name in sorted(names):
        hashes = None if table is None else _column_hashes(table[name].combine_chunks())
        if hashes is not None:
            out = hashes if out is None else _mix(out) ^ hashes
    return out


def count_overlap(dataset: Any, other: Any) -> int:
    """How many rows of `dataset` also occur in `other` (0 where contents cannot be compared)."""
    mine, theirs = row_hashes(dataset, like=other), row_hashes(other, like=dataset)
    return 0 if mine is None or theirs is None else int(np.isin(mine, theirs).sum())


def remove_overlap(dataset: Dataset, other: Dataset) -> Dataset:
    """Return `dataset` without the rows whose inputs also occur in `other`."""
    mine, theirs = row_hashes(dataset, like=other), row_hashes(other, like=dataset)
    return dataset if mine is None or theirs is None else dataset.select(np.flatnonzero(~np.isin(mine, theirs)))


def _column_hashes(column: pa.Array | pa.ChunkedArray) -> np.ndarray | None:
    if isinstance(column, pa.ChunkedArray):  # combine_chunks of an old pyarrow
        column = pa.concat_arrays(column.chunks)
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        unique = pc.dictionary_encode(column)
        codes = np.array([_string_hash(text) for text in unique.dictionary.to_pylist()] + [0], dtype=np.uint64)
        return codes[np.asarray(unique.indices.fill_null(len(codes) - 1))]
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _mix(np.asarray(column.fill_null(0)).astype(np.float64).view(np.uint64))
    if (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and pa.types.is_integer(kind.value_type):
        offsets = np.asarray(column.offsets)
        flat = np.asarray(column.values.fill_null(0)).astype(np.int64).view(np.uint64)
        lengths = np.diff(offsets)
        flat = flat[offsets[0] : offsets[-1]]
        place = np.arange(len(flat), dtype=np.uint64) - np.repeat(offsets[:-1] - offsets[0], lengths).astype(np.uint64)
        terms = _mix(flat + _mix(place))
        sums = np.concatenate([[np.uint64(0)], np.cumsum(terms, dtype=np.uint64)])
        ends = offsets - offsets[0]
        return sums[ends[1:]] - sums[ends[:-1]]
    return None


def _string_hash(text: str) -> int:
    # Not the built-in `hash`: it is salted per process, and ranks must agree.
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _mix(values: np.ndarray) -> np.ndarray:
    """A bijection of 64-bit integers that spreads nearby values (the finaliser of splitmix64,
    https://doi.org/10.1145/2714064.2660195).
    """
    z = values + _MULTIPLIER
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
