"""Row numbers: a stable index for every example, kept through subsets and collators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import Dataset as TorchDataset

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
