"""Read labels where no column is stored that holds them: from the items, as a model would receive them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from hf_otw.data.random_state import random_state_kept

#: Rows of which a transform must give the stored labels.
COMPARED_ROWS = 16
BATCH_ROWS = 256


class ItemsView:
    """The columns of interest of a map-style data set, each item read once.

    Args:
        dataset: yields dictionaries, or anything that `collate` makes a batch of.
        columns: names to keep, where an item has them.
        collate: the user's collator, for items that are no dictionaries: their labels are those of a batch of one.
        label_name: of the labels in such a batch.
    """

    def __init__(self, dataset: Any, columns: Sequence[str], collate: Callable[..., Any], label_name: str) -> None:
        self.dataset, self.columns, self.collate, self.label_name = dataset, tuple(columns), collate, label_name
        self._rows: list[dict[str, Any]] | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return self._read()[row]

    def take(self, rows: np.ndarray) -> ItemsView:
        """Some of the rows."""
        taken = ItemsView(torch.utils.data.Subset(self.dataset, rows.tolist()), *self._settings)
        values = self._read()
        taken._rows = [values[row] for row in rows.tolist()]
        return taken

    @property
    def _settings(self) -> tuple[tuple[str, ...], Callable[..., Any], str]:
        return self.columns, self.collate, self.label_name

    def _read(self) -> list[dict[str, Any]]:
        if self._rows is None:
            with random_state_kept():
                self._rows = [self._of(item) for item in _items(self.dataset)]
        return self._rows

    def _of(self, item: Any) -> dict[str, Any]:
        if isinstance(item, dict):
            return {name: item[name] for name in self.columns if name in item}
        batch = self.collate([item])
        if not isinstance(batch, Mapping) or self.label_name not in batch:
            return {}
        return {self.label_name: batch[self.label_name][0]}


def _items(dataset: Any) -> Any:
    if not isinstance(dataset, Dataset):
        yield from (dataset[row] for row in range(len(dataset)))
        return
    for start in range(0, len(dataset), BATCH_ROWS):
        batch = dataset[start : start + BATCH_ROWS]
        for k in range(len(next(iter(batch.values())))):
            yield {name: values[k] for name, values in batch.items()}


def readable(dataset: Any, columns: Sequence[str], collate: Callable[..., Any], label_name: str) -> Any:
    """A data set to read labels from: itself where its columns hold them, else a view of its items.

    A transform (`set_transform`, `with_transform`) may make other labels than those that are stored: this is looked at
    in a few rows, and each batch is compared once more in training.
    """
    if not isinstance(dataset, Dataset):
        return dataset if isinstance(dataset, ItemsView) else ItemsView(dataset, columns, collate, label_name)
    if dataset.format["type"] != "custom" or not len(dataset):
        return dataset
    stored = dataset.with_format(None)
    rows = np.unique(np.linspace(0, len(dataset) - 1, min(len(dataset), COMPARED_ROWS)).astype(int))
    with random_state_kept():
        same = all(_equal(_label(dataset[int(k)], columns), _label(stored[int(k)], columns)) for k in rows)
    return dataset if same else ItemsView(dataset, columns, collate, label_name)


def _label(item: Mapping[str, Any], columns: Sequence[str]) -> Any:
    return next((item[name] for name in columns if name in item), None)


def _equal(served: Any, stored: Any) -> bool:
    # A transform that serves no label leaves them to the collator: what is stored is all there is to read.
    if served is None or stored is None:
        return stored is not None or served is None
    a, b = np.asarray(served), np.asarray(stored)
    return a.shape == b.shape and bool((a == b).all())


def label_columns(
    dataset: Any, columns: Sequence[str], collate: Callable[..., Any], label_name: str, rows: int = 8
) -> tuple[str, ...]:
    """The names that labels are looked for under, the one that the collator makes the batch's labels of first.

    With both `label` and `labels` in a data set, collators differ in which of them they take.
    """
    names = tuple(dict.fromkeys(columns))
    if not len(dataset):
        return names
    with random_state_kept():
        first_item = dataset[0]
        present = [name for name in names if isinstance(first_item, dict) and name in first_item]
        if len(present) < 2:
            return names
        items = [dataset[row] for row in range(min(rows, len(dataset)))]
        batch = collate([dict(item) for item in items])
    served = batch.get(label_name) if isinstance(batch, Mapping) else None
    if served is None:
        return names
    first = [name for name in present if _equal(np.asarray(served).reshape(-1), _flat(items, name))]
    return (*first[:1], *(name for name in names if name not in first[:1]))


def _flat(items: Sequence[Any], name: str) -> np.ndarray:
    try:
        return np.asarray([np.asarray(item[name]) for item in items]).reshape(-1)
    except ValueError:  # of several lengths: no class each
        return np.zeros(0)
