"""Point clouds: the same number of points in each, centred and scaled to the unit ball."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from datasets import Dataset

from hf_otw.recipe.base import Facts, Prepared, Splits
from hf_otw.recipe.metrics import single_label
from hf_otw.recipe.splits import LABEL, class_names
from recipes.catalogue.pipelines.arrays import labels_of, read_array, stack, with_array


def prepare_points(splits: Splits, processor: Any = None) -> Prepared:
    """Clouds of P points in space, and a class each."""
    encoded = splits.map(encode)
    names = class_names(splits.train)
    return Prepared(
        splits=encoded,
        facts=Facts(len(names), tuple(names), tuple(encoded.train.features["points"].shape)),
        collate=collate,
        compute_metrics=single_label(splits.train),
        metric="balanced_accuracy",
    )


def encode(rows: Dataset) -> Dataset:
    """Columns `points` `(P, 3)`, float32, and `label`."""
    return with_array(rows.select_columns([LABEL]), "points", in_unit_ball(read_array(rows, ("points",))))


def in_unit_ball(points: np.ndarray) -> np.ndarray:
    """Centre each cloud of `(N, P, 3)` and scale its farthest point to distance 1."""
    centred = points - points.mean(axis=1, keepdims=True)
    radius = np.linalg.norm(centred, axis=2).max(axis=1)[:, None, None]
    return (centred / np.maximum(radius, 1e-6)).astype(np.float32)


def collate(items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Batch of `points` `(B, P, 3)` and `labels` `(B,)`."""
    return {"points": stack(items, "points").float()} | labels_of(items)
