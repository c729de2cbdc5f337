"""What cannot be weighted is refused before any training, with a way out."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import TrainingArguments

from hf_otw.args import WeightingArguments


def check_support(
    args: TrainingArguments,
    options: WeightingArguments,
    model: nn.Module,
    compute_loss_func: Any,
    *,
    needs_transport: bool,
) -> None:
    """Check the combination of arguments and model.

    Raises:
        ValueError: see the messages.
    """
    if compute_loss_func is not None:
        raise ValueError(
            "Expected no compute_loss_func beside example weights: it returns one number for the batch, which "
            "cannot be weighted. Pass a "
            "per-example loss, `example_loss=(logits, labels, class_prior) -> (B,)`, or set weighting='none'."
        )
    if args.n_gpu > 1:
        raise ValueError(
            f"Expected one process per device, got one process on {args.n_gpu} GPUs (DataParallel), whose replicas "
            f"would each solve a part of the "
            "transport. Start the script with `accelerate launch` or `torchrun`, or set CUDA_VISIBLE_DEVICES to one "
            "GPU."
        )
    problem = getattr(getattr(model, "config", None), "problem_type", None)
    num_labels = getattr(getattr(model, "config", None), "num_labels", None)
    if problem not in (None, "single_label_classification") or num_labels == 1:
        raise ValueError(
            f"Expected a single-label classification model, got problem_type={problem!r} and "
            f"num_labels={num_labels}. Multi-label and regression "
            "losses have no class per example to balance; use weighting='none' for them."
        )
    if needs_transport and options.weight_scope == "batch" and args.per_device_train_batch_size < 2:
        raise ValueError(
            "Expected at least 2 examples in a batch, got per_device_train_batch_size=1 with weight_scope='batch': "
            "the weight of a single "
            "example is always 1. Use weight_scope='dataset', or a larger batch."
        )


def check_index(index: Any) -> None:
    """Raise a ValueError for a training batch without the row numbers of its examples."""
    if index is None:
        raise ValueError(
            "Expected `example_index` in every training batch, got a batch without it. The trainer adds it when it is "
            "built: pass `train_dataset` and `data_collator` to the constructor instead of replacing them later."
        )
