"""Texts to predict token by token, each of a group that should be served as well as the others."""

from __future__ import annotations

from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset
from transformers import DataCollatorForTokenClassification

from hf_otw.recipe.base import Facts, Prepared, Splits
from hf_otw.recipe.text import inputs, tokenized
from recipes.catalogue.pipelines.metrics import perplexities, token_losses

GROUP = "group"


def prepare_language(splits: Splits, processor: Any) -> Prepared:
    """Columns `text` and `group`; `processor` is the tokenizer, whose `model_max_length` truncates."""
    names = group_names(splits.train)
    return Prepared(
        splits=splits.map(lambda rows: encode(rows, processor)),
        facts=Facts(len(names), names),
        collate=DataCollatorForTokenClassification(processor),  # pads labels with -100
        compute_metrics=perplexities(group_numbers(splits.test, names), names),
        metric="group_perplexity",
        higher_is_better=False,
        preprocess_logits=token_losses,
    )


def encode(rows: Dataset, tokenizer: Any) -> Dataset:
    """Columns of the tokenizer, `labels` (the same ids; the model shifts them) and `group`."""
    found = tokenized(rows, tokenizer)
    found = found.map(lambda batch: {"labels": batch["input_ids"]}, batched=True)
    return found.select_columns([*inputs(tokenizer), "labels", GROUP])


def group_names(rows: Dataset) -> tuple[str, ...]:
    """Names of the groups that training rows belong to."""
    feature = rows.features[GROUP]
    return tuple(feature.names) if isinstance(feature, ClassLabel) else tuple(sorted({str(g) for g in rows[GROUP]}))


def group_numbers(rows: Dataset, names: tuple[str, ...]) -> np.ndarray:
    """The group of each row as its place in `names`, `(N,)`; -1 for groups without a training row."""
    if isinstance(rows.features[GROUP], ClassLabel):
        return np.asarray(rows[GROUP])
    place = {name: k for k, name in enumerate(names)}
    return np.array([place.get(str(group), -1) for group in rows[GROUP]])
