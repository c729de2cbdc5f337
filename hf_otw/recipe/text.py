"""Texts of one class each, and classifiers over a pretrained model: fine-tuned in full, or with LoRA."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    PreTrainedTokenizerBase,
)

from hf_otw.recipe.base import Facts, Prepared, Splits
from hf_otw.recipe.metrics import single_label
from hf_otw.recipe.pretrained import load_pretrained
from hf_otw.recipe.splits import LABEL, class_names


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


def tokenized(rows: Dataset, tokenizer: Any) -> Dataset:
    """Add the tokenizer's columns; drop what it does not return and labels are not.

    Raises:
        ValueError: rows without texts.
    """
    if "text" not in rows.column_names:
        raise ValueError(f"Expected a column 'text', got {rows.column_names}. Rename yours in `source.columns`.")
    return rows.map(lambda batch: tokenizer(batch["text"], truncation=True), batched=True)


def inputs(tokenizer: Any) -> list[str]:
    """Columns that a tokenizer makes."""
    return list(tokenizer("a"))


def class_config(facts: Facts) -> dict[str, Any]:
    """Return the fields on classes of a transformers configuration."""
    names = dict(enumerate(facts.class_names))
    return {"num_labels": facts.num_labels, "id2label": names, "label2id": {name: k for k, name in names.items()}}


def tokenizer(*, checkpoint: str, max_tokens: int = 128, revision: str = "main") -> PreTrainedTokenizerBase:
    """The tokenizer of a checkpoint, with a padding token; texts are cut after `max_tokens`."""
    made = load_pretrained(AutoTokenizer, checkpoint, revision=revision)
    made.model_max_length = max_tokens
    if made.pad_token is None:
        made.padding_side, made.pad_token = "right", made.eos_token
    return made


def classifier(facts: Facts, processor: Any, *, checkpoint: str, revision: str = "main") -> nn.Module:
    """One class a text; a head of another size is made new."""
    return load_pretrained(
        AutoModelForSequenceClassification,
        checkpoint,
        revision=revision,
        pad_token_id=processor.pad_token_id,
        ignore_mismatched_sizes=True,
        **class_config(facts),
    )


def lora_classifier(
    facts: Facts,
    processor: Any,
    *,
    checkpoint: str,
    revision: str = "main",
    rank: int = 8,
    target_modules: list[str] | None = None,
) -> nn.Module:
    """One class a text, with LoRA; the head is trained in full.

    Args:
        facts: of the texts.
        processor: the tokenizer.
        checkpoint: path or name on the Hub.
        revision: of the checkpoint.
        rank: of the added matrices.
        target_modules: names of the layers that get them; peft's choice by default.
    """
    model = classifier(facts, processor, checkpoint=checkpoint, revision=revision)
    return with_lora(model, "SEQ_CLS", rank, target_modules)


def with_lora(model: nn.Module, task: str, rank: int, target_modules: Sequence[str] | None = None) -> nn.Module:
    """Freeze a model and add trainable matrices of a low rank (https://huggingface.co/papers/2106.09685)."""
    from peft import LoraConfig, get_peft_model  # of the extra `recipes`: others do without

    modules = None if target_modules is None else list(target_modules)
    config = LoraConfig(task_type=task, r=rank, lora_alpha=2 * rank, target_modules=modules)
    with warnings.catch_warnings():
        # peft 0.21 reads a name that transformers 5.23 has renamed (November 2026; can go with the next peft).
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        return get_peft_model(model, config)
