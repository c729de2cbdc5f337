"""Weighting of one training run: joins the algorithm to the model, the data and the processes."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from hf_otw._utils import required
from hf_otw.config.build import build_class_mass, build_cost, build_target
from hf_otw.config.settings import Settings
from hf_otw.data.training import TrainingData
from hf_otw.features.encoder import Encoder
from hf_otw.features.memory import FeatureMemory
from hf_otw.features.stored import EqualFeatures
from hf_otw.tasks.own_loss import LogitWeights
from hf_otw.types import Cost, Shard
from hf_otw.weighting.base import WeightModel
from hf_otw.weighting.reweighter import Reweighter, Schedule

logger = logging.getLogger(__name__)

#: Batches of features that are exchanged at once when the memory is filled.
CHUNK_BATCHES = 16


@dataclass(frozen=True)
class BatchRows:
    """Which rows the latest batch holds.

    Shape:
        - index: `(B,)`, row numbers, or None for a batch without them.
        - labels: of the batch, or None.
    """

    index: Tensor | None
    labels: Any


NO_ROWS = BatchRows(None, None)


@dataclass
class MicroStep:
    """One training micro-step.

    Attributes:
        num_items: items of the whole optimizer step, of all processes, or None.
        logit_weights: listens to the model where a loss may be computed that is not ours.
    """

    num_items: Tensor | int | None
    logit_weights: LogitWeights | None = None


class WeightingSession:
    """Lives from the start of `train()`; the trainer asks it for weights and tells it of steps.

    Args:
        reweighter: the algorithm.
        data: training rows and meta set.
        encoder: features of data sets, or None for a weight model that needs no transport.
        accelerator: the processes.
        head_only_after_warmup: train the head alone once the warm-up is over.
    """

    def __init__(
        self,
        reweighter: Reweighter,
        data: TrainingData,
        encoder: Encoder | None,
        accelerator: Accelerator,
        *,
        head_only_after_warmup: bool,
    ) -> None:
        self.reweighter, self.data, self.encoder, self.accelerator = reweighter, data, encoder, accelerator
        self.head_only_after_warmup = head_only_after_warmup
        self._micro_step, self._micro_step_of = 0, -1
        self._prior_of: Tensor | None = None
        self._prior: Tensor
        self._sum: Tensor
        self._count: int
        self._milliseconds: float
        self._reset_statistics()

    def close(self) -> None:
        """Take the hook off the model."""
        if self.encoder is not None:
            self.encoder.head_input.remove()

    def warm(self, step: int) -> bool:
        """Is the warm-up over at optimizer step `step`?"""
        return step >= self.reweighter.schedule.warmup_steps

    def meta_counts(self, step: int) -> bool:
        """Is there a meta term at optimizer step `step`? From the first one; in two stages, in the second alone."""
        return not self.head_only_after_warmup or self.warm(step)

    def before_forward(self, model: nn.Module, step: int) -> None:
        """Solve if due. Before the training forward pass, because wrapped models broadcast buffers in every one."""
        started = time.perf_counter()
        if self.encoder is not None:
            self.encoder.head_input.detach = self.head_only_after_warmup and self.warm(step)
        if self.reweighter.due(step):
            try:
                self._refresh(model, step)
            except EqualFeatures as error:
                # A model may collapse: training goes on with the weights that there are, and may recover.
                logger.warning("The weights stay as they are: %s", error)
        self._milliseconds += 1000 * (time.perf_counter() - started)

    def after_forward(self) -> None:
        """Leave the model as it was: what the user does with it between steps and after training is not cut."""
        if self.encoder is not None:
            self.encoder.head_input.detach = False

    def weights(self, step: int, index: Tensor, inputs: Mapping[str, Any], labels: Tensor) -> Tensor:
        """Weights of the units of this process's batch, shape `(U,)`, detached; their features go to the memory."""
        started = time.perf_counter()
        features, own = None, slice(None)
        num_rows = len(index)
        index = self.data.units_of(index)  # (B,) -> (U,)
        if self.encoder is not None:
            features = self.encoder.take(inputs, labels, num_rows)
            check_units(len(index), len(features))
            if not self.reweighter.encode_at_solve:
                # All processes write, and in batch scope solve, the whole global batch: their states stay equal.
                index, features, own = self._of_all_processes(index, features)
        weights = self.reweighter.weights(step, index, features)[own]
        self._sum = self._sum + self.reweighter.statistics
        self._count += 1
        self._milliseconds += 1000 * (time.perf_counter() - started)
        return weights

    @property
    def class_prior(self) -> Tensor:
        """Each class's share of the weight that is trained on, `(K,)`, by the model's numbering."""
        found, classes = self.reweighter.class_prior, self.data.head_classes
        if classes is None:
            return found
        if self._prior_of is not found:  # solved anew
            self._prior_of, self._prior = found, classes.prior(self.reweighter.example_weights)
        return self._prior

    def meta_items(self, size: int | None, *, seed: int, step: int) -> list[Any]:
        """Items of the meta term, another draw in every micro-step of step `step`."""
        self._micro_step = self._micro_step + 1 if step == self._micro_step_of else 0
        self._micro_step_of = step
        meta = required(self.data.meta, "a meta set")
        return meta.sample(size, seed=seed, step=step, micro_step=self._micro_step)

    def take_statistics(self) -> dict[str, float]:
        """Means over the micro-steps since the last call, one device synchronisation; those that are undefined are
        left out.
        """
        if not self._count:
            return {}
        means = (self._sum / self._count).tolist()
        found = {
            f"otw/{_named(name, self.data.class_names)}": mean
            for name, mean in zip(self.reweighter.statistic_names, means, strict=True)
            if math.isfinite(mean)
        }
        found["otw/milliseconds"] = self._milliseconds / self._count
        self._reset_statistics()
        return found

    def _reset_statistics(self) -> None:
        self._sum = torch.zeros_like(self.reweighter.statistics)
        self._milliseconds, self._count = 0.0, 0

    def _refresh(self, model: nn.Module, step: int) -> None:
        if self.encoder is None:
            self.reweighter.refresh(step)
            return
        if self.reweighter.memory is not None:
            self._fill(self.reweighter.memory, self.encoder, model)
        meta, device = required(self.data.meta, "a meta set"), self.reweighter.labels.device
        vectors = None if meta.label_vectors is None else meta.label_vectors.to(device)
        self.reweighter.refresh(step, self.encoder(model, meta.dataset), meta.classes.to(device), vectors)

    def _fill(self, memory: FeatureMemory, encoder: Encoder, model: nn.Module) -> None:
        """Encode the examples that training has not seen yet, or all, a chunk from each process at a time."""
        processes = self.accelerator.num_processes
        if self.reweighter.encode_at_solve:
            memory.forget()
        missing = self.data.examples_of(memory.missing(self.reweighter.rows))
        if not len(missing):
            return
        share = math.ceil(len(missing) / processes)
        # Equal numbers of forward passes on all processes, which may be collective: the last rows are repeated.
        padded = torch.cat([missing, missing[-1:].expand(share * processes - len(missing))])
        own = padded.view(processes, share)[self.accelerator.process_index]
        for chunk in own.split(CHUNK_BATCHES * encoder.batch_size):
            features = encoder(model, self.data.subset(chunk.tolist()))
            units = self.data.units_of(chunk)
            check_units(len(units), len(features))
            index, features, _ = self._of_all_processes(units, features)
            memory.write(index, features)

    def _of_all_processes(self, index: Tensor, features: Tensor) -> tuple[Tensor, Tensor, slice]:
        """Rows of the global batch, and where in them this process's are."""
        if self.accelerator.num_processes == 1:
            return index, features, slice(None)
        own, rank = len(index), self.accelerator.process_index
        pad: Callable[..., Tensor] = self.accelerator.pad_across_processes
        index = self.accelerator.gather(pad(index.contiguous(), dim=0, pad_index=-1))
        features = self.accelerator.gather(pad(features.contiguous(), dim=0))
        real = index >= 0
        start = int(real[: rank * (len(index) // self.accelerator.num_processes)].sum())
        return index[real], features[real], slice(start, start + own)


def build_reweighter(
    settings: Settings,
    data: TrainingData,
    device: torch.device,
    *,
    weight_model: WeightModel,
    cost: Cost | None,
    feature_widths: Sequence[int],
    dtype: torch.dtype,
    shard: Shard | None,
    max_steps: int,
    epoch_steps: int,
) -> Reweighter:
    """Return the algorithm for a training run.

    Args:
        settings: the options.
        data: labels, and the rows that are trained on.
        device: where weights and feature memory live.
        weight_model: rows in, weights out.
        cost: the user's own, or None.
        feature_widths: of the feature blocks, one per module that features come from.
        dtype: of features and weights.
        shard: the training rows of this process, or None for one process.
        max_steps, epoch_steps: optimizer steps of the run, and of an epoch.
    """
    return Reweighter(
        weight_model,
        cost or build_cost(settings.cost, settings.cost_kwargs, data.num_classes, feature_widths),
        labels=data.labels.to(device),
        label_vectors=None if data.label_vectors is None else data.label_vectors.to(device),
        rows=data.train_units.to(device),
        num_classes=data.num_classes,
        class_mass=build_class_mass(settings.target_mass),
        make_target=build_target(settings.target_points),
        schedule=build_schedule(settings, max_steps, epoch_steps),
        feature_dim=sum(feature_widths),
        per_batch=settings.weight_scope == "batch",
        standardize=settings.standardize_features,
        dtype=dtype,
        shard=shard,
        divide_memory=settings.feature_memory != "replicated",
        map_memory=settings.feature_memory == "mapped",
        encode_at_solve=settings.encode_at_solve,
    )


def build_schedule(settings: Settings, max_steps: int, epoch_steps: int) -> Schedule:
    """Return when to solve, in optimizer steps.

    The default warm-up is an epoch, which shows every example once and so fills the memory, but at most half of the
    training: in a short run the weights need the second half.
    """
    warmup = settings.weight_warmup
    if warmup is None:
        warmup_steps = min(epoch_steps, max_steps // 2)
    else:
        warmup_steps = round(warmup if warmup >= 1 else warmup * max_steps)
    refresh = settings.weight_refresh_steps
    return Schedule(warmup_steps, epoch_steps if refresh is None else refresh)


def check_units(expected: int, found: int) -> None:
    """Raise a ValueError where a batch has other tokens than the data set."""
    if expected != found:
        raise ValueError(
            f"Expected the {expected} labelled tokens that train_dataset has for this batch, got {found} from the "
            "collator. Truncate in the data set, not in the collator, and leave labels as they are; or give each "
            "sequence one weight (weight_per_token=False)."
        )


def _named(statistic: str, class_names: list[str]) -> str:
    kind, _, k = statistic.rpartition("/")
    return f"{kind}/{class_names[int(k)]}" if kind == "class_total" else statistic
