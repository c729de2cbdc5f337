"""Token classification: a weight per sequence, or per token."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from hf_otw._utils import required
from hf_otw.data.columns import read_lists
from hf_otw.losses import ExampleLoss
from hf_otw.tasks.base import (
    IGNORED,
    LabelReader,
    Labels,
    LabelSource,
    Task,
    join_rare,
    mean_over_tokens,
    sum_per_sequence,
    token_losses,
)
from hf_otw.tasks.classification import check_range, class_names
from hf_otw.tasks.groups import fit_groups


class TokenSequences(Task):
    """A weight per sequence, on the sum of its tokens' losses. A sequence counts to the rarest class among its tokens,
    or to its group; its feature is the mean over its labelled tokens.
    """

    name = "token_classification"
    losses: ClassVar[tuple[str, ...]] = ("cross_entropy", "focal")
    logits_ndim = 3
    uses_groups = True

    def fit(self, dataset: Any, source: LabelSource) -> LabelReader:
        """Find which class of each sequence is the rarest."""
        if source.group_column:
            return fit_groups(dataset, source.group_column)
        tokens, _ = _read(dataset, "train_dataset", source)
        names = class_names(source.config, dataset, source.columns, self.num_outputs(dataset, source))
        rank = torch.bincount(tokens, minlength=len(names)).argsort(stable=True).argsort()  # 0 for the rarest
        rarest = _rarest(*_read(dataset, "train_dataset", source), rank)
        number, kept = join_rare(rarest[rarest != IGNORED], len(names))

        def read(other: Any, name: str) -> Labels:
            classes = _rarest(*_read(other, name, source), rank)
            return Labels(torch.where(classes == IGNORED, IGNORED, number[classes.clamp_min(0)]))

        return LabelReader([names[k] for k in kept], read)

    def num_outputs(self, dataset: Any, source: LabelSource) -> int:
        """One output a class."""
        if source.config is not None:
            return int(source.config.num_labels)
        return int(_read(dataset, "train_dataset", source)[0].max()) + 1

    def unit_losses(self, example_loss: ExampleLoss, logits: Tensor, labels: Tensor, class_prior: Tensor) -> Tensor:
        """`(B, T, K), (B, T) -> (B,)`, sums over tokens."""
        losses, sequence = token_losses(example_loss, logits, labels, class_prior)
        return sum_per_sequence(losses, sequence, len(labels))

    def num_items(self, labels: Tensor) -> Tensor:
        """Labelled tokens."""
        return (labels != IGNORED).sum()

    def pool(self, z: Tensor, labels: Tensor | None, inputs: Mapping[str, Any], pad_token_id: int | None) -> Tensor:
        """Mean over the labelled tokens, shape `(B, D)`."""
        labels = required(labels, "the labels of a batch")
        return mean_over_tokens(_tokens(z, labels), labels != IGNORED)


class Tokens(TokenSequences):
    """A weight per labelled token; the class is the token's label. The memory holds a feature per token."""

    losses = ("cross_entropy", "logit_adjusted", "focal")
    defaults = MappingProxyType({})
    uses_groups = False
    has_head_classes = True

    def fit(self, dataset: Any, source: LabelSource) -> LabelReader:
        """The model's classes."""
        names = class_names(source.config, dataset, source.columns, self.num_outputs(dataset, source))

        def read(other: Any, name: str) -> Labels:
            tokens, counts = _read(other, name, source)
            return Labels(tokens, None, counts)

        return LabelReader(names, read)

    def unit_losses(self, example_loss: ExampleLoss, logits: Tensor, labels: Tensor, class_prior: Tensor) -> Tensor:
        """`(B, T, K), (B, T) -> (U,)`, the labelled tokens in order."""
        return token_losses(example_loss, logits, labels, class_prior)[0]

    def units(self, labels: Tensor) -> Tensor:
        """Labelled tokens of each row."""
        return (labels != IGNORED).sum(dim=1)

    def spread(self, weights: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        """`(U,) -> (B, T, 1)`, ones where there is no label."""
        spread = weights.new_ones(labels.shape)
        spread[labels != IGNORED] = weights
        return spread[..., None]

    def pool(self, z: Tensor, labels: Tensor | None, inputs: Mapping[str, Any], pad_token_id: int | None) -> Tensor:
        """The labelled tokens in order, shape `(U, D)`."""
        labels = required(labels, "the labels of a batch")
        return _tokens(z, labels)[labels != IGNORED]


def _read(dataset: Any, name: str, source: LabelSource) -> tuple[Tensor, Tensor]:
    """Labels of all labelled tokens `(U,)`, and their number in each example `(N,)`."""
    flat, lengths = read_lists(dataset, name, source.columns)
    example = np.repeat(np.arange(len(lengths)), lengths)
    labelled = flat != IGNORED
    tokens = torch.from_numpy(flat[labelled])
    counts = torch.from_numpy(np.bincount(example[labelled], minlength=len(lengths)))
    if source.config is not None:
        check_range(tokens, int(source.config.num_labels), name)
    return tokens, counts


def _rarest(tokens: Tensor, counts: Tensor, rank: Tensor) -> Tensor:
    """The class of smallest `rank` in each sequence, shape `(N,)`; -100 for a sequence without labels."""
    sequence = torch.repeat_interleave(torch.arange(len(counts)), counts)
    lowest = torch.full((len(counts),), len(rank)).scatter_reduce(0, sequence, rank[tokens], "amin")
    classes = torch.cat([rank.argsort(), torch.tensor([IGNORED])])
    return classes[lowest]


def _tokens(z: Tensor, labels: Tensor) -> Tensor:
    if z.shape[:2] != labels.shape:
        raise ValueError(
            f"Expected a head input of shape (B, T, D) for labels of shape {tuple(labels.shape)}, got "
            f"{tuple(z.shape)}. Set `feature_module` to a module whose input is one vector per token."
        )
    return z
