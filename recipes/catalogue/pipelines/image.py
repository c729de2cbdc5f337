"""Images: bytes in the data set, standardised floats in the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from datasets import Dataset

from hf_otw.recipe.base import Facts, Prepared, Splits
from hf_otw.recipe.metrics import single_label
from hf_otw.recipe.splits import LABEL, class_names
from recipes.catalogue.pipelines.arrays import labels_of, read_array, stack, with_array

COLUMNS = ("pixel_values", "pixels", "image", "img")


def prepare_images(splits: Splits, processor: Any = None) -> Prepared:
    """Images of one size, grey or in colour, and a class each."""
    encoded = splits.map(encode)
    height, width, channels = encoded.train.features["pixel_values"].shape
    names = class_names(splits.train)
    return Prepared(
        splits=encoded,
        facts=Facts(len(names), tuple(names), (channels, height, width)),
        collate=collate,
        compute_metrics=single_label(splits.train),
        metric="balanced_accuracy",
    )


def encode(rows: Dataset) -> Dataset:
    """Columns `pixel_values` `(H, W, C)`, uint8, and `label`."""
    return with_array(rows.select_columns([LABEL]), "pixel_values", pixels(rows))


def pixels(rows: Dataset) -> np.ndarray:
    """All images, `(N, H, W, C)`, uint8; flat rows of a square are folded."""
    images = read_array(rows, COLUMNS)
    if images.ndim == 2:
        side = int(np.sqrt(images.shape[1]))
        images = images.reshape(len(images), side, side)
    return np.ascontiguousarray((images if images.ndim == 4 else images[..., None]).astype(np.uint8))


def normalised(images: torch.Tensor) -> torch.Tensor:
    """`(B, H, W, C)` bytes -> `(B, C, H, W)` floats in [-2, 2]: about mean 0 and spread 1 for most pictures."""
    return images.movedim(-1, 1).float() / 63.75 - 2


def collate(items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Batch of `pixel_values` `(B, C, H, W)` and `labels` `(B,)`."""
    return {"pixel_values": normalised(stack(items, "pixel_values"))} | labels_of(items)
