"""What the trainer needs to know of its data sets, checked before any training."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor

from hf_otw._utils import required
from hf_otw.checkpoint import SPLIT
from hf_otw.data.classes import HeadClasses, present
from hf_otw.data.columns import check_dataset, column_names, read_column
from hf_otw.data.index import IndexedDataset, take_rows, with_example_index
from hf_otw.data.items import ItemsView
from hf_otw.data.meta import MetaSet
from hf_otw.data.overlap import contents_digest, count_overlap
from hf_otw.data.split import MetaSplit, copies_of, rows_seen_in, split_meta
from hf_otw.tasks import Labels, LabelSource, Task
from hf_otw.tasks.base import IGNORED, join_rare
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
        train_rows: `(n,)`, row numbers trained on with weights that are learned.
        unweighted_rows: row numbers trained on with weight 1: without a label, or alone in their class.
        meta: the meta set, or None where none is needed.
        meta_rows: row numbers split off for it; empty when it was given.
        class_names: `K` names.
        num_outputs: of the model's head; None for a language model.
        head_classes: the classes of the model's head, where they are not those that are balanced; None where they are.
        row_labels: `(N, ...)`, labels as a batch holds them, or None where a collator makes them.
    """

    train_dataset: Any
    indexed: Any
    labels: Tensor
    label_vectors: Tensor | None
    unit_counts: Tensor | None
    train_rows: np.ndarray
    unweighted_rows: np.ndarray
    meta: MetaSet | None
    meta_rows: np.ndarray
    class_names: list[str]
    num_outputs: int | None
    head_classes: HeadClasses | None
    row_labels: Tensor | None

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
        """Identifies the labels: weights of another training set must not be loaded."""
        parts = [self.labels, *(part for part in (self.label_vectors, self.unit_counts) if part is not None)]
        return hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest()[:16]

    @cached_property
    def contents_digest(self) -> str | None:
        """Identifies the inputs: see `hf_otw.data.overlap.contents_digest`."""
        wrapped = isinstance(self.indexed, IndexedDataset)
        return contents_digest(self.indexed.dataset if wrapped else self.indexed)

    def state_header(self, weight_model: str) -> dict[str, Any]:
        """What must be equal when the weights in a checkpoint are loaded; `weight_model` is its name."""
        rows = hashlib.sha256(self.train_rows.astype(np.int64).tobytes()).hexdigest()[:16]
        digests = {
            "labels_digest": self.labels_digest,
            SPLIT: rows,
            "contents_digest": self.contents_digest,
        }
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
    view: Callable[[Any], Any],
    seed: int,
    meta_examples_per_class: int | None,
    keeps_numbers: bool,
) -> TrainingData:
    """Index the training set, read its labels, and make or check the meta set.

    Args:
        train_dataset, meta_dataset, eval_dataset: as given to the trainer.
        task: what carries a weight.
        source: where labels come from.
        view: what to read the labels of a data set from.
        seed: of the draw of a meta set.
        meta_examples_per_class: size of a meta set that is split off; None where no meta set is needed.
        keeps_numbers: serve as many rows as were given, for a sampler of the user's: each row of the meta split stands
            for a training row of its class.

    Raises:
        TypeError, ValueError: data that cannot be weighted; see the messages.
    """
    check_dataset(train_dataset, "train_dataset")
    seen = view(train_dataset)
    reader = task.fit(seen, source)
    found = reader.read(seen, "train_dataset")
    rows = _Rows(found, len(train_dataset), len(reader.class_names))
    eval_sets = list(eval_dataset.values()) if isinstance(eval_dataset, dict) else [eval_dataset]
    eval_sets = [dataset for dataset in eval_sets if dataset is not None]

    split = MetaSplit(np.flatnonzero(rows.labelled), np.array([], dtype=np.int64), np.flatnonzero(~rows.labelled))
    meta_labels, meta_items = None, meta_dataset
    if meta_examples_per_class is not None and meta_dataset is not None:
        check_dataset(meta_dataset, "meta_dataset")
        check_disjoint(meta_dataset, train_dataset, eval_sets)
        meta_labels = reader.read(view(meta_dataset), "meta_dataset")
    elif meta_examples_per_class is not None:
        split = split_meta(
            rarest_class(rows.weighed, rows.num_classes),
            rows.num_classes,
            meta_examples_per_class,
            seed=seed,
            copies=copies_of(train_dataset),
            avoid=rows_seen_in(train_dataset, eval_sets),
            labelled=rows.labelled,
            class_names=reader.class_names,
            keep_single_rows=found.counts is None,
        )
        meta_items = take_rows(train_dataset, split.meta_rows)
        meta_labels = reader.read(_taken(seen, split.meta_rows), "the split-off meta set")
    labels, meta_labels, kept = rows.numbered(split.train_rows, meta_labels, reader.class_names)
    meta = None if meta_labels is None else MetaSet(meta_items, meta_labels, len(kept))
    trained = np.union1d(split.train_rows, split.unweighted_rows)
    served = replaced(trained, split.meta_rows, rows.classes.numpy()) if keeps_numbers else trained
    whole = np.array_equal(served, np.arange(len(train_dataset)))
    return TrainingData(
        with_example_index(train_dataset, None if whole else served),
        with_example_index(train_dataset),
        *labels,
        split.train_rows,
        split.unweighted_rows,
        meta,
        split.meta_rows,
        [reader.class_names[k] for k in kept],
        task.num_outputs(seen, source),
        rows.head_classes(trained, split.unweighted_rows, kept) if task.has_head_classes else None,
        row_labels(seen, source) if task.labels_per_row else None,
    )


