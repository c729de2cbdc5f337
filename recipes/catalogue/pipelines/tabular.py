"""Rows of numbers and a number to predict: all standardised by the training rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from datasets import Dataset, Features, Value

from hf_otw.recipe.base import Facts, Prepared, Splits
from recipes.catalogue.pipelines.arrays import labels_of, read_array, stack, with_array
from recipes.catalogue.pipelines.metrics import errors_by_bin

TARGET = "labels"


def prepare_table(splits: Splits, processor: Any = None) -> Prepared:
    """Columns `features`, a list of floats, and `labels`, a float."""
    features = read_array(splits.train, ("features",)).astype(np.float32)  # (N, D)
    centre, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    targets = targets_of(splits.train)
    mean, scale = float(targets.mean()), float(targets.std())

    def encode(rows: Dataset) -> Dataset:
        standard = ((targets_of(rows) - mean) / scale).astype(np.float32)
        labels = Dataset.from_dict({TARGET: standard}, Features({TARGET: Value("float32")}))
        array = (read_array(rows, ("features",)).astype(np.float32) - centre) / spread
        return with_array(labels, "features", array)

    return Prepared(
        splits=splits.map(encode),
        facts=Facts(1, (), features.shape[1:]),
        collate=collate,
        compute_metrics=errors_by_bin((targets - mean) / scale, scale),
        metric="balanced_mae",
        higher_is_better=False,
    )


def targets_of(rows: Dataset) -> np.ndarray:
    """All targets, `(N,)`."""
    return np.asarray(rows.with_format(None)[TARGET][:], dtype=np.float64)


def collate(items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Batch of `features` `(B, D)` and `labels` `(B,)`."""
    return {"features": stack(items, "features").float()} | labels_of(items, TARGET)
