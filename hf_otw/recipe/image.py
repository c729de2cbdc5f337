"""Pictures of one class each, and classifiers over a pretrained model with its own image processor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from datasets import Dataset, Image
from torch import nn
from transformers import AutoImageProcessor, AutoModelForImageClassification

from hf_otw.recipe.base import Facts, Prepared, Splits
from hf_otw.recipe.metrics import single_label
from hf_otw.recipe.pretrained import load_pretrained
from hf_otw.recipe.splits import LABEL, class_names
from hf_otw.recipe.text import class_config

IMAGE = "image"
#: As the models call it: the Trainer drops columns of other names.
PIXELS = "pixel_values"


def prepare_images(splits: Splits, processor: Any) -> Prepared:
    """Columns `image` and `label`; pictures are decoded and resized when a batch asks for them."""
    names = class_names(splits.train)
    return Prepared(
        splits=splits.map(pictures),
        facts=Facts(len(names), tuple(names)),
        collate=collator(processor),
        compute_metrics=single_label(splits.train),
        metric="balanced_accuracy",
    )


def pictures(rows: Dataset) -> Dataset:
    """The two columns that are used, as `pixel_values` and `label`.

    Raises:
        ValueError: no column of pictures.
    """
    if not isinstance(rows.features.get(IMAGE), Image):
        raise ValueError(
            f"Expected a column {IMAGE!r} of images, got {dict(rows.features)}. Rename yours in `source.columns`, or "
            "point `source.files` to a folder with one folder of pictures a class."
        )
    return rows.select_columns([IMAGE, LABEL]).rename_column(IMAGE, PIXELS)


def collator(processor: Any) -> Callable[[list[Any]], dict[str, torch.Tensor]]:
    """Batches of `pixel_values` `(B, C, H, W)` and `labels` `(B,)`."""

    def collate(items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        made = processor([item[PIXELS].convert("RGB") for item in items], return_tensors="pt")
        batch = {PIXELS: made[PIXELS]}
        return batch | ({"labels": torch.tensor([item[LABEL] for item in items])} if LABEL in items[0] else {})

    return collate


def image_processor(*, checkpoint: str, revision: str = "main") -> Any:
    """The image processor of a checkpoint."""
    return load_pretrained(AutoImageProcessor, checkpoint, revision=revision)


def classifier(facts: Facts, processor: Any, *, checkpoint: str, revision: str = "main") -> nn.Module:
    """One class a picture; a head of another size is made new."""
    return load_pretrained(
        AutoModelForImageClassification,
        checkpoint,
        revision=revision,
        ignore_mismatched_sizes=True,
        **class_config(facts),
    )
