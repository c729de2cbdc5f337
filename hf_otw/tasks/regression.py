"""Regression: a number an example, squared error."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hf_otw.data.columns import read_column
from hf_otw.losses import ExampleLoss
from hf_otw.tasks.base import SMALLEST_CLASS, LabelReader, Labels, LabelSource, Task
from hf_otw.tasks.groups import fit_groups


class Regression(Task):
    """A weight per example. The classes are intervals of equal width, so that rare values are rare classes; the label
    cost is the difference of two values over its mean in the training set.
    """

    name = "regression"
    losses = ("squared_error",)
    labels_per_row = True
    uses_groups = True

    def fit(self, dataset: Any, source: LabelSource) -> LabelReader:
        """Cut the range of the values into intervals, merging those with few examples into a neighbour."""
        y = _read(dataset, "train_dataset", source)  # (N, T)
        scale = _mean_difference(y)
        groups = fit_groups(dataset, source.group_column) if source.group_column else None
        edges = bin_edges(_position(y, y), source.label_bins)

        def read(other: Any, name: str) -> Labels:
            values = _read(other, name, source)
            classes = torch.bucketize(_position(values, y), edges, right=True)
            return Labels(classes if groups is None else groups.read(other, name).classes, values / scale)

        names = _names(edges) if groups is None else groups.class_names
        return LabelReader(names, read)

    def num_outputs(self, dataset: Any, source: LabelSource) -> int:
        """One output a value."""
        return _read(dataset, "train_dataset", source).shape[1]

    def unit_losses(self, example_loss: ExampleLoss, logits: Tensor, labels: Tensor, class_prior: Tensor) -> Tensor:
        """`(B, T)` or `(B, 1)` and `(B,)` -> `(B,)`, the mean over the values."""
        return example_loss(logits, labels.reshape(logits.shape).to(logits), class_prior)


def bin_edges(values: Tensor, bins: int) -> Tensor:
    """Inner edges of intervals of equal width, ascending; every interval keeps at least `SMALLEST_CLASS` of `values`.

    Shape:
        - values: `(N,)`.
    """
    low, high = values.min(), values.max()
    edges = torch.linspace(0, 1, bins + 1, dtype=values.dtype)[1:-1] * (high - low) + low
    kept: list[Tensor] = []
    for edge in edges:
        below = values < edge
        if kept:
            below &= values >= kept[-1]
        if below.sum() >= SMALLEST_CLASS and (values >= edge).sum() >= SMALLEST_CLASS:
            kept.append(edge)
    return torch.stack(kept) if kept else values.new_empty(0)


def _read(dataset: Any, name: str, source: LabelSource) -> Tensor:
    column, values = read_column(dataset, name, source.columns)
    y = torch.as_tensor(values)
    y = y.double() if y.ndim == 2 else y.double()[:, None]
    if not torch.isfinite(y).all():
        raise ValueError(
            f"Expected finite numbers in column {column!r} of {name}, but {int((~torch.isfinite(y)).sum())} are NaN "
            "or infinite. Remove these examples."
        )
    width = getattr(source.config, "num_labels", y.shape[1])
    if y.shape[1] != width:
        raise ValueError(
            f"Expected {width} numbers per example in column {column!r} of {name}, got {y.shape[1]}. Load the model "
            f"with num_labels={y.shape[1]}."
        )
    return y


def _position(values: Tensor, reference: Tensor) -> Tensor:
    """Where an example stands on one line: its value, or the mean of several in units of their spread, `(N,)`."""
    if values.shape[1] == 1:
        return values[:, 0]
    spread = reference.std(dim=0, correction=0).clamp_min(torch.finfo(values.dtype).tiny)
    return ((values - reference.mean(dim=0)) / spread).mean(dim=1)


def _mean_difference(y: Tensor) -> Tensor:
    """Mean L1 distance of two examples, from sorted values, shape `()`."""
    n = len(y)
    rank = torch.arange(n, dtype=y.dtype)[:, None]
    total = ((2 * rank - n + 1) * y.sort(dim=0).values).sum() * 2 / max(1, n * (n - 1))
    return total if total > 0 else torch.ones_like(total)


def _names(edges: Tensor) -> list[str]:
    shown = [f"{edge:.3g}" for edge in edges.tolist()]
    if not shown:
        return ["all"]
    inner = [f"{low} to {high}" for low, high in zip(shown, shown[1:], strict=False)]
    return [f"below {shown[0]}", *inner, f"from {shown[-1]}"]
