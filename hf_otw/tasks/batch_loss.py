"""Loss of a batch: the forward pass, and what a task's losses make of its logits."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from hf_otw.features.encoder import running_statistics_kept
from hf_otw.losses import ExampleLoss
from hf_otw.tasks import Task
from hf_otw.tasks.base import IGNORED
from hf_otw.tasks.outputs import logits_of
from hf_otw.tasks.packing import unpack


class BatchLoss:
    """One object for the three losses of a run, so that they cannot disagree on logits, labels and divisors.

    Args:
        task: what carries a weight.
        label_name: of the labels in a batch.
        training: loss of a training example.
        evaluation: loss of an example in evaluation.
        meta: loss of a meta example, whose label is clean.

    Attributes:
        feeds_labels: the forward pass gets the labels.
        auxiliary: what the model's own `aux_loss` is multiplied by and added, 0 for none.
    """

    def __init__(
        self,
        task: Task,
        *,
        label_name: str,
        training: ExampleLoss,
        evaluation: ExampleLoss,
        meta: ExampleLoss,
    ) -> None:
        self.task, self.label_name = task, label_name
        self.feeds_labels, self.auxiliary = task.feeds_labels, 0.0
        self._training, self._evaluation, self._meta = training, evaluation, meta

    def forward(self, model: nn.Module, inputs: dict[str, Any], labels: Tensor) -> Any:
        """The model's outputs; labels go in only where the model cannot do without."""
        return model(**inputs, **({self.label_name: labels} if self.feeds_labels else {}))

    def training(
        self,
        outputs: Any,
        labels: Tensor,
        class_prior: Tensor,
        weights: Tensor,
        *,
        lengths: list[int] | None = None,
    ) -> Tensor:
        """Sum over the units of weight times loss, shape `()`.

        Args:
            outputs: of the model.
            labels: of the batch.
            class_prior: `(K,)`.
            weights: `(U,)`.
            lengths: of the rows of a packed batch, see `hf_otw.tasks.packing`.

        Raises:
            ValueError: other losses than one for each weight.
        """
        logits, labels = unpack(self._logits(outputs), lengths), unpack(labels, lengths, IGNORED)
        losses = self.task.unit_losses(self._training, logits, labels, class_prior)
        if losses.shape != weights.shape:
            raise ValueError(
                f"Expected one loss for each of the {len(weights)} weights of the batch, shape "
                f"{tuple(weights.shape)}, got losses of shape {tuple(losses.shape)}. A loss of your own "
                "(`example_loss`) must return one number per example, without a mean; a collator must return the "
                "rows that it was given, or keep their `example_index`."
            )
        return (weights.to(losses) * losses).sum()

    def extra(self, outputs: Any) -> Tensor | float:
        """The auxiliary term of the model's own that a batch adds to the mean loss."""
        return self.auxiliary * outputs["aux_loss"] if self.auxiliary else 0.0

    def plain(self, outputs: Any, labels: Tensor) -> Tensor:
        """The task's plain mean loss of some outputs, shape `()`, without label smoothing."""
        return self._mean(self._meta, outputs, labels)

    def evaluation(self, model: nn.Module, inputs: dict[str, Any], labels: Tensor) -> tuple[Tensor, Any]:
        """The task's plain mean loss, shape `()`, which compares across weightings, and the outputs."""
        outputs = self.forward(model, inputs, labels)
        return self._mean(self._evaluation, outputs, labels), outputs

    def meta(self, model: nn.Module, batch: dict[str, Any]) -> Tensor:
        """The plain mean loss of a meta batch, shape `()`: its classes are balanced, there is nothing to adjust."""
        inputs = dict(batch)
        labels = inputs.pop(self.label_name)
        with running_statistics_kept(model):
            outputs = self.forward(model, inputs, labels)
        return self._mean(self._meta, outputs, labels)

    def _mean(self, example_loss: ExampleLoss, outputs: Any, labels: Tensor) -> Tensor:
        logits = self._logits(outputs)
        uniform = logits.new_full((logits.shape[-1],), 1 / logits.shape[-1])
        return self.task.unit_losses(example_loss, logits, labels, uniform).sum() / self.divisor(labels)

    def divisor(self, labels: Tensor) -> int | Tensor:
        """What the sum of a batch's losses is divided by for their mean: 1 where nothing has a label."""
        items = self.task.num_items(labels)
        return items.clamp_min(1) if isinstance(items, Tensor) else max(items, 1)

    def _logits(self, outputs: Any) -> Tensor:
        return logits_of(outputs, self.task.logits_ndim)
