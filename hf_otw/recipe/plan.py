"""Plan of a run before it starts: classes, meta set, steps, memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from datasets import ClassLabel

from hf_otw.features.head import find_heads
from hf_otw.recipe.splits import LABEL, class_labels, class_names
from hf_otw.training.session import build_schedule

if TYPE_CHECKING:
    from torch import nn

    from hf_otw.recipe.run import Job
    from hf_otw.trainer import OTWeightedTrainer

#: Bytes that Adam keeps for each number that is trained.
ADAM = 8


@dataclass(frozen=True)
class Plan:
    """A run before it starts.

    Attributes:
        classes: name -> training examples, without the meta set; empty where rows have no class each.
        rows: train, meta and test.
        batch: examples of one step, over all processes and accumulated batches.
        epoch_steps, steps: optimizer steps of an epoch, and of the whole run.
        warmup_steps: steps with all weights 1; None without weights.
        parameters, trained: numbers in the model, and those that are trained.
        memory: bytes by what needs them; what the activations need depends on the model and is not in it.
    """

    classes: dict[str, int]
    rows: dict[str, int]
    batch: int
    epoch_steps: int
    steps: int
    warmup_steps: int | None
    parameters: int
    trained: int
    memory: dict[str, int]


def plan_of(job: Job, trainer: OTWeightedTrainer) -> Plan:
    """Work out the plan of one seed; the trainer has checked its data and split off the meta set."""
    args, splits = trainer.args, job.prepared.splits
    rows = {"train": len(trainer.train_dataset), "meta": len(splits.meta or ()), "test": len(splits.test)}
    classes: dict[str, int] = {}
    if not trainer.is_weighted and isinstance(job.rows.train.features.get(LABEL), ClassLabel):
        names = class_names(job.rows.train)
        counts = np.bincount(class_labels(job.rows.train), minlength=len(names)).tolist()
        classes = dict(zip(names, counts, strict=True))
    if trainer.is_weighted:
        data = trainer.training_data
        classes = dict(zip(data.class_names, data.class_counts, strict=True))
        rows["meta"] = len(data.meta or ())
    local = args.train_batch_size * args.gradient_accumulation_steps
    batch = local * args.world_size
    epoch_steps = max(1, math.ceil(len(trainer.train_dataset) / batch))
    steps = args.max_steps if args.max_steps > 0 else math.ceil(args.num_train_epochs * epoch_steps)
    parameters = list(trainer.model.parameters())
    return Plan(
        classes,
        rows,
        batch,
        epoch_steps,
        steps,
        warmup_steps(trainer, steps, epoch_steps),
        sum(p.numel() for p in parameters),
        sum(p.numel() for p in parameters if p.requires_grad),
        memory(trainer, rows["train"]),
    )


def warmup_steps(trainer: OTWeightedTrainer, steps: int, epoch_steps: int) -> int | None:
    """Steps before the first weights."""
    if not trainer.is_weighted:
        return None
    return build_schedule(trainer.settings, steps, epoch_steps).warmup_steps


def memory(trainer: OTWeightedTrainer, rows: int) -> dict[str, int]:
    """Bytes on one process."""
    parameters = list(trainer.model.parameters())
    trained = [p for p in parameters if p.requires_grad]
    found = {
        "parameters": sum(p.numel() * p.element_size() for p in parameters),
        "gradients": sum(p.numel() * p.element_size() for p in trained),
    }
    if "adam" in str(trainer.args.optim).lower():
        found["optimizer (Adam)"] = ADAM * sum(p.numel() for p in trained)
    width = feature_width(trainer)
    if width is not None:
        shared = trainer.args.world_size if trainer.settings.feature_memory == "sharded" else 1
        found["feature memory"] = 2 * rows * width // shared
    return found


def feature_width(trainer: OTWeightedTrainer) -> int | None:
    """Numbers of one feature; None without transport, or where the head does not say."""
    settings = trainer.settings
    if not settings.needs_transport or settings.weight_scope == "batch":
        return None
    data = trainer.training_data
    heads: list[nn.Module] = find_heads(trainer.model, data.num_outputs, settings.feature_module)
    widths = [getattr(head, "in_features", None) for head in heads]
    known = [width for width in widths if width is not None]
    return sum(known) if len(known) == len(widths) else None
