"""Row numbers: a stable index for every example, kept through subsets and collators."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from hf_otw.data.order import rows_by_content
from hf_otw.data.random_state import random_state_kept

logger = logging.getLogger(__name__)

EXAMPLE_INDEX = "example_index"
KEEP_IT = (
    f"Let the collator keep {EXAMPLE_INDEX!r}: "
    f"batch[{EXAMPLE_INDEX!r}] = torch.tensor([item[{EXAMPLE_INDEX!r}] for item in items])."
)


class Numbered(NamedTuple):
    """An item that is no dictionary, and its row number."""

    item: Any
    row: int


class IndexedDataset(TorchDataset[Any]):
    """A map-style data set with each item's row number added.

    Args:
        dataset: yields dictionaries, or items of any other kind, which become `Numbered`.
        rows: the rows to serve; all by default.
    """

    def __init__(self, dataset: Any, rows: Sequence[int] | np.ndarray | None = None) -> None:
        self.dataset = dataset
        self.rows = list(range(len(dataset))) if rows is None else [int(row) for row in rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> Any:
        row = self.rows[position]
        return _numbered(self.dataset[row], row)

    def __getitems__(self, positions: Sequence[int]) -> list[Any]:
        """A whole batch, in one call of the data set where it offers that: it may tokenise a batch at once."""
        rows = [self.rows[position] for position in positions]
        fetch = getattr(self.dataset, "__getitems__", None)
        items = [self.dataset[row] for row in rows] if fetch is None else fetch(rows)
        return [_numbered(item, row) for item, row in zip(items, rows, strict=True)]


def _numbered(item: Any, row: int) -> Any:
    item = item.item if isinstance(item, Numbered) else item
    return {**item, EXAMPLE_INDEX: row} if isinstance(item, dict) else Numbered(item, row)


class IndexCollator:
    """Carries row numbers past the user's collator, and checks that they are still those of their rows.

    A collator that keeps all keys gets them as one more: whatever it does to the order, they follow. Of others the
    first batch shows whether they keep the order of their items; if not, rows are recognised by their content.

    Args:
        collate: the user's collator.
        hidden: a column that only the weighting reads, kept from the collator: it could not make tensors of it.
        labels: `(N,)` or `(N, L)`, the labels by row number, or None where they are made by the collator.
        label_name: of the labels in a batch.
    """

    def __init__(
        self,
        collate: Callable[[list[Any]], Any],
        hidden: str | None = None,
        *,
        labels: Tensor | None = None,
        label_name: str = "labels",
    ) -> None:
        self.collate, self.hidden = collate, hidden
        self.labels, self.label_name = labels, label_name
        self._carries: bool | None = None
        self._by_content = False

    def __getattr__(self, name: str) -> Any:
        # What else the user's collator has: the Trainer saves its tokenizer beside the model.
        if name == "collate":  # not there yet while a copy is made
            raise AttributeError(name)
        return getattr(self.collate, name)

    def __call__(self, items: list[Any]) -> Any:
        """Collate, with the row number of each row of the batch.

        Raises:
            ValueError: rows that cannot be told apart, or labels that are not those of the training set.
        """
        batch = self.numbered(items)
        if self.labels is not None and isinstance(batch, Mapping) and EXAMPLE_INDEX in batch:
            self._check_labels(batch[EXAMPLE_INDEX], batch.get(self.label_name))
        return batch

    def numbered(self, items: list[Any]) -> Any:
        """The same without a check of labels, for items that are numbered by something else than rows."""
        index = [_row_of(item) for item in items]
        bare = [self._bare(item) for item in items]
        if None in index:
            return self.collate(bare)
        if self._carries is None:
            self._find_out(items, bare)
        if self._carries:
            batch = self.collate([{**item, EXAMPLE_INDEX: row} for item, row in zip(bare, index, strict=True)])
            batch[EXAMPLE_INDEX] = batch[EXAMPLE_INDEX].reshape(-1)
            return batch
        by_content = [dict(item) if isinstance(item, dict) else item for item in bare] if self._by_content else []
        batch = self.collate(bare)
        numbers = torch.tensor(index)
        if self._by_content:
            with random_state_kept():
                rows = rows_by_content(batch, by_content, self.collate)
            if rows is None:
                raise ValueError(f"Expected rows of a batch that equal their items, got others. {KEEP_IT}")
            numbers = numbers[rows]
        batch[EXAMPLE_INDEX] = numbers
        return batch

    def _bare(self, item: Any) -> Any:
        if isinstance(item, Numbered):
            return item.item
        left_out = (EXAMPLE_INDEX, self.hidden)
        return {k: v for k, v in item.items() if k not in left_out} if isinstance(item, dict) else item

    def _find_out(self, items: list[Any], bare: list[Any]) -> None:
        """Does the collator carry one more key; if not, does it keep the order? Asked of the first batch."""
        copies = [dict(item) if isinstance(item, dict) else item for item in bare]

        def fresh() -> list[Any]:
            return [dict(item) if isinstance(item, dict) else item for item in copies]

        with random_state_kept():
            plain = self.collate(fresh())
            if all(isinstance(item, dict) for item in bare) and self._carried(items, fresh(), plain):
                self._carries = True
                return
            if len(items) < 2:  # one item has no order: look again
                return
            self._carries = False
            rows = rows_by_content(plain, fresh(), self.collate) if isinstance(plain, Mapping) else None
        if rows is not None and rows != list(range(len(items))):
            self._by_content = True
            logger.warning(
                "The data collator changes the rows of a batch: they are recognised by content. %s", KEEP_IT
            )

    def _carried(self, items: list[Any], bare: list[Any], plain: Any) -> bool:
        numbers = [_row_of(item) for item in items]
        try:
            batch = self.collate([{**item, EXAMPLE_INDEX: row} for item, row in zip(bare, numbers, strict=True)])
        except (TypeError, ValueError, LookupError, RuntimeError, AttributeError, AssertionError):
            return False
        if not isinstance(batch, Mapping) or EXAMPLE_INDEX not in batch:
            return False
        index = batch[EXAMPLE_INDEX]
        if (
            not isinstance(index, Tensor)
            or index.is_floating_point()
            or not set(index.flatten().tolist()) <= set(numbers)
        ):
            return False
        # A collator that makes features of all numbers would take this one for a feature.
        return {name: _shape(value) for name, value in batch.items() if name != EXAMPLE_INDEX} == {
            name: _shape(value) for name, value in plain.items()
        }

    def _check_labels(self, index: Tensor, served: Any) -> None:
        labels = self.labels
        if labels is None or not isinstance(served, Tensor) or len(served) != len(index):
            return
        expected = labels[index]
        if served.numel() != expected.numel():
            return
        served = served.reshape(expected.shape).to(expected.dtype)
        same = (
            torch.isclose(served, expected, rtol=1e-2, atol=1e-6)
            if expected.is_floating_point()
            else served == expected
        )
        wrong = int((~same.reshape(len(index), -1).all(dim=1)).sum())
        if wrong:
            raise ValueError(
                f"Expected the labels that train_dataset has for the rows of a batch, but {wrong} of {len(index)} are "
                "others: the collator changes the order of the rows or the labels, or a transform makes new ones at "
                f"each reading. {KEEP_IT} Make labels once, before training."
            )


def _row_of(item: Any) -> int | None:
    if isinstance(item, Numbered):
        return item.row
    row = item.get(EXAMPLE_INDEX) if isinstance(item, dict) else None
    return None if row is None else int(row)


def _shape(value: Any) -> Any:
    return tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__


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
