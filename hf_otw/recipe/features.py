"""Rows of numbers, such as embeddings, of one class each, and a small network over them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from datasets import Dataset, Features, List, Value
from torch import Tensor, nn
from torch.nn import functional as F

from hf_otw.data.files import feature_array
from hf_otw.recipe.base import Facts, Prepared, Splits
from hf_otw.recipe.metrics import single_label
from hf_otw.recipe.splits import LABEL, class_names

FEATURES = "features"


class Perceptron(nn.Module):
    """One hidden layer.

    Shape:
        - features: `(B, D)`. Output: `logits` `(B, K)`, after `loss` where labels `(B,)` are given.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs, hidden), nn.GELU())
        self.head = nn.Linear(hidden, outputs)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Classify."""
        logits = self.head(self.body(features))
        return {"logits": logits} if labels is None else {"loss": F.cross_entropy(logits, labels), "logits": logits}


def perceptron(facts: Facts, processor: Any, *, hidden: int = 64) -> nn.Module:
    """Make a `Perceptron`."""
    return Perceptron(facts.input_shape[0], hidden, facts.num_labels)


def prepare_features(splits: Splits, processor: Any = None) -> Prepared:
    """Columns `features`, a list of numbers, and `label`; standardised by the training rows."""
    names = class_names(splits.train)
    array = feature_array(splits.train, FEATURES)
    centre, spread = array.mean(axis=0), array.std(axis=0) + 1e-6

    def encode(rows: Dataset) -> Dataset:
        standard = ((feature_array(rows, FEATURES) - centre) / spread).astype(np.float32)
        kept = {FEATURES: standard.tolist(), LABEL: rows[LABEL][:]}
        return Dataset.from_dict(kept, Features({FEATURES: List(Value("float32")), LABEL: rows.features[LABEL]}))

    return Prepared(
        splits=splits.map(encode),
        facts=Facts(len(names), tuple(names), (array.shape[1],)),
        collate=collate,
        compute_metrics=single_label(splits.train),
        metric="balanced_accuracy",
    )


def collate(items: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Batch of `features` `(B, D)` and `labels` `(B,)`."""
    batch = {FEATURES: torch.tensor([item[FEATURES] for item in items])}
    return batch | ({"labels": torch.tensor([item[LABEL] for item in items])} if LABEL in items[0] else {})
