"""Classifiers over a pretrained encoder of text: MiniLM, packaged, unless `checkpoint` names another."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)

from hf_otw.recipe.base import Facts
from hf_otw.recipe.pretrained import load_pretrained
from hf_otw.recipe.text import class_config


def checkpoint_or_minilm(checkpoint: str | None) -> str:
    """Path of the packaged MiniLM where no checkpoint is given."""
    from recipes.catalogue.sources import minilm_path  # here, as tests pass a checkpoint and need no package

    return checkpoint or str(minilm_path())


def tokenizer(*, checkpoint: str | None = None, max_tokens: int = 32) -> PreTrainedTokenizerBase:
    """The tokenizer of the checkpoint; texts are cut after `max_tokens`."""
    made = load_pretrained(AutoTokenizer, checkpoint_or_minilm(checkpoint))
    made.model_max_length = max_tokens
    return made


def classifier(facts: Facts, processor: Any, *, checkpoint: str | None = None) -> nn.Module:
    """One class a text."""
    path = checkpoint_or_minilm(checkpoint)
    return load_pretrained(AutoModelForSequenceClassification, path, **class_config(facts))


def keyword_classifier(facts: Facts, processor: Any, *, checkpoint: str | None = None) -> nn.Module:
    """Several keywords a text."""
    path, problem = checkpoint_or_minilm(checkpoint), "multi_label_classification"
    return load_pretrained(AutoModelForSequenceClassification, path, problem_type=problem, **class_config(facts))


def token_classifier(facts: Facts, processor: Any, *, checkpoint: str | None = None) -> nn.Module:
    """One class a token."""
    path = checkpoint_or_minilm(checkpoint)
    return load_pretrained(AutoModelForTokenClassification, path, **class_config(facts))
