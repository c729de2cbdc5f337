"""Scripts that compute the loss themselves: `compute_loss` overridden, `compute_loss_func`, label smoothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.host_programs.script import BATCH, Script, bert, cross_entropy

CLASS_WEIGHTS = torch.tensor([1.0, 2.0, 3.0])


def class_weighted(base: type) -> type:
    """Of every tutorial on imbalance."""

    class Derived(base):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            labels = inputs.get("labels")
            outputs = model(**inputs)
            loss = nn.CrossEntropyLoss(weight=CLASS_WEIGHTS)(outputs.get("logits").view(-1, 3), labels.view(-1))
            return (loss, outputs) if return_outputs else loss

    return Derived


def class_weighted_value(script: Script, net: nn.Module, items: list[Any], weights: Tensor) -> Tensor:
    batch = script.collate(items)
    labels = batch["labels"]
    losses = F.cross_entropy(net(**batch)["logits"], labels, weight=CLASS_WEIGHTS, reduction="none")
    return (losses * weights).sum() / CLASS_WEIGHTS[labels].sum()


class NoKwargs(nn.Module):
    """A forward that takes what it names and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = bert()

    def forward(self, input_ids, labels=None):
        return self.inner(input_ids=input_ids, labels=labels)


def focal_that_pops(base: type) -> type:
    class Derived(base):
        def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
            labels = inputs.pop("labels")
            outputs = model(**inputs)
            losses = F.cross_entropy(outputs.logits, labels, reduction="none")
            loss = ((1 - (-losses).exp()) ** 2 * losses).mean()
            return (loss, outputs) if return_outputs else loss

    return Derived


def focal_value(script: Script, net: nn.Module, items: list[Any], weights: Tensor) -> Tensor:
    batch = script.collate(items)
    losses = F.cross_entropy(net(**batch)["logits"], batch["labels"], reduction="none")
    return ((1 - (-losses).exp()) ** 2 * losses * weights).mean()


def penalty(base: type) -> type:
    """A term of the user's beside the trainer's own loss; the item count is not passed on."""

    class Derived(base):
        def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
            loss, outputs = super().compute_loss(model, inputs, return_outputs=True)
            loss = loss + 0.1 * model.classifier.weight.square().sum()
            return (loss, outputs) if return_outputs else loss

    return Derived


def penalty_value(script: Script, net: nn.Module, items: list[Any], weights: Tensor) -> Tensor:
    return cross_entropy(script, net, items, weights) + 0.1 * net.classifier.weight.square().sum()


def bare_super(base: type) -> type:
    class Derived(base):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            return super().compute_loss(model, inputs, return_outputs)

    return Derived


def logs_accuracy(base: type) -> type:
    """Calls ours, then reads the outputs and the labels for a figure of its own."""

    class Derived(base):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
            self.accuracy = (outputs["logits"].argmax(-1) == inputs["labels"]).float().mean()
            return (loss, outputs) if return_outputs else loss

    return Derived


def sum_over_items(base: type) -> type:
    """Divides by the items of the whole step, as the host's documentation shows."""

    class Derived(base):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.loss_is_scaled_for_ga = True

        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            outputs = model(**inputs)
            loss = F.cross_entropy(outputs.logits, inputs["labels"], reduction="sum")
            loss = loss / (len(inputs["labels"]) if num_items_in_batch is None else num_items_in_batch)
            return (loss, outputs) if return_outputs else loss

    return Derived


def mixed_in(base: type) -> type:
    """A mix-in that stands before the trainer and does not know it."""

    class LabelNoiseRobust:
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            outputs = model(**inputs)
            p = outputs["logits"].softmax(-1).gather(1, inputs["labels"][:, None]).squeeze(1)
            loss = ((1 - p**0.7) / 0.7).mean()  # generalised cross-entropy
            return (loss, outputs) if return_outputs else loss

    class Derived(LabelNoiseRobust, base):
        pass

    return Derived


def generalised_value(script: Script, net: nn.Module, items: list[Any], weights: Tensor) -> Tensor:
    batch = script.collate(items)
    p = net(**batch)["logits"].softmax(-1).gather(1, batch["labels"][:, None]).squeeze(1)
    return ((1 - p**0.7) / 0.7 * weights).mean()


