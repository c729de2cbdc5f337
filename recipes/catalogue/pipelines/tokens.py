"""Words with a class each: the first piece of a word carries its label, the others -100."""

from __future__ import annotations

from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset
from transformers import DataCollatorForTokenClassification

from hf_otw.recipe.base import Facts, Prepared, Splits
from hf_otw.recipe.text import inputs
from recipes.catalogue.pipelines.metrics import IGNORED, tokens


def prepare_tokens(splits: Splits, processor: Any) -> Prepared:
    """Columns `words`, a list of strings, and `labels`, a list of as many classes."""
    names = word_classes(splits.train)
    return Prepared(
        splits=splits.map(lambda rows: encode(rows, processor)),
        facts=Facts(len(names), names),
        collate=DataCollatorForTokenClassification(processor),
        compute_metrics=tokens(names),
        metric="balanced_accuracy",
    )


def encode(rows: Dataset, tokenizer: Any) -> Dataset:
    """Columns of the tokenizer and `labels`, all of one length in a row."""

    def align(batch: dict[str, list[Any]]) -> dict[str, Any]:
        found = tokenizer(batch["words"], is_split_into_words=True, truncation=True)
        aligned = [first_pieces(found.word_ids(i), labels) for i, labels in enumerate(batch["labels"])]
        return {**found, "word_labels": aligned}

    encoded = rows.map(align, batched=True, remove_columns=rows.column_names)
    return encoded.rename_column("word_labels", "labels").select_columns([*inputs(tokenizer), "labels"])


def first_pieces(word_ids: list[int | None], labels: list[int]) -> list[int]:
    """Labels of pieces: that of the word on its first piece, -100 on other pieces and on special tokens."""
    before: list[int | None] = [None, *word_ids[:-1]]
    return [
        IGNORED if word is None or word == last else labels[word] for word, last in zip(word_ids, before, strict=True)
    ]


def word_classes(rows: Dataset) -> tuple[str, ...]:
    """Names of the classes of the words; numbers where the column has no names."""
    feature = getattr(rows.features["labels"], "feature", None)
    if isinstance(feature, ClassLabel):
        return tuple(feature.names)
    return tuple(str(k) for k in range(1 + int(max(np.max(row) for row in rows["labels"] if len(row)))))
