"""What the trainer needs to know of its data sets, checked before any training."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor

from hf_otw._utils import required
from hf_otw.data.columns import check_dataset, column_names
from hf_otw.data.index import IndexedDataset, take_rows, with_example_index
from hf_otw.data.meta import MetaSet
from hf_otw.data.overlap import contents_digest, count_overlap
from hf_otw.data.split import rows_seen_elsewhere, split_meta
from hf_otw.tasks import LabelReader, Labels, LabelSource, Task
from hf_otw.tasks.base import join_rare
from hf_otw.weighting.target import check_classes


@dataclass(frozen=True)
class TrainingData:
    """The training set, indexed, without its meta split.

    `N` examples have `U` units, which is what carries a weight: one each, or one per labelled token.

    Attributes:
        train_dataset: rows to train on, with their `example_index`.
        indexed: all rows of the training set as given, with their `example_index`.
        labels: `(U,)`, class of each unit, of all rows as given.
        label_vectors: `(U, L)`, labels that are more than a class, or None.
        unit_counts: `(N,)`, units of each example; None for one each.
        train_rows: `(n,)`, row numbers trained on.
        meta: the meta set, or None where none is needed.
        meta_rows: row numbers split off for it; empty when it was given.
        class_names: `K` names.
        num_outputs: of the model's head; None for a language model.
    """

    train_dataset: Any
    indexed: Any
    labels: Tensor
    label_vectors: Tensor | None
    unit_counts: Tensor | None
    train_rows: np.ndarray
    meta: MetaSet | None
    meta_rows: np.ndarray
    class_names: list[str]
    num_outputs: int | None

    @property
    def num_classes(self) -> int:
        """`K`."""
        return len(self.class_names)

    @cached_property
    def train_units(self) -> Tensor:
        """Numbers of the units that are trained on, in order."""
        return self.units_of(torch.as_tensor(self.train_rows))

    @property
    def class_counts(self) -> list[int]:
        """Training units of each class, without the meta split."""
        return torch.bincount(self.labels[self.train_units], minlength=self.num_classes).tolist()

    @property
    def labels_digest(self) -> str:
        """Identifies the labels and the split: weights of another training set must not be loaded."""
        parts = [self.labels, torch.as_tensor(self.train_rows.astype(np.int64))]
        parts += [part for part in (self.label_vectors, self.unit_counts) if part is not None]
        return hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest()[:16]

    @cached_property
    def contents_digest(self) -> str | None:
        """Identifies the inputs: see `hf_otw.data.overlap.contents_digest`."""
        wrapped = isinstance(self.indexed, IndexedDataset)
        return contents_digest(self.indexed.dataset if wrapped else self.indexed)

    def state_header(self, weight_model: str) -> dict[str, Any]:
        """What must be equal when the weights in a checkpoint are loaded; `weight_model` is its name."""
        digests = {"labels_digest": self.labels_digest, "contents_digest": self.contents_digest}
        return {"weight_model": weight_model, "num_examples": len(self.labels), **digests}

    def subset(self, rows: Sequence[int] | np.ndarray) -> Any:
        """Rows of the training set as given."""
        return take_rows(self.indexed, np.asarray(rows))

    def units_of(self, rows: Tensor) -> Tensor:
        """Numbers of the units of some examples, in order. Shape: `(B,) -> (U,)`."""
        if self.unit_counts is None:
            return rows
        first, counts = self._first_unit.to(rows.device)[rows], self.unit_counts.to(rows.device)[rows]
        before = counts.cumsum(0) - counts  # units of the examples that stand before
        return torch.arange(int(counts.sum()), device=rows.device) + (first - before).repeat_interleave(counts)

    def examples_of(self, units: Tensor) -> Tensor:
        """Row numbers that some units belong to, ascending. Shape: `(U,) -> (B,)`."""
        if self.unit_counts is None:
            return units
        return torch.searchsorted(self._first_unit.to(units.device), units, right=True).sub(1).unique()

    def weight_column(self, name: str) -> Tensor:
        """Weights in a column of the training set, one per unit, shape `(U,)`.

        Raises:
            ValueError: no such column.
        """
        column = read_weight_column(self.indexed, name)
        return column if self.unit_counts is None else column.repeat_interleave(self.unit_counts)

    @cached_property
    def _first_unit(self) -> Tensor:
        counts = required(self.unit_counts, "units of each example")
        return counts.cumsum(0) - counts


def prepare_data(
    train_dataset: Any,
    meta_dataset: Any,
    eval_dataset: Any,
    *,
    task: Task,
    source: LabelSource,
    seed: int,
    meta_examples_per_class: int | None,
) -> TrainingData:
    """Index the training set, read its labels, and make or check the meta set.

    Args:
        train_dataset, meta_dataset, eval_dataset: as given to the trainer.
        task: what carries a weight.
        source: where labels come from.
        seed: of the draw of a meta set.
        meta_examples_per_class: size of a meta set that is split off; None where no meta set is needed.

    Raises:
        TypeError, ValueError: data that cannot be weighted; see the messages.
    """
    check_dataset(train_dataset, "train_dataset")
    reader = task.fit(train_dataset, source)
    labels = reader.read(train_dataset, "train_dataset")
    eval_sets = list(eval_dataset.values()) if isinstance(eval_dataset, dict) else [eval_dataset]
    eval_sets = [dataset for dataset in eval_sets if dataset is not None]

    train_rows, meta_rows, meta = np.arange(len(train_dataset)), np.array([], dtype=np.int64), None
    indexed = with_example_index(train_dataset)
    if meta_examples_per_class is not None and meta_dataset is not None:
        check_dataset(meta_dataset, "meta_dataset")
        meta = _meta_set(meta_dataset, reader, "meta_dataset")
        check_classes(labels.classes, meta.classes, meta.num_classes, reader.class_names)
        check_disjoint(meta_dataset, train_dataset, eval_sets)
    elif meta_examples_per_class is not None:
        check_classes(labels.classes, labels.classes, len(reader.class_names), reader.class_names)
        avoid = rows_seen_elsewhere(train_dataset, eval_sets)
        train_rows, meta_rows = split_meta(
            rarest_class(labels, len(reader.class_names)),
            len(reader.class_names),
            meta_examples_per_class,
            seed=seed,
            avoid=avoid,
            class_names=reader.class_names,
        )
        meta = _meta_set(take_rows(train_dataset, meta_rows), reader, "the split-off meta set")
        check_classes(labels.classes, meta.classes, meta.num_classes, reader.class_names)
    served = with_example_index(train_dataset, train_rows) if len(meta_rows) else indexed
    return TrainingData(
        served,
        indexed,
        *labels,
        train_rows,
        meta,
        meta_rows,
        reader.class_names,
        task.num_outputs(train_dataset, source),
    )


def rarest_class(labels: Labels, num_classes: int) -> Tensor:
    """The class that an example counts to when a balanced meta set is drawn: the rarest of its units', `(N,)`."""
    if labels.counts is None:
        return labels.classes
    rank = torch.bincount(labels.classes, minlength=num_classes).argsort(stable=True).argsort()
    example = torch.arange(len(labels.counts)).repeat_interleave(labels.counts)
    lowest = torch.full((len(labels.counts),), num_classes).scatter_reduce(0, example, rank[labels.classes], "amin")
    found = rank.argsort()[lowest]
    number, kept = join_rare(found, num_classes)
    return torch.tensor(kept)[number[found]]


