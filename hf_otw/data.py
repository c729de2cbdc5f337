"""Data sets: labels, the stable row number, the meta split, and overlap between sets."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import datasets
import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import Dataset as TorchDataset

from hf_otw.overlap import row_hashes

logger = logging.getLogger(__name__)

EXAMPLE_INDEX = "example_index"


class IndexedDataset(TorchDataset[dict[str, Any]]):
    """A map-style data set of dictionaries, with each item's row number added.

    Args:
        dataset: yields dictionaries.
        rows: the rows to serve; all by default.
    """

    def __init__(self, dataset: Any, rows: Sequence[int] | np.ndarray | None = None) -> None:
        self.dataset = dataset
        self.rows = list(range(len(dataset))) if rows is None else [int(row) for row in rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> dict[str, Any]:
        row = self.rows[position]
        return {**self.dataset[row], EXAMPLE_INDEX: row}


class IndexCollator:
    """Carries `example_index` past a collator that does not know it: many keep only the keys that their model takes.

    Args:
        collate: the user's collator.
        hidden: a column that only the weighting reads, kept from the collator: it could not make tensors of it.
    """

    def __init__(self, collate: Callable[[list[Any]], Any], hidden: str | None = None) -> None:
        self.collate, self.hidden = collate, (EXAMPLE_INDEX, hidden)

    def __getattr__(self, name: str) -> Any:
        # What else the user's collator has: the Trainer saves its tokenizer beside the model.
        if name == "collate":  # not there yet while a copy is made
            raise AttributeError(name)
        return getattr(self.collate, name)

    def __call__(self, items: list[Any]) -> Any:
        """Collate, and put the row numbers back beside what the collator returns."""
        index = [item[EXAMPLE_INDEX] for item in items if EXAMPLE_INDEX in item]
        if any(name in items[0] for name in self.hidden):
            items = [{name: value for name, value in item.items() if name not in self.hidden} for item in items]
        batch = self.collate(items)
        if len(index) != len(items):
            return batch
        batch[EXAMPLE_INDEX] = torch.tensor(index)
        return batch


class MetaSplit(NamedTuple):
    """Row numbers of the two parts of a training set, disjoint, both sorted."""

    train_rows: np.ndarray
    meta_rows: np.ndarray


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
    return list(dataset[0]) if len(dataset) and isinstance(dataset[0], dict) else []


def with_example_index(dataset: Any, rows: np.ndarray | None = None) -> Any:
    """Return the given rows of a data set with their row numbers in a column `example_index`.

    Row numbers are those of `dataset` as it was given, whatever subset is served.
    """
    if (
        not isinstance(dataset, Dataset)
        or dataset.format["type"] == "custom"
        or "dtype" in dataset.format["format_kwargs"]
    ):
        # Add ours behind a custom transform, which decides its columns, and a dtype, which row numbers may not fit.
        return IndexedDataset(dataset, rows)
    if EXAMPLE_INDEX in dataset.column_names:
        dataset = dataset.remove_columns(EXAMPLE_INDEX)
    indexed = dataset.add_column(EXAMPLE_INDEX, np.arange(len(dataset)))
    return indexed if rows is None else indexed.select(rows)


def take_rows(dataset: Any, rows: np.ndarray) -> Any:
    """Return a subset of a data set."""
    return dataset.select(rows) if isinstance(dataset, Dataset) else torch.utils.data.Subset(dataset, rows.tolist())


def split_meta(
    labels: torch.Tensor,
    num_classes: int,
    per_class: int,
    *,
    seed: int,
    avoid: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
) -> MetaSplit:
    """Draw a class-balanced meta set from the training rows.

    A class with fewer than `2 * per_class` usable rows gives half of them, with a warning.

    Args:
        labels: `(N,)`.
        num_classes: `K`.
        per_class: meta examples of each class.
        seed: of the draw; the global random state is not touched.
        avoid: `(N,)` bool, rows that must stay in training (texts that also occur elsewhere).
        class_names: for messages.

    Raises:
        ValueError: a class with fewer than two usable rows: it cannot be both trained on and in the meta set.
    """
    generator = np.random.default_rng(seed)
    y = labels.numpy()
    usable = np.ones(len(y), dtype=bool) if avoid is None else ~avoid
    chosen, short = [], []
    for k in range(num_classes):
        rows = np.flatnonzero((y == k) & usable)
        total = int((y == k).sum())
        if total == 0:  # a class of tokens, of which every sequence also has a rarer one
            continue
        take = min(per_class, len(rows), total // 2)
        name = class_names[k] if class_names else str(k)
        if take == 0:
            raise ValueError(
                f"Expected at least 2 distinct training examples of every class, to train on and to split off the "
                f"meta set, but class {name} "
                f"has {total}. Pass a `meta_dataset` of your own, or remove the class."
            )
        if take < per_class:
            short.append(f"{name}: {take}")
        chosen.append(generator.permutation(rows)[:take])
    if short:
        logger.warning(
            "The meta set has fewer than %d examples of %d classes (%s): they have too few training examples. "
            "Collect more, or lower "
            "`meta_examples_per_class`.",
            per_class,
            len(short),
            ", ".join(short[:10]),
        )
    meta_rows = np.sort(np.concatenate(chosen))
    return MetaSplit(np.setdiff1d(np.arange(len(y)), meta_rows), meta_rows)


def rows_seen_elsewhere(dataset: Any, others: Sequence[Any]) -> np.ndarray:
    """`(N,)` bool: rows whose inputs occur twice in `dataset`, or in one of `others`; all False where contents cannot
    be compared.
    """
    own = row_hashes(dataset)
    if own is None:
        return np.zeros(len(dataset), dtype=bool)
    values, inverse, counts = np.unique(own, return_inverse=True, return_counts=True)
    seen = counts[inverse] > 1
    for other in others:
        # On the columns that both have: one more column in either would make every row look new.
        own, hashes = row_hashes(dataset, like=other), row_hashes(other, like=dataset)
        if own is not None and hashes is not None:
            seen |= np.isin(own, hashes)
    return seen
