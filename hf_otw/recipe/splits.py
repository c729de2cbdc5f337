"""From the splits as published to those of a run: caps, long tail, wrong labels, the clean meta set, the hold-out."""

from __future__ import annotations

import numpy as np
import torch
from datasets import ClassLabel, Dataset, DatasetDict, concatenate_datasets

from hf_otw.data.split import split_meta
from hf_otw.recipe.base import Splits
from hf_otw.recipe.imbalance import capped_rows, long_tail_rows, uniform_noise
from hf_otw.recipe.schema import DataConfig

LABEL = "label"
#: The rows of a recipe do not change with the seed of a run: seeds differ in initial model and order.
DATA_SEED = 0
HELD_OUT = 0.2


def make_splits(raw: DatasetDict, data: DataConfig, *, select: bool = False, meta_per_class: int = 10) -> Splits:
    """Make the splits of a run.

    Wrong labels are made after the meta set is split off, so that it is clean. A run that uses no meta set gets its
    rows back as training rows: see `with_meta_in_train`.

    Args:
        raw: `train` and `test`.
        data: what to do.
        select: test on a fifth of the training rows in place of the test rows, for choosing settings.
        meta_per_class: meta examples of each class, where labels are made wrong.

    Raises:
        ValueError: a long tail or noise for rows without a class each.
    """
    train, test = raw["train"], raw["test"]
    if select:
        train, test = hold_out(train)
    if data.max_test is not None and data.max_test < len(test):
        test = test.select(some_rows(len(test), data.max_test))
    train = subset(train, data)
    if not data.label_noise:
        return Splits(train, test)
    names, labels = class_names(train), class_labels(train)
    parts = split_meta(torch.from_numpy(labels), len(names), meta_per_class, seed=DATA_SEED, class_names=names)
    noisy = uniform_noise(labels[parts.train_rows], len(names), data.label_noise, seed=DATA_SEED)
    meta, train = train.select(parts.meta_rows), train.select(parts.train_rows)
    return Splits(replace_column(train, LABEL, noisy), test, meta)


def with_meta_in_train(splits: Splits) -> Splits:
    """For runs without a meta set: they train on its clean rows instead, so that every run sees the same rows."""
    if splits.meta is None:
        return splits
    return Splits(concatenate_datasets([splits.train, splits.meta]), splits.test)


def subset(train: Dataset, data: DataConfig) -> Dataset:
    """Apply the long tail and the caps."""
    if data.imbalance_factor is not None:
        names, labels = class_names(train), class_labels(train)
        largest = data.max_train_per_class
        rows = long_tail_rows(labels, len(names), data.imbalance_factor, largest=largest, seed=DATA_SEED)
        train = train.select(rows)
    elif data.max_train_per_class is not None:
        caps = [data.max_train_per_class] * len(class_names(train))
        train = train.select(capped_rows(class_labels(train), caps, seed=DATA_SEED))
    if data.max_train is not None and data.max_train < len(train):
        train = train.select(some_rows(len(train), data.max_train))
    return train


def hold_out(train: Dataset) -> tuple[Dataset, Dataset]:
    """Four fifths to train on and one to test on, of each class where rows have one."""
    if isinstance(train.features.get(LABEL), ClassLabel):
        labels = class_labels(train)
        caps = [int(np.ceil(HELD_OUT * count)) for count in np.bincount(labels, minlength=len(class_names(train)))]
        held = capped_rows(labels, caps, seed=DATA_SEED)
    else:
        held = some_rows(len(train), int(np.ceil(HELD_OUT * len(train))))
    return train.select(np.setdiff1d(np.arange(len(train)), held)), train.select(held)


def some_rows(total: int, count: int) -> np.ndarray:
    """`count` random rows, sorted."""
    return np.sort(np.random.default_rng(DATA_SEED).permutation(total)[:count])


def class_names(rows: Dataset) -> list[str]:
    """Names of the classes of the column `label`.

    Raises:
        ValueError: rows without such a column.
    """
    feature = rows.features.get(LABEL)
    if not isinstance(feature, ClassLabel):
        raise ValueError(
            f"Expected a ClassLabel column {LABEL!r} for a long tail, noise or classification, got the columns "
            f"{rows.column_names}. Remove those keys under `data`, or use `source.columns`."
        )
    return list(feature.names)


def class_labels(rows: Dataset) -> np.ndarray:
    """All labels, `(N,)`."""
    return np.asarray(rows.with_format(None)[LABEL][:], dtype=np.int64)


def replace_column(rows: Dataset, name: str, values: np.ndarray) -> Dataset:
    """The same rows with other values in one column, of the same type and in the same place."""
    order, feature = rows.column_names, rows.features[name]
    return rows.remove_columns(name).add_column(name, values.tolist(), feature=feature).select_columns(order)
