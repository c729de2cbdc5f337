"""Multi-label classification: a set of labels an example, binary cross-entropy."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_otw.data.columns import read_column
from hf_otw.losses import ExampleLoss
from hf_otw.tasks.base import LabelReader, Labels, LabelSource, Task, join_rare
from hf_otw.tasks.classification import class_names


class MultiLabel(Task):
    """A weight per example. An example counts to the rarest of its labels, so that balanced classes are balanced
    towards rare labels; the label cost is the total variation of the sets, each a uniform distribution.
    """

    name = "multi_label"
    losses = ("binary_cross_entropy",)
    labels_per_row = True

    def fit(self, dataset: Any, source: LabelSource) -> LabelReader:
        """Find which label of each example is the rarest; those without a label are a class of their own."""
        y = _read(dataset, "train_dataset", source)  # (N, K)
        names = [*class_names(source.config, dataset, source.columns, y.shape[1]), "(no label)"]
        order = _with_none((y >= 0.5).to(y)).sum(dim=0).argsort(stable=True)  # rarest first
        number, kept = join_rare(_rarest(y, order), len(names))

        def read(other: Any, name: str) -> Labels:
            multi_hot = _read(other, name, source)
            sets = _with_none(multi_hot)
            classes = number[_rarest(multi_hot, order)]
            return Labels(classes, sets / (2 * sets.sum(dim=1, keepdim=True)))

        return LabelReader([names[k] for k in kept], read)

    def num_outputs(self, dataset: Any, source: LabelSource) -> int:
        """One output a label."""
        return _read(dataset, "train_dataset", source).shape[1]

    def unit_losses(self, example_loss: ExampleLoss, logits: Tensor, labels: Tensor, class_prior: Tensor) -> Tensor:
        """`(B, K), (B, K) -> (B,)`, the mean over the labels."""
        return example_loss(logits, labels, class_prior)


def _read(dataset: Any, name: str, source: LabelSource) -> Tensor:
    column, values = read_column(dataset, name, source.columns)
    try:
        y = torch.as_tensor(np.asarray(values))
    except (TypeError, ValueError) as error:  # vectors of several lengths
        raise ValueError(
            f"Expected vectors of one length per example in column {column!r} of {name}, got {error}. For labels of "
            "tokens set task='token_classification'."
        ) from error
    width = getattr(source.config, "num_labels", None)
    if y.ndim != 2 or (width is not None and y.shape[1] != width) or not ((y >= 0) & (y <= 1)).all():
        raise ValueError(
            f"Expected a vector of {width or 'K'} numbers from 0 to 1 per example in column {column!r} of {name}, got "
            f"shape {tuple(y.shape)}, values up to {float(y.max()) if y.numel() else 0:.3g}. Encode each example's "
            "labels as such a vector of floats, or set task='regression' to train on squared errors."
        )
    return y.double()


def _with_none(y: Tensor) -> Tensor:
    """One more column, 1 where an example has no label, shape `(N, K + 1)`."""
    return torch.cat([y, (y.sum(dim=1, keepdim=True) == 0).to(y)], dim=1)


def _rarest(y: Tensor, order: Tensor) -> Tensor:
    """The first label in `order` that each example has, to a half at least, shape `(N,)`."""
    return order[_with_none((y >= 0.5).to(y))[:, order].argmax(dim=1)]
