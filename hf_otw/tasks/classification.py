"""Single-label classification: one class an example."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import torch
from datasets import ClassLabel, Dataset
from torch import Tensor

from hf_otw.data.columns import read_labels
from hf_otw.losses import ExampleLoss
from hf_otw.tasks.base import IGNORED, LabelReader, Labels, LabelSource, Task


class SingleLabel(Task):
    """A weight per example; the class is the label."""

    name = "single_label"
    losses = ("cross_entropy", "logit_adjusted", "focal")
    defaults = MappingProxyType({})
    labels_per_row = True
    has_head_classes = True

    def fit(self, dataset: Any, source: LabelSource) -> LabelReader:
        """Check that labels lie in `0..K-1`."""
        labels = read_labels(dataset, "train_dataset", source.columns)
        num_classes = _num_classes(source.config, labels)
        check_range(labels, num_classes, "train_dataset")
        names = class_names(source.config, dataset, source.columns, num_classes)
        return LabelReader(names, lambda other, name: Labels(read_labels(other, name, source.columns)))

    def num_outputs(self, dataset: Any, source: LabelSource) -> int:
        """One output a class."""
        return _num_classes(source.config, read_labels(dataset, "train_dataset", source.columns))

    def unit_losses(self, example_loss: ExampleLoss, logits: Tensor, labels: Tensor, class_prior: Tensor) -> Tensor:
        """`(B, K), (B,) -> (B,)`, zero for rows without a label."""
        if labels.numel() != len(labels):
            raise ValueError(
                f"Expected one class per row in the batch's labels, got shape {tuple(labels.shape)}: the collator "
                "mixes or encodes them. Compute the loss in `compute_loss` or `compute_loss_func`, whose gradient is "
                "then weighted per row, or leave labels as they are."
            )
        labels = labels.reshape(len(labels)).long()
        labelled = labels != IGNORED
        losses = example_loss(logits, labels.clamp_min(0), class_prior)
        if losses.shape != labels.shape:
            return losses  # of the user's own; refused by its shape
        return torch.where(labelled, losses, torch.zeros_like(losses))

    def num_items(self, labels: Tensor) -> Tensor:
        """Labelled rows."""
        return (labels != IGNORED).sum()


def check_range(labels: Tensor, num_classes: int, name: str) -> None:
    """Raise a ValueError for labels outside `0..K-1`; -100 stands for none."""
    known = labels[labels != IGNORED]
    if not len(known):
        raise ValueError(f"Expected labelled examples in {name}, got none but {IGNORED}. Add examples with a class.")
    low, high = int(known.min()), int(known.max())
    if low < 0 or high >= num_classes:
        raise ValueError(
            f"Expected labels 0..{num_classes - 1} in {name} (the model has num_labels={num_classes}), got "
            f"{low}..{high}. Encode the classes as "
            "0..K-1 and load the model with num_labels=K."
        )


def names_in(dataset: Any, columns: Any) -> list[str] | None:
    """Names of the classes from the features of a data set, or None."""
    if isinstance(dataset, Dataset):
        for column in columns:
            feature = dataset.features.get(column)
            feature = getattr(feature, "feature", feature)  # of a list of classes
            if isinstance(feature, ClassLabel):
                return list(feature.names)
    return None


def class_names(config: Any, dataset: Any, columns: Any, num_classes: int) -> list[str]:
    """Names from the data set's features, else from the model, else numbers."""
    named = names_in(dataset, columns)
    if named is not None and len(named) == num_classes:
        return named
    known = getattr(config, "id2label", None) or {}
    return [str(known.get(k, k)) for k in range(num_classes)]


def _num_classes(config: Any, labels: Tensor) -> int:
    return int(labels.max()) + 1 if config is None else int(config.num_labels)
