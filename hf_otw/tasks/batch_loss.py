"""Loss of a batch: the forward pass, and what a task's losses make of its logits."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from hf_otw.features.encoder import running_statistics_kept
from hf_otw.losses import ExampleLoss
from hf_otw.tasks import Task
from hf_otw.tasks.outputs import logits_of


class BatchLoss:
    """One object for the three losses of a run, so that they cannot disagree on logits, labels and divisors.

    Args:
        task: what carries a weight.
        label_name: of the labels in a batch.
        training: loss of a training example.
        evaluation: loss of an example in evaluation.
        meta: loss of a meta example, whose label is clean.
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
        self._training, self._evaluation, self._meta = training, evaluation, meta

    def forward(self, model: nn.Module, inputs: dict[str, Any], labels: Tensor) -> Any:
        """The model's outputs; labels go in only where the model cannot do without."""
        return model(**inputs, **({self.label_name: labels} if self.task.feeds_labels else {}))

    def training(self, outputs: Any, labels: Tensor, class_prior: Tensor) -> Tensor:
        """Loss of each unit, shape `(U,)`, to be weighted."""
        return self.task.unit_losses(self._training, self._logits(outputs), labels, class_prior)

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
        return self.task.unit_losses(example_loss, logits, labels, uniform).sum() / self.task.num_items(labels)

    def _logits(self, outputs: Any) -> Tensor:
        return logits_of(outputs, self.task.logits_ndim)
