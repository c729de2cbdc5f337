"""Read columns and labels of data sets."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import datasets
import numpy as np
import torch
from datasets import Dataset

logger = logging.getLogger(__name__)


def check_dataset(dataset: Any, name: str) -> None:
    """Raise a TypeError for data sets that cannot be weighted example by example."""
    if isinstance(dataset, (datasets.DatasetDict, datasets.IterableDatasetDict, dict)):
        raise TypeError(
            f"Expected {name} to be one data set, got a {type(dataset).__name__} with the splits {list(dataset)}. "
            f"Pass one of them, such as "
            f"dataset[{next(iter(dataset), 'train')!r}]."
        )
    if isinstance(dataset, (datasets.IterableDataset, torch.utils.data.IterableDataset)):
        raise TypeError(
            f"Expected {name} to have a length and stable row numbers, got the stream {type(dataset).__name__}: a "
            f"weight cannot be kept for an "
            "example that has no index. Materialise the stream (`Dataset.from_generator`), or use weighting='none'."
        )


def read_labels(dataset: Any, name: str, label_names: Iterable[str] = ("labels", "label")) -> torch.Tensor:
    """Read all labels, shape `(N,)`, int64.

    Args:
        dataset: a `datasets.Dataset`, or a map-style data set of dictionaries (each item is read once).
        name: how to call it in errors.
        label_names: columns to look for, in this order.

    Raises:
        ValueError: no such column, or labels that are not integers.
    """
    column, values = read_column(dataset, name, label_names)
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.dtype == bool:
        array = array.astype(np.int64)
    if np.issubdtype(array.dtype, np.floating) and np.isfinite(array).all() and (array == np.round(array)).all():
        array = array.astype(np.int64)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(
            f"Expected one integer label per example in column {column!r} of {name}, got {array.dtype} of shape "
            f"{array.shape}. Encode the classes as 0..K-1, or name the task if it is not single-label classification "
            "(`task`)."
        )
    return torch.from_numpy(array.astype(np.int64))


def read_column(dataset: Any, name: str, columns: Iterable[str]) -> tuple[str, Any]:
    """The first of `columns` that a data set has: its name and all its values.

    Args:
        dataset: a `datasets.Dataset`, or a map-style data set of dictionaries (each item is read once).
        name: how to call it in errors.
        columns: to look for, in this order.

    Raises:
        ValueError: no such column.
    """
    column = _first_column(dataset, columns)
    if column is None:
        raise ValueError(
            f"Expected {name} to have a label column ({' or '.join(columns)}), got the columns "
            f"{column_names(dataset)}. Rename yours: "
            'dataset.rename_column("...", "labels").'
        )
    if isinstance(dataset, Dataset):
        return column, dataset.with_format(None)[column][:]
    return column, [_plain(dataset[i][column]) for i in range(len(dataset))]


def read_lists(dataset: Any, name: str, columns: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """A column of lists of integers of any length: all values in one array `(U,)`, and the lengths `(N,)`.

    Raises:
        ValueError: no such column, or values that are not lists of integers.
    """
    column, lists = read_column(dataset, name, columns)
    try:
        lengths = np.array([len(values) for values in lists], dtype=np.int64)
        flat = np.concatenate([np.asarray(values) for values in lists])
    except (TypeError, ValueError):
        lengths, flat = np.zeros(0, dtype=np.int64), np.zeros(0)
    if not np.issubdtype(flat.dtype, np.integer) or flat.ndim != 1:
        raise ValueError(
            f"Expected a list of integer labels per example in column {column!r} of {name}, got {lists[0]!r}. Give "
            "every token its class, and -100 where it has none."
        )
    return flat.astype(np.int64), lengths


def read_item(dataset: Any, columns: Iterable[str]) -> Any:
    """The label of the first example, None where there is no label column."""
    column = _first_column(dataset, columns)
    if column is None or not len(dataset):
        return None
    item = dataset.with_format(None)[0] if isinstance(dataset, Dataset) else dataset[0]
    return _plain(item[column])


def _first_column(dataset: Any, columns: Iterable[str]) -> str | None:
    present = column_names(dataset)
    return next((c for c in columns if c in present), None)


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, (torch.Tensor, np.ndarray)) else value


def column_names(dataset: Any) -> list[str]:
    """Columns of a `datasets.Dataset`, or the keys of the first item of a map-style data set."""
    if isinstance(dataset, Dataset):
        return list(dataset.column_names)
    first = dataset[0] if len(dataset) else None
    return list(first) if isinstance(first, dict) else []
