"""Checks of arguments, model and data before any training: refuse what cannot be weighted, with a way out."""

from __future__ import annotations

from typing import Any

from transformers import TrainingArguments

from hf_otw.config.args import WeightingArguments
from hf_otw.config.settings import Settings
from hf_otw.data.training import TrainingData
from hf_otw.losses import ExampleLoss
from hf_otw.tasks import Task
from hf_otw.types import Cost
from hf_otw.weighting import WeightModel
from hf_otw.weighting.models.clean_posterior import check_number_of_classes


def check_support(
    args: TrainingArguments,
    settings: Settings,
    task: Task,
    *,
    smoothing: float,
) -> None:
    """Check the combination of arguments and model.

    Raises:
        ValueError: see the messages.
    """
    if args.n_gpu > 1:
        raise ValueError(
            f"Expected one process per device, got one process on {args.n_gpu} GPUs (DataParallel), whose replicas "
            f"would each solve a part of the "
            "transport. Start the script with `accelerate launch` or `torchrun`, or set CUDA_VISIBLE_DEVICES to one "
            "GPU."
        )
    if smoothing and "cross_entropy" not in task.losses:
        raise ValueError(
            f"Expected label_smoothing_factor=0 for the task {task.name!r}, whose loss smooths no labels, got "
            f"{smoothing}. Leave it out."
        )
    if settings.needs_transport and settings.weight_scope == "batch" and args.per_device_train_batch_size < 2:
        raise ValueError(
            "Expected at least 2 examples in a batch, got per_device_train_batch_size=1 with weight_scope='batch': "
            "the weight of a single "
            "example is always 1. Use weight_scope='dataset', or a larger batch."
        )


def check_objects(
    options: WeightingArguments,
    *,
    weighting: WeightModel | None,
    cost: Cost | None,
    example_loss: ExampleLoss | None,
    task: Task | None,
) -> None:
    """Check objects of the user's against the names in the arguments.

    Raises:
        ValueError: both for one thing, or a cost for a weighting that does not read it.
    """
    if options.weighting == "none" and any(own is not None for own in (weighting, cost, example_loss, task)):
        raise ValueError(
            "Expected no weighting, cost, example_loss or task object with weighting='none', the stock Trainer. Leave "
            "them out, or leave weighting='none' out."
        )
    for name, own in (("cost", cost), ("example_loss", example_loss), ("task", task)):
        if own is not None and getattr(options, name) is not None:
            raise ValueError(
                f"Expected one {name}, got {name}={getattr(options, name)!r} in the arguments and the object {own!r}. "
                "Leave one of them out."
            )
    if example_loss is not None and options.example_loss_kwargs:
        raise ValueError("Expected no example_loss_kwargs beside an example_loss object. Build the object with them.")
    if cost is not None and options.cost_kwargs:
        raise ValueError("Expected no cost_kwargs beside a cost object. Build the object with them.")


def check_cost(settings: Settings, cost: Cost | None) -> None:
    """Raise a ValueError for a cost object that the weighting does not read."""
    if cost is not None and "cost" not in settings.option.uses:
        reason = "learns one" if settings.option.learns_cost else "needs none"
        raise ValueError(
            f"Expected no cost of your own with weighting={settings.weighting!r}, which {reason}, got {cost!r}. Leave "
            "it out, or set weighting='agreement'."
        )


def check_learned_cost(settings: Settings, data: TrainingData) -> None:
    """Check the labels for `clean_posterior`.

    Raises:
        ValueError: labels that are more than a class, or too many classes.
    """
    if settings.weighting != "clean_posterior":
        return
    if data.label_vectors is not None:
        raise ValueError(
            "Expected one class per example for weighting='clean_posterior', got sets of labels or numbers. Leave "
            "weighting unset, or set weighting='agreement'."
        )
    check_number_of_classes(data.num_classes)


def check_index(index: Any) -> None:
    """Raise a ValueError for a training batch without the row numbers of its examples."""
    if index is None:
        raise ValueError(
            "Expected `example_index` in every training batch, got a batch without it. The trainer adds it when it is "
            "built: pass `train_dataset` and `data_collator` to the constructor instead of replacing them later."
        )
