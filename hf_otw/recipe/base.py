"""Inputs and outputs of a pipeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from datasets import Dataset


@dataclass(frozen=True)
class Splits:
    """Disjoint rows.

    Attributes:
        train: to train on, possibly with wrong labels.
        test: to test on, once, at the end.
        meta: clean rows kept out of `train` where its labels were made wrong; otherwise None, and the trainer splits
            its own off.
    """

    train: Dataset
    test: Dataset
    meta: Dataset | None = None

    def map(self, change: Callable[[Dataset], Dataset]) -> Splits:
        """Apply one function to each split."""
        meta = None if self.meta is None else change(self.meta)
        return replace(self, train=change(self.train), test=change(self.test), meta=meta)


@dataclass(frozen=True)
class Facts:
    """Facts of the data that a model is built from.

    Attributes:
        num_labels: outputs of the head.
        class_names: `(K,)`; empty where there are no classes.
        input_shape: of one example, without the batch; empty for text.
    """

    num_labels: int
    class_names: tuple[str, ...] = ()
    input_shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Prepared:
    """Model inputs and how to judge the outputs.

    Attributes:
        splits: columns named as the model's `forward` names them.
        facts: for the model.
        collate: items -> batch of tensors.
        compute_metrics: for the `Trainer`.
        metric: name of the metric that the tables show.
        higher_is_better: of that metric.
        preprocess_logits: for the `Trainer`, where logits are too many to keep.
    """

    splits: Splits
    facts: Facts
    collate: Callable[[list[Any]], dict[str, Any]]
    compute_metrics: Callable[[Any], dict[str, float]]
    metric: str
    higher_is_better: bool = True
    preprocess_logits: Callable[[Any, Any], Any] | None = None


#: From raw rows and the model's processor (a tokenizer, a feature extractor or None) to model inputs.
Pipeline = Callable[[Splits, Any], Prepared]
