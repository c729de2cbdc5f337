"""Texts with several keywords each. Those with one class each: `hf_otw.recipe.text`."""

from __future__ import annotations

from typing import Any

from datasets import Dataset
from transformers import DataCollatorWithPadding

from hf_otw.recipe.base import Facts, Prepared, Splits
from hf_otw.recipe.text import inputs, tokenized
from recipes.catalogue.pipelines.metrics import multi_label


def prepare_keywords(splits: Splits, processor: Any) -> Prepared:
    """Columns `text` and `labels`, a multi-hot list of floats."""
    width = len(splits.train[0]["labels"])
    names = keyword_names(splits.train, width)
    return Prepared(
        splits=splits.map(lambda rows: tokenized(rows, processor).select_columns([*inputs(processor), "labels"])),
        facts=Facts(width, names),
        collate=DataCollatorWithPadding(processor),
        compute_metrics=multi_label(names),
        metric="macro_average_precision",
    )


def keyword_names(rows: Dataset, width: int) -> tuple[str, ...]:
    """Names from the description of the data set, one a line, where it has as many; otherwise numbers."""
    lines = (rows.info.description or "").splitlines()
    return tuple(lines) if len(lines) == width else tuple(str(k) for k in range(width))
