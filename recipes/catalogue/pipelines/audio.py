"""Sound: spectrograms are computed once, before training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from datasets import Dataset

from hf_otw.recipe.base import Facts, Prepared, Splits
from hf_otw.recipe.metrics import single_label
from hf_otw.recipe.splits import LABEL, class_names
from recipes.catalogue.pipelines.arrays import labels_of, read_array, stack, with_array


def prepare_audio(splits: Splits, processor: Any) -> Prepared:
    """Clips of one length and a class each.

    Args:
        splits: with the columns `audio` (float32, mono) and `label`.
        processor: a feature extractor of transformers that gives `input_values` `(N, T, F)`.
    """
    arrays = splits.map(lambda rows: encode(rows, processor))
    values = arrays.train.with_format("numpy")["input_values"][:]
    mean, spread = float(values.mean()), float(values.std()) + 1e-6
    names = class_names(splits.train)

    def collate(items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Batch of `input_values` `(B, T, F)`, standardised over the training split, and `labels` `(B,)`."""
        return {"input_values": (stack(items, "input_values").float() - mean) / spread} | labels_of(items)

    return Prepared(
        splits=arrays,
        facts=Facts(len(names), tuple(names), tuple(arrays.train.features["input_values"].shape)),
        collate=collate,
        compute_metrics=single_label(splits.train),
        metric="balanced_accuracy",
    )


def encode(rows: Dataset, processor: Any, size: int = 64) -> Dataset:
    """Columns `input_values` `(T, F)`, float32, and `label`."""
    clips = read_array(rows, ("audio",)).astype(np.float32)
    parts = [
        np.asarray(processor(list(clips[i : i + size]), sampling_rate=processor.sampling_rate)["input_values"])
        for i in range(0, len(clips), size)
    ]
    return with_array(rows.select_columns([LABEL]), "input_values", np.concatenate(parts).astype(np.float32))
