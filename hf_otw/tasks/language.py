"""Language modelling: a weight per sequence, over groups such as domain or language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from hf_otw._utils import required
from hf_otw.losses import ExampleLoss
from hf_otw.tasks.base import IGNORED, LabelReader, LabelSource, Task, mean_over_tokens, sum_per_sequence, token_losses
from hf_otw.tasks.groups import fit_groups


class MaskedLM(Task):
    """Tokens are predicted where they stand. The labels may come from the collator; the class is the group."""

    name = "masked_lm"
    losses = ("cross_entropy",)
    logits_ndim = 3
    uses_groups = True

    def fit(self, dataset: Any, source: LabelSource) -> LabelReader:
        """The groups."""
        if source.group_column is None:
            raise ValueError(
                "Expected `group_column` for language modelling, whose tokens are no classes to balance, got none. "
                "Name the column of train_dataset that holds each example's group (domain, language, source, ...), or "
                "set weighting='none'."
            )
        return fit_groups(dataset, source.group_column)

    def num_outputs(self, dataset: Any, source: LabelSource) -> None:
        """The head is the output embedding."""
        return

    def unit_losses(self, example_loss: ExampleLoss, logits: Tensor, labels: Tensor, class_prior: Tensor) -> Tensor:
        """`(B, T, V), (B, T) -> (B,)`, sums over tokens."""
        logits, targets = self._aligned(logits, labels)
        losses, sequence = token_losses(example_loss, logits, targets, class_prior)
        return sum_per_sequence(losses, sequence, len(labels))

    def num_items(self, labels: Tensor) -> Tensor:
        """Tokens that are predicted."""
        return (self._aligned(labels, labels)[1] != IGNORED).sum()

    def pool(self, z: Tensor, labels: Tensor | None, inputs: Mapping[str, Any], pad_token_id: int | None) -> Tensor:
        """Mean over the places that predict a token, shape `(B, D)`."""
        z, targets = self._aligned(z, required(labels, "the labels of a batch"))
        return mean_over_tokens(z, targets != IGNORED)

    def _aligned(self, values: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Values, and at the same place the token that each of them predicts."""
        return values, labels


class CausalLM(MaskedLM):
    """Each token predicts the next."""

    name = "causal_lm"

    def _aligned(self, values: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return values[:, :-1], labels[:, 1:]


class Seq2SeqLM(MaskedLM):
    """An encoder-decoder, which makes the decoder's inputs from the labels; the features are the decoder's."""

    name = "seq2seq_lm"
    feeds_labels = True