def _meta_set(dataset: Any, reader: LabelReader, name: str) -> MetaSet:
    return MetaSet(dataset, reader.read(dataset, name), len(reader.class_names))


def check_disjoint(meta_dataset: Any, train_dataset: Any, eval_sets: Sequence[Any]) -> None:
    """Raise a ValueError where the meta set shares examples with the training set or an evaluation set."""
    for name, other in (("train_dataset", train_dataset), *(("eval_dataset", other) for other in eval_sets)):
        shared = count_overlap(meta_dataset, other)
        if shared:
            raise ValueError(
                f"Expected meta_dataset to be disjoint from {name}, but {shared} of {len(meta_dataset)} meta "
                f"examples also occur there. Remove them: "
                f"hf_otw.data.overlap.remove_overlap({name}, meta_dataset)."
            )


def read_weight_column(dataset: Any, name: str) -> Tensor:
    """Read one weight per row, shape `(N,)`.

    Raises:
        ValueError: no such column.
    """
    if name not in column_names(dataset):
        raise ValueError(
            f"Expected train_dataset to have the weights in a column {name!r}, got the columns "
            f"{column_names(dataset)}. Add it, or "
            "name another: weighting_kwargs={'column': name}."
        )
    if isinstance(dataset, Dataset):
        values = dataset.with_format(None)[name][:]
    else:
        values = [dataset[i][name] for i in range(len(dataset))]
    return torch.as_tensor(np.asarray(values, dtype=np.float64))
