"""Arrays of one shape in a `datasets.Dataset`: read at once, and served as NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from datasets import Array2D, Array3D, Dataset, DatasetInfo, Features, List, Value


def read_array(rows: Dataset, names: Sequence[str], shape: tuple[int, ...] | None = None) -> np.ndarray:
    """All values of the first of `names` that is a column, `(N, ...)`.

    Args:
        rows: lists, arrays or images, all of one shape.
        names: what the column may be called.
        shape: of one example, for lists that were flattened.

    Raises:
        ValueError: no such column, or values of several shapes.
    """
    name = next((name for name in names if name in rows.column_names), None)
    if name is None:
        raise ValueError(
            f"Expected a column {' or '.join(names)}, got {rows.column_names}. Rename yours in `source.columns`."
        )
    values = [np.asarray(value) for value in rows.with_format("numpy", columns=[name])[name][:]]
    shapes = {value.shape for value in values}
    if len(shapes) != 1:
        raise ValueError(f"Expected {name!r} to have one shape, got {sorted(shapes)[:5]}. Crop or pad the source.")
    array = np.stack(values)
    return array if shape is None else array.reshape(len(array), *shape)


def with_array(rows: Dataset, name: str, array: np.ndarray) -> Dataset:
    """The columns of `rows` and an array `(N, ...)` of one to three more dimensions, served as NumPy."""
    shape, kind = array.shape[1:], str(array.dtype)
    # Nested Arrow lists over the bytes as they are: `Dataset.from_dict` goes through Python, number by number.
    storage = pa.array(array.reshape(-1))
    for length in reversed(shape):
        storage = pa.ListArray.from_arrays(np.arange(0, len(storage) + 1, length, dtype=np.int32), storage)
    feature: Any = List(Value(kind))
    if len(shape) > 1:
        feature = {2: Array2D, 3: Array3D}[len(shape)](shape=shape, dtype=kind)
        storage = pa.ExtensionArray.from_storage(feature(), storage)
    made = Dataset(pa.table({name: storage}), info=DatasetInfo(features=Features({name: feature})))
    others = rows.with_format(None)
    for other in rows.column_names:
        if other != name:
            made = made.add_column(other, others[other][:], feature=rows.features[other])
    return made.with_format("numpy")


def stack(items: list[dict[str, Any]], name: str) -> torch.Tensor:
    """One column of a batch, `(B, ...)`."""
    return torch.from_numpy(np.stack([np.asarray(item[name]) for item in items]))


def labels_of(items: list[dict[str, Any]], name: str = "label") -> dict[str, torch.Tensor]:
    """The labels of a batch, `(B,)`, as models call them; nothing where the rows have none."""
    return {"labels": torch.tensor([item[name].item() for item in items])} if name in items[0] else {}
