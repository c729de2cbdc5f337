"""Texts: one class each, or several keywords each."""

from __future__ import annotations

from typing import Any

from datasets import Dataset
from transformers import DataCollatorWithPadding

from recipes.pipelines.base import Facts, Prepared, Splits
from recipes.pipelines.metrics import multi_label, single_label
from recipes.pipelines.splits import LABEL, class_names


def prepare_text(splits: Splits, processor: Any) -> Prepared:
    """Columns `text` and `label`; `processor` is the tokenizer, whose `model_max_length` truncates."""
    names = class_names(splits.train)
    return Prepared(
        splits=splits.map(lambda rows: tokenized(rows, processor).select_columns([*inputs(processor), LABEL])),
        facts=Facts(len(names), tuple(names)),
        collate=DataCollatorWithPadding(processor),
        compute_metrics=single_label(splits.train),
        metric="balanced_accuracy",
    )


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


def tokenized(rows: Dataset, tokenizer: Any) -> Dataset:
    """Add the tokenizer's columns; drop what it does not return and labels are not."""
    return rows.map(lambda batch: tokenizer(batch["text"], truncation=True), batched=True)


def inputs(tokenizer: Any) -> list[str]:
    """Columns that a tokenizer makes."""
    return list(tokenizer("a"))


def keyword_names(rows: Dataset, width: int) -> tuple[str, ...]:
    """Names from the description of the data set, one a line, where it has as many; otherwise numbers."""
    lines = (rows.info.description or "").splitlines()
    return tuple(lines) if len(lines) == width else tuple(str(k) for k in range(width))
