"""The contract of a task: what carries a weight, which class it belongs to, what its loss is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from hf_otw.features.pooling import one_vector
from hf_otw.losses import ExampleLoss

IGNORED = -100
#: Half of a class is split off for the meta set: one with fewer examples cannot give any.
SMALLEST_CLASS = 4

#: Where a loss has no term for the class prior, the weights alone have to balance the classes; half of the examples'
#: worth may be spent on that.
BALANCED_BY_WEIGHTS: Mapping[str, Any] = MappingProxyType(
    {
        "weighting": "closed_form",
        "weighting_kwargs": {"target_ess": 0.5},
        "cost": "combined",
        "target_points": "examples",
    }
)


class Labels(NamedTuple):
    """The labels of a data set as the weighting sees them. A *unit* is what carries a weight: an example, or a token.

    Shape:
        - classes: `(U,)`, int64, the class of each unit, in `0..K-1`, or -100 for an example without a label.
        - vectors: `(U, L)`, see `hf_otw.types.Measure.label_vectors`, or None for plain classes.
        - counts: `(N,)`, int64, units of each example, in order; None for one each.
    """

    classes: Tensor
    vectors: Tensor | None = None
    counts: Tensor | None = None


class LabelReader(NamedTuple):
    """Reads the labels of the training set and of the meta set alike; classes are those of the training set.

    Attributes:
        class_names: of the `K` classes that are balanced.
        read: `(data set, its name in errors) -> Labels`.
    """

    class_names: list[str]
    read: Callable[[Any, str], Labels]


class LabelSource(NamedTuple):
    """Where labels come from.

    Attributes:
        columns: names to look for, in this order.
        config: of the model, or None.
        group_column: holds the class of each example, where the labels give none.
        label_bins: intervals that the range of a number is cut into.
    """

    columns: Sequence[str]
    config: Any
    group_column: str | None
    label_bins: int


class Task(ABC):
    """One kind of training: a strategy without state, shared by all runs.

    Attributes:
        name: as in `OTWeightedTrainingArguments.task`.
        losses: names of the example losses that fit, the first by default.
        defaults: arguments that replace those of the default preset.
        logits_ndim: dimensions of the model's logits.
        feeds_labels: the model needs the labels in its forward pass.
        uses_groups: reads `group_column`.
        labels_per_row: a batch holds the label of each row as it is stored.
        has_head_classes: the classes are the outputs of the head, whose prior a loss may be adjusted by.
    """

    name: ClassVar[str]
    losses: ClassVar[tuple[str, ...]]
    defaults: ClassVar[Mapping[str, Any]] = BALANCED_BY_WEIGHTS
    logits_ndim: ClassVar[int] = 2
    feeds_labels: ClassVar[bool] = False
    uses_groups: ClassVar[bool] = False
    labels_per_row: ClassVar[bool] = False
    has_head_classes: ClassVar[bool] = False

    @abstractmethod
    def fit(self, dataset: Any, source: LabelSource) -> LabelReader:
        """Learn the classes from the training set.

        Raises:
            ValueError: labels that do not fit the task or the model.
        """

    @abstractmethod
    def num_outputs(self, dataset: Any, source: LabelSource) -> int | None:
        """How many outputs the model's head has, to find it by; None for the output embeddings of a language model."""

    @abstractmethod
    def unit_losses(self, example_loss: ExampleLoss, logits: Tensor, labels: Tensor, class_prior: Tensor) -> Tensor:
        """Loss of each unit of the batch, shape `(U,)`: their sum over `num_items` is the model's own loss."""

    def units(self, labels: Tensor) -> Tensor | None:
        """How many units each row of a batch has, shape `(B,)`; None for one each."""
        return None

    def spread(self, weights: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        """The weights of a batch's units in a shape that broadcasts to logits: `(U,) -> (B, 1)`, `(B, 1, 1)`, ..."""
        if len(weights) != len(logits):
            raise ValueError(
                f"Expected logits for the {len(weights)} rows of the batch, got {len(logits)}. Let the forward pass "
                "return one row of logits per example, or set weighting='none'."
            )
        return weights.view(-1, *[1] * (logits.ndim - 1))

    def num_items(self, labels: Tensor) -> int | Tensor:
        """What the sum of a batch's losses is divided by: its examples, or its labelled tokens."""
        return len(labels)

    def pool(self, z: Tensor, labels: Tensor | None, inputs: Mapping[str, Any], pad_token_id: int | None) -> Tensor:
        """One feature per unit, shape `(U, D)`, from the head's input `z`."""
        return one_vector(z, inputs, pad_token_id)


def join_rare(classes: Tensor, num_classes: int) -> tuple[Tensor, list[int]]:
    """Classes that were made from labels, not given, need not be kept: too small ones join the largest.

    Shape:
        - classes: `(N,)`; returns the new number of each class, `(K,)`, and the classes that are left, in order.
    """
    counts = torch.bincount(classes, minlength=num_classes)
    kept = counts >= SMALLEST_CLASS
    kept = kept if kept.any() else counts > 0
    number = kept.cumsum(0) - 1
    return torch.where(kept, number, number[counts.argmax()]), kept.nonzero().flatten().tolist()


def token_losses(
    example_loss: ExampleLoss, logits: Tensor, labels: Tensor, class_prior: Tensor
) -> tuple[Tensor, Tensor]:
    """Loss of each labelled token, shape `(M,)`, and the sequence that it belongs to, shape `(M,)`.

    Shape:
        - logits: `(B, T, K)`, labels: `(B, T)`, `-100` where there is none.
    """
    labelled = labels != IGNORED  # (B, T)
    sequence = labelled.nonzero()[:, 0]
    return example_loss(logits[labelled], labels[labelled], class_prior), sequence


def mean_over_tokens(z: Tensor, labelled: Tensor) -> Tensor:
    """Mean of `z (B, T, D)` over the tokens in `labelled (B, T)`, shape `(B, D)`; zeros where there is none."""
    share = labelled.to(z.dtype)
    return torch.einsum("btd,bt->bd", z, share) / share.sum(dim=1, keepdim=True).clamp_min(1)


def sum_per_sequence(losses: Tensor, sequence: Tensor, num_sequences: int) -> Tensor:
    """`(M,)` -> `(B,)`."""
    return losses.new_zeros(num_sequences).index_add(0, sequence, losses)