class _Rows:
    """The rows of a training set, some of which may have no label."""

    def __init__(self, labels: Labels, num_rows: int, num_classes: int) -> None:
        self.labels, self.num_rows, self.num_classes = labels, num_rows, num_classes
        labelled = labels.classes != IGNORED if labels.counts is None else labels.counts > 0
        self.labelled = labelled.numpy()
        self.weighed = labels._replace(classes=labels.classes.clamp_min(0))

    @property
    def classes(self) -> Tensor:
        """The class of each row, `(N,)`."""
        return rarest_class(self.weighed, self.num_classes)

    def numbered(
        self, train_rows: np.ndarray, meta: Labels | None, names: list[str]
    ) -> tuple[Labels, Labels | None, list[int]]:
        """Labels of the training and the meta set by the number of their class among those that are trained on."""
        units = _units(self.labels.counts, train_rows, self.num_rows)
        trained = self.weighed.classes[units]
        number, kept = present(trained, self.num_classes)
        if meta is not None:
            check_range(meta.classes, self.num_classes, names)
            if (number[meta.classes] < 0).any():  # of a class that is not trained on
                check_classes(trained, meta.classes, self.num_classes, names)
            meta = meta._replace(classes=number[meta.classes])
            check_classes(number[trained], meta.classes, len(kept), [names[k] for k in kept])
        classes = number[self.weighed.classes].clamp_min(0)
        return self.weighed._replace(classes=classes), meta, kept

    def head_classes(self, trained: np.ndarray, unweighted: np.ndarray, kept: list[int]) -> HeadClasses | None:
        """The classes as the head numbers them, None where the weighting numbers them alike."""
        if len(kept) == self.num_classes and not len(unweighted):
            return None
        mask = torch.zeros(len(self.labels.classes), dtype=torch.bool)
        mask[_units(self.labels.counts, trained, self.num_rows)] = True
        return HeadClasses(self.labels.classes, mask, self.num_classes)


def check_range(meta_classes: Tensor, num_classes: int, names: list[str]) -> None:
    """Raise a ValueError for meta labels outside of the model's classes."""
    low, high = int(meta_classes.min()), int(meta_classes.max())
    if low < 0 or high >= num_classes:
        raise ValueError(
            f"Expected labels 0..{num_classes - 1} in the meta set, got {low}..{high}. Encode its classes as those of "
            f"the training set: {', '.join(names[:10])}."
        )


def _units(counts: Tensor | None, rows: np.ndarray, num_rows: int) -> Tensor:
    if counts is None:
        return torch.as_tensor(rows)
    mask = torch.zeros(num_rows, dtype=torch.bool)
    mask[torch.as_tensor(rows)] = True
    return mask.repeat_interleave(counts).nonzero().flatten()


def _taken(seen: Any, rows: np.ndarray) -> Any:
    return seen.take(rows) if isinstance(seen, ItemsView) else take_rows(seen, rows)


def replaced(trained: np.ndarray, meta_rows: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """All row numbers in order, each one of the meta set replaced by one of its class that is trained on.

    Rows that are neither (copies of a meta row) are replaced as well.
    """
    total = int(max(trained.max(initial=-1), meta_rows.max(initial=-1))) + 1
    served = np.arange(max(total, len(classes)))
    missing = np.setdiff1d(served, trained)
    for k in np.unique(classes[missing]):
        own, of_class = missing[classes[missing] == k], trained[classes[trained] == k]
        served[own] = np.resize(of_class if len(of_class) else trained, len(own))
    return served


def row_labels(dataset: Any, source: LabelSource) -> Tensor | None:
    """Labels as a batch holds them, `(N, ...)`, or None where they have no common shape."""
    try:
        values = np.asarray(read_column(dataset, "train_dataset", source.columns)[1])
    except ValueError:
        return None
    return torch.as_tensor(values) if values.dtype.kind in "biuf" else None


def rarest_class(labels: Labels, num_classes: int) -> Tensor:
    """The class that an example counts to when a balanced meta set is drawn: the rarest of its units', `(N,)`."""
    if labels.counts is None:
        return labels.classes
    rank = torch.bincount(labels.classes, minlength=num_classes).argsort(stable=True).argsort()
    example = torch.arange(len(labels.counts)).repeat_interleave(labels.counts)
    lowest = torch.full((len(labels.counts),), num_classes).scatter_reduce(0, example, rank[labels.classes], "amin")
    found = rank.argsort()[lowest.clamp_max(num_classes - 1)]  # of a row without labels, any
    number, kept = join_rare(found, num_classes)
    return torch.tensor(kept)[number[found]]


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