def twice_through(base: type) -> type:
    """R-Drop: two forward passes that should agree."""

    class Derived(base):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            one, two = model(**inputs), model(**inputs)
            apart = F.kl_div(one.logits.log_softmax(-1), two.logits.softmax(-1), reduction="batchmean")
            loss = (one.loss + two.loss) / 2 + apart
            return (loss, one) if return_outputs else loss

    return Derived


TEACHER = torch.nn.Linear(6, 3)


def distilled(base: type) -> type:
    """A teacher's logits beside the labels."""

    class Derived(base):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            outputs = model(**inputs)
            with torch.no_grad():
                teacher = TEACHER(inputs["input_ids"].float() / 40)
            soft = F.kl_div(outputs.logits.log_softmax(-1), teacher.softmax(-1), reduction="batchmean")
            loss = 0.5 * outputs.loss + 0.5 * soft
            return (loss, outputs) if return_outputs else loss

    return Derived


def distilled_value(script: Script, net: nn.Module, items: list[Any], weights: Tensor) -> Tensor:
    batch = script.collate(items)
    logits = net(**batch)["logits"]
    with torch.no_grad():
        teacher = TEACHER(batch["input_ids"].float() / 40)
    soft = F.kl_div(logits.log_softmax(-1), teacher.softmax(-1), reduction="none").sum(-1)
    return ((F.cross_entropy(logits, batch["labels"], reduction="none") + soft) / 2 * weights).mean()


def poly_loss(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
    """Given as `compute_loss_func`."""
    losses = F.cross_entropy(outputs["logits"], labels, reduction="none")
    return (losses + 1 - (-losses).exp()).mean()


def poly_value(script: Script, net: nn.Module, items: list[Any], weights: Tensor) -> Tensor:
    batch = script.collate(items)
    losses = F.cross_entropy(net(**batch)["logits"], batch["labels"], reduction="none")
    return ((losses + 1 - (-losses).exp()) * weights).mean()


def smoothed_value(script: Script, net: nn.Module, items: list[Any], weights: Tensor) -> Tensor:
    batch = script.collate(items)
    losses = F.cross_entropy(net(**batch)["logits"], batch["labels"], reduction="none", label_smoothing=0.1)
    return (losses * weights).mean()


def own_step(base: type) -> type:
    """A training step of the user's, which calls `compute_loss` and goes backward itself."""

    class Derived(base):
        def training_step(self, model, inputs, num_items_in_batch=None):
            model.train()
            inputs = self._prepare_inputs(inputs)
            loss = self.compute_loss(model, inputs)
            self.accelerator.backward(loss)
            return loss.detach()

    return Derived


ACCUMULATED = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}

SCRIPTS = {
    "class weights, super not called": Script(subclass=class_weighted, value=class_weighted_value),
    "class weights, forward without **kwargs": Script(
        model=NoKwargs, subclass=class_weighted, value=class_weighted_value
    ),
    "focal loss that pops the labels": Script(subclass=focal_that_pops, value=focal_value),
    "a penalty beside super's loss": Script(subclass=penalty, value=penalty_value),
    "super without num_items_in_batch, accumulated": Script(
        subclass=bare_super, args=ACCUMULATED, value=cross_entropy, stock_off_by=1 / 4
    ),
    "super, then figures from outputs and labels": Script(subclass=logs_accuracy, value=cross_entropy),
    "sum over num_items_in_batch, accumulated": Script(subclass=sum_over_items, args=ACCUMULATED, value=cross_entropy),
    "own mean loss, accumulated": Script(
        subclass=focal_that_pops, args=ACCUMULATED, value=focal_value, stock_off_by=1 / 4
    ),
    "a mix-in before the trainer": Script(subclass=mixed_in, value=generalised_value),
    "two forward passes (R-Drop)": Script(subclass=twice_through, value=cross_entropy),
    "distillation": Script(subclass=distilled, value=distilled_value),
    "compute_loss_func": Script(loss=None, keywords=lambda: {"compute_loss_func": poly_loss}, value=poly_value),
    "label smoothing": Script(args={"label_smoothing_factor": 0.1}, value=smoothed_value),
    "own training_step": Script(subclass=own_step, value=cross_entropy),
}
assert BATCH == 8
