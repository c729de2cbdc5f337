"""What the trainer needs to know of its data sets, checked before any training."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import ClassLabel, Dataset
from torch import Tensor

from hf_otw import data as data_module
from hf_otw.args import WeightingArguments
from hf_otw.factory import build_weight_model
from hf_otw.meta import MetaSet
from hf_otw.overlap import count_overlap
from hf_otw.presets import BASELINES
from hf_otw.target import check_classes


@dataclass(frozen=True)
class TrainingData:
    """The training set, indexed, without its meta split.

    Attributes:
        train_dataset: rows to train on, with their `example_index`.
        indexed: all rows of the training set as given, with their `example_index`.
        labels: `(N,)`, of all rows as given.
        train_rows: `(n,)`, row numbers trained on.
        meta: the meta set, or None where none is needed.
        meta_rows: row numbers split off for it; empty when it was given.
        num_classes: `K`.
        class_names: `K` names.
        weight_column: `(N,)` for `weighting="column"`.
    """

    train_dataset: Any
    indexed: Any
    labels: Tensor
    train_rows: np.ndarray
    meta: MetaSet | None
    meta_rows: np.ndarray
    num_classes: int
    class_names: list[str]
    weight_column: Tensor | None

    @property
    def class_counts(self) -> list[int]:
        """Training examples of each class, without the meta split."""
        return torch.bincount(self.labels[self.train_rows], minlength=self.num_classes).tolist()

    @property
    def labels_digest(self) -> str:
        """Identifies the labels and the split: weights of another training set must not be loaded."""
        return hashlib.sha256(self.labels.numpy().tobytes() + self.train_rows.astype(np.int64).tobytes()).hexdigest()[
            :16
        ]

    def subset(self, rows: Sequence[int]) -> Any:
        """Rows of the training set as given."""
        return data_module.take_rows(self.indexed, np.asarray(rows))


def prepare_data(
    train_dataset: Any,
    meta_dataset: Any,
    eval_dataset: Any,
    options: WeightingArguments,
    *,
    config: Any,
    label_names: Sequence[str],
    seed: int,
    needs_meta: bool,
) -> TrainingData:
    """Index the training set, read its labels, and make or check the meta set.

    Raises:
        TypeError, ValueError: data that cannot be weighted; see the messages.
    """
    data_module.check_dataset(train_dataset, "train_dataset")
    columns = (*label_names, "label", "labels")
    labels = data_module.read_labels(train_dataset, "train_dataset", columns)
    num_classes = _num_classes(config, labels)
    names = _class_names(config, train_dataset, columns, num_classes)
    check_range(labels, num_classes, "train_dataset")
    eval_sets = (
        list(eval_dataset.values())
        if isinstance(eval_dataset, dict)
        else [eval_dataset]
        if eval_dataset is not None
        else []
    )

    train_rows, meta_rows, meta = np.arange(len(labels)), np.array([], dtype=np.int64), None
    indexed = data_module.with_example_index(train_dataset)
    if needs_meta and meta_dataset is not None:
        data_module.check_dataset(meta_dataset, "meta_dataset")
        meta_labels = data_module.read_labels(meta_dataset, "meta_dataset", columns)
        check_classes(labels, meta_labels, num_classes, names)
        check_disjoint(meta_dataset, train_dataset, eval_sets)
        meta = MetaSet(meta_dataset, meta_labels, num_classes)
    elif needs_meta:
        check_classes(labels, labels, num_classes, names)
        avoid = data_module.rows_seen_elsewhere(train_dataset, eval_sets)
        split = data_module.split_meta(
            labels, num_classes, options.meta_examples_per_class, seed=seed, avoid=avoid, class_names=names
        )
        train_rows, meta_rows = split
        meta = MetaSet(data_module.take_rows(train_dataset, meta_rows), labels[meta_rows], num_classes)
    column = read_weight_column(train_dataset, options.weight_column) if options.weighting == "column" else None
    served = data_module.with_example_index(train_dataset, train_rows) if len(meta_rows) else indexed
    found = TrainingData(served, indexed, labels, train_rows, meta, meta_rows, num_classes, names, column)
    if options.weighting in BASELINES:  # built again when training starts; refused here, before anything is lost
        build_weight_model(options, labels, found.class_counts, feature_dim=0, column=column, seed=seed)
    return found


def check_range(labels: Tensor, num_classes: int, name: str) -> None:
    """Raise a ValueError for labels outside `0..K-1`."""
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise ValueError(
            f"Expected labels 0..{num_classes - 1} in {name} (the model has num_labels={num_classes}), got "
            f"{low}..{high}. Encode the classes as "
            "0..K-1 and load the model with num_labels=K."
        )


def check_disjoint(meta_dataset: Any, train_dataset: Any, eval_sets: Sequence[Any]) -> None:
    """Raise a ValueError where the meta set shares examples with the training set or an evaluation set."""
    for name, other in (("train_dataset", train_dataset), *(("eval_dataset", other) for other in eval_sets)):
        shared = count_overlap(meta_dataset, other)
        if shared:
            raise ValueError(
                f"Expected meta_dataset to be disjoint from {name}, but {shared} of {len(meta_dataset)} meta "
                f"examples also occur there. Remove them: "
                f"hf_otw.overlap.remove_overlap({name}, meta_dataset)."
            )


def read_weight_column(dataset: Any, name: str) -> Tensor:
    """Read one weight per row, shape `(N,)`.

    Raises:
        ValueError: no such column.
    """
    if name not in data_module.column_names(dataset):
        raise ValueError(
            f"Expected train_dataset to have the weights in a column {name!r}, got the columns "
            f"{data_module.column_names(dataset)}. Add it, or "
            "set `weight_column`."
        )
    if isinstance(dataset, Dataset):
        values = dataset.with_format(None)[name][:]
    else:
        values = [dataset[i][name] for i in range(len(dataset))]
    return torch.as_tensor(np.asarray(values, dtype=np.float64))


def _num_classes(config: Any, labels: Tensor) -> int:
    return int(labels.max()) + 1 if config is None else int(config.num_labels)


def _class_names(config: Any, dataset: Any, columns: Sequence[str], num_classes: int) -> list[str]:
    if isinstance(dataset, Dataset):
        for column in columns:
            feature = dataset.features.get(column)
            if isinstance(feature, ClassLabel) and feature.num_classes == num_classes:
                return list(feature.names)
    if config is not None:
        return [str(config.id2label.get(k, k)) for k in range(num_classes)]
    return [str(k) for k in range(num_classes)]
