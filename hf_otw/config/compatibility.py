"""What cannot be weighted is refused before any training, with a way out."""

from __future__ import annotations

from typing import Any

from transformers import TrainingArguments

from hf_otw.config.args import WeightingArguments
from hf_otw.data.training import TrainingData
from hf_otw.tasks import Task
from hf_otw.types import Cost
from hf_otw.weighting import WeightModel
from hf_otw.weighting.models.clean_posterior import check_number_of_classes


def check_support(
    args: TrainingArguments,
    options: WeightingArguments,
    task: Task,
    *,
    smoothing: float,
    needs_transport: bool,
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
    if needs_transport and options.weight_scope == "batch" and args.per_device_train_batch_size < 2:
        raise ValueError(
            "Expected at least 2 examples in a batch, got per_device_train_batch_size=1 with weight_scope='batch': "
            "the weight of a single "
            "example is always 1. Use weight_scope='dataset', or a larger batch."
        )


def check_learned_cost(
    options: WeightingArguments, weight_model: WeightModel | None, cost: Cost | None, data: TrainingData
) -> None:
    """Check what a weight model that learns its cost is given, by name or as an object.

    Raises:
        ValueError: a cost, labels that are more than a class, or too many classes.
    """
    named = weight_model is None and options.weighting == "clean_posterior"
    if cost is not None and (named or (weight_model is not None and weight_model.learns_cost)):
        name = "weighting='clean_posterior'" if weight_model is None else weight_model.name
        raise ValueError(
            f"Expected no cost of your own with {name}, which learns one, got {cost!r}. Leave it out, or set "
            "weighting='agreement'."
        )
    if named and data.label_vectors is not None:
        raise ValueError(
            "Expected one class an example for weighting='clean_posterior', got sets of labels or numbers. Leave "
            "weighting unset, or set weighting='agreement'."
        )
    if named:
        check_number_of_classes(data.num_classes)


def check_index(index: Any) -> None:
    """Raise a ValueError for a training batch without the row numbers of its examples."""
    if index is None:
        raise ValueError(
            "Expected `example_index` in every training batch, got a batch without it. The trainer adds it when it is "
            "built: pass `train_dataset` and `data_collator` to the constructor instead of replacing them later."
        )
