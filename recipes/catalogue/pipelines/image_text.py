"""Pairs of an image and a text, and a class each."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from datasets import Dataset

from hf_otw.recipe.base import Facts, Prepared, Splits
from hf_otw.recipe.metrics import single_label
from hf_otw.recipe.splits import LABEL, class_names
from hf_otw.recipe.text import inputs, tokenized
from recipes.catalogue.pipelines.arrays import labels_of, stack, with_array
from recipes.catalogue.pipelines.image import normalised, pixels


def prepare_image_text(splits: Splits, processor: Any) -> Prepared:
    """Columns `image`, `text` and `label`; `processor` is the tokenizer."""
    names = class_names(splits.train)
    encoded = splits.map(lambda rows: encode(rows, processor))
    height, width, channels = encoded.train.features["pixel_values"].shape

    def collate(items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Batch of `input_ids`, `attention_mask` `(B, T)`, `pixel_values` `(B, C, H, W)` and `labels` `(B,)`."""
        texts = [{name: np.asarray(item[name]).tolist() for name in inputs(processor)} for item in items]
        batch = dict(processor.pad(texts, return_tensors="pt"))
        return batch | {"pixel_values": normalised(stack(items, "pixel_values"))} | labels_of(items)

    return Prepared(
        splits=encoded,
        facts=Facts(len(names), tuple(names), (channels, height, width)),
        collate=collate,
        compute_metrics=single_label(splits.train),
        metric="balanced_accuracy",
    )


def encode(rows: Dataset, tokenizer: Any) -> Dataset:
    """Columns of the tokenizer, `pixel_values` `(H, W, C)`, uint8, and `label`."""
    texts = tokenized(rows.select_columns(["text", LABEL]), tokenizer)
    return with_array(texts.select_columns([*inputs(tokenizer), LABEL]), "pixel_values", pixels(rows))
