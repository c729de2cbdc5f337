"""A toy model, data set and collator for every task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import datasets
import numpy as np
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from tests.toys import PAD, SPREAD, VOCABULARY, collate, toy_dataset

ROWS = 36
BERT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 32,
    "pad_token_id": PAD,
    "initializer_range": SPREAD,
}


class Case(NamedTuple):
    """One task: `build(dropout)` makes the model; `collate` keeps what the model takes."""

    build: Callable[[float], torch.nn.Module]
    data: Callable[[], datasets.Dataset]
    collate: Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]]
    args: dict[str, Any]


def _bert(kind: type, **config: Any) -> Callable[[float], torch.nn.Module]:
    def build(dropout: float = 0.0) -> torch.nn.Module:
        rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
        return kind(BertConfig(**BERT, **rates, **config))

    return build


def _llama(dropout: float = 0.0) -> torch.nn.Module:
    names = ("hidden_dropout_prob", "attention_probs_dropout_prob")
    config = {name: value for name, value in BERT.items() if name not in names}
    return LlamaForCausalLM(LlamaConfig(**config, attention_dropout=dropout, bos_token_id=1, eos_token_id=2))


def _t5(dropout: float = 0.0) -> torch.nn.Module:
    config = T5Config(
        vocab_size=VOCABULARY,
        d_model=16,
        d_kv=8,
        d_ff=16,
        num_layers=1,
        num_heads=2,
        dropout_rate=dropout,
        pad_token_id=PAD,
        decoder_start_token_id=PAD,
        initializer_factor=1.0,
    )
    return T5ForConditionalGeneration(config)


def texts(**columns: Any) -> datasets.Dataset:
    """Token ids with other labels than the class they were drawn from."""
    data = toy_dataset((20, 10, 6)).remove_columns("label")
    for name, values in columns.items():
        data = data.add_column(name, values)
    return data


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def multi_label() -> datasets.Dataset:
    """Four labels of falling frequency, every row at least one, six rows none."""
    y = (rng().random((ROWS, 4)) < np.array([0.8, 0.5, 0.3, 0.2])).astype(float)
    y[:6] = 0
    y[6:, 0] = np.maximum(y[6:, 0], y[6:].sum(axis=1) == 0)
    return texts(labels=y.tolist())


def regression() -> datasets.Dataset:
    return texts(labels=rng().exponential(size=ROWS).astype(np.float32).tolist())


def tokens(wrong: float = 0.0) -> datasets.Dataset:
    """A class per token, rare classes for large ids; the first token has none. This share of the labels is wrong."""
    data, draw = texts(), rng()
    labels = [[-100, *((min(2, t // 16) + (draw.random() < wrong)) % 3 for t in row[1:])] for row in data["input_ids"]]
    return data.add_column("labels", labels)


def groups(with_labels: bool = True) -> datasets.Dataset:
    data = texts(group=["web"] * 20 + ["news"] * 10 + ["law"] * 6).shuffle(seed=0)
    return data.add_column("labels", data["input_ids"][:]) if with_labels else data


def collate_vectors(items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    batch = collate([{k: v for k, v in item.items() if k != "labels"} for item in items])
    if "labels" in items[0]:
        batch["labels"] = torch.tensor(np.array([item["labels"] for item in items]), dtype=torch.float32)
    return batch


def collate_tokens(items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    batch = collate([{k: v for k, v in item.items() if k != "labels"} for item in items])
    if "labels" in items[0]:
        rows = [torch.as_tensor(item["labels"]) for item in items]
        batch["labels"] = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-100)
    return batch


CASES: dict[str, Case] = {
    "multi_label": Case(
        _bert(BertForSequenceClassification, num_labels=4, problem_type="multi_label_classification"),
        multi_label,
        collate_vectors,
        {},
    ),
    "regression": Case(
        _bert(BertForSequenceClassification, num_labels=1), regression, collate_vectors, {"label_bins": 4}
    ),
    "sequences": Case(_bert(BertForTokenClassification, num_labels=3), tokens, collate_tokens, {}),
    "tokens": Case(  # right labels alone would leave all weights at 1
        _bert(BertForTokenClassification, num_labels=3),
        lambda: tokens(wrong=0.25),
        collate_tokens,
        {"weight_per_token": True},
    ),
    "causal_lm": Case(_llama, groups, collate_tokens, {"group_column": "group"}),
    "masked_lm": Case(_bert(BertForMaskedLM), groups, collate_tokens, {"group_column": "group"}),
    "seq2seq_lm": Case(_t5, groups, collate_tokens, {"group_column": "group"}),
}


def task_model(name: str, *, dropout: float = 0.0, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    """The same parameters every time, and the global random state as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CASES[name].build(dropout).to(dtype)
