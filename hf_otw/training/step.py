"""One training step of `OTWeightedTrainer`: the seams of the host through which a batch and its loss pass."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer

from hf_otw._utils import required
from hf_otw.config.compatibility import check_index
from hf_otw.config.settings import Settings
from hf_otw.data.index import EXAMPLE_INDEX, IndexCollator
from hf_otw.data.training import TrainingData
from hf_otw.features.encoder import running_statistics_kept
from hf_otw.tasks import Task
from hf_otw.tasks.batch_loss import BatchLoss
from hf_otw.tasks.outputs import with_loss
from hf_otw.tasks.own_loss import OTHER_LOSS, LogitWeights, calls_super
from hf_otw.tasks.packing import packed_lengths
from hf_otw.tasks.probe import probe
from hf_otw.training.session import NO_ROWS, BatchRows, MicroStep, WeightingSession

logger = logging.getLogger(__name__)

#: Enough to tell two losses apart.
PROBED_ROWS = 4


class WeightedSteps(Trainer):
    """The part of `OTWeightedTrainer` that makes steps; its subclass sets up what they need.

    Attributes:
        settings: the options, resolved.
    """

    model: nn.Module  # the host declares None, which no constructed trainer has
    settings: Settings
    is_weighted: bool
    _task: Task
    _losses: BatchLoss
    _chose_loss = _models_own_loss = False
    _session: WeightingSession | None = None
    _step: MicroStep | None = None
    _batch = NO_ROWS

    @property
    def training_data(self) -> TrainingData:
        """What is trained on."""
        raise NotImplementedError

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """One micro-step of the host, around which the weights of its rows are served.

        `compute_loss` returns what the mean over this micro-batch is scaled to, and the host divides by the number of
        micro-batches: so a term that an override adds is a mean as well. An override gets the count of its own
        micro-batch, and that of the whole step is kept here.
        """
        if not self.is_weighted:
            return super().training_step(model, inputs, num_items_in_batch)
        labels = inputs.get(self.label_names[0])
        own_count = None if labels is None else torch.as_tensor(self._task.num_items(labels), device=self.args.device)
        self._step = step = MicroStep(num_items_in_batch)
        given, self.loss_is_scaled_for_ga = self.loss_is_scaled_for_ga, False
        self._started().before_forward(model, self.state.global_step)
        try:
            if not self._has_another_loss:
                loss = super().training_step(model, inputs, own_count)
                return loss + self._step_on_meta(model, ours=True) if self._meta_apart else loss
            weights = step.logit_weights = self._logit_weights()
            with weights.on(self.accelerator.unwrap_model(model)):
                loss = super().training_step(model, inputs, own_count)
            weights.check_applied()
            ours = weights.paused or self._is_hosts_loss  # else `compute_loss`, which adds the term, was not called
            if self._meta_apart or not ours:
                loss = loss + self._step_on_meta(model, ours=ours)
            return loss
        finally:
            self._started().after_forward()
            self._step, self._batch, self.loss_is_scaled_for_ga = None, NO_ROWS, given

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, Any]:
        """Weighted mean of the per-example losses; in evaluation the plain mean, which compares across weightings.

        A loss that is not ours (`compute_loss_func`, or one that the model computes) is the host's, its gradient
        weighted at the logits: see `hf_otw.tasks.own_loss`.
        """
        if not self.is_weighted:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        inputs = dict(inputs)
        inputs.pop("skip_logits", None)
        index = inputs.pop(EXAMPLE_INDEX, self._batch.index)
        labels: Any = inputs.get(self.label_names[0])
        # Not `model.training`: some models are trained in evaluation mode. The host evaluates without gradients.
        trains = self._step is not None or (torch.is_grad_enabled() and index is not None)
        if not trains and not self._is_hosts_loss:
            del inputs[self.label_names[0]]
            loss, outputs = self._losses.evaluation(model, inputs, labels)
            return (loss, with_loss(outputs, loss)) if return_outputs else loss
        if not trains:
            return self._hosts_loss(model, inputs, labels, return_outputs)
        check_index(index)
        loss, outputs = self._training_loss(model, inputs, index, labels, num_items_in_batch)
        return (loss, with_loss(outputs, loss)) if return_outputs else loss

    def _training_loss(
        self, model: nn.Module, inputs: dict[str, Any], index: Tensor, labels: Any, total: Tensor | int | None
    ) -> tuple[Tensor, Any]:
        session, step = self._started(), self.state.global_step
        items, micro_batches = self._task.num_items(labels), 1
        if self._step is None:  # a training step of the user's own, which calls `compute_loss` alone
            session.before_forward(model, step)
        else:
            total, micro_batches = self._step.num_items, self.current_gradient_accumulation_steps
        # From the mean over this micro-batch to its part of the mean over the step, of all processes.
        share = 1.0 if total is None else items * (micro_batches * self.accelerator.num_processes / total)
        if self._is_hosts_loss:
            with self._listening(model):
                loss, outputs = self._hosts_loss(model, inputs, labels, True)
        else:
            if self._step is not None and self._step.logit_weights is not None:
                self._step.logit_weights.paused = True
            del inputs[self.label_names[0]]
            outputs = self._losses.forward(model, inputs, labels)
            weights = session.weights(step, index, inputs, labels)  # (U,), detached
            lengths = packed_lengths(inputs, labels, len(index))
            loss = self._losses.training(outputs, labels, session.class_prior, weights, lengths=lengths)
            loss = loss / self._losses.divisor(labels)
            loss = loss + self._losses.extra(outputs)
        if self._has_meta_term and not self._meta_apart:
            loss = loss + self._meta_loss(model)
        if self._step is None:
            session.after_forward()
        return loss * share, outputs

    @property
    def _has_meta_term(self) -> bool:
        session = self._started()
        has_one = self.settings.meta_loss_coefficient and session.data.meta is not None
        return bool(has_one) and session.meta_counts(self.state.global_step)

    def _meta_batch(self) -> dict[str, Any]:
        size = self.settings.meta_batch_size
        if self.args.auto_find_batch_size:  # what is too large for a training batch is too large for a meta batch
            size = min(size or self._train_batch_size, self._train_batch_size)
        items = self._started().meta_items(size, seed=self.args.seed, step=self.state.global_step)
        batch: Any = self._prepare_input(self._collate(items))
        return batch

    def _meta_loss(self, model: nn.Module) -> Tensor:
        """The mean loss of a meta batch, times its coefficient."""
        batch = self._meta_batch()
        if not self._is_hosts_loss:
            return self.settings.meta_loss_coefficient * self._losses.meta(model, batch)
        if self._step is not None and self._step.logit_weights is not None:
            self._step.logit_weights.paused = True
        with running_statistics_kept(model):
            loss = self._hosts_loss(model, batch, batch[self.label_names[0]], False)
        return self.settings.meta_loss_coefficient * loss

    @property
    def _meta_apart(self) -> bool:
        """Reentrant checkpointing allows one backward pass for each forward pass of a model in several processes."""
        args = self.args
        own = getattr(args, "activation_checkpointing_kwargs", None) or getattr(
            args, "gradient_checkpointing_kwargs", None
        )
        reentrant = bool((own or {}).get("use_reentrant")) and self._step is not None
        return reentrant and self.accelerator.num_processes > 1

    def _step_on_meta(self, model: nn.Module, *, ours: bool) -> Tensor | float:
        """The meta term with a backward pass of its own: also that of an override that does not call ours."""
        if not self._has_meta_term:
            return 0.0
        with self.compute_loss_context_manager():
            if ours:
                loss = self._meta_loss(model)
            else:
                with running_statistics_kept(model):
                    mean: Any = self.compute_loss(model, self._meta_batch())
                loss = self.settings.meta_loss_coefficient * mean
        loss = loss / self.current_gradient_accumulation_steps
        self.accelerator.backward(loss)
        return loss.detach()

    # ---- A loss that is not ours ----------------------------------------------------------------------------------

    @property
    def _is_hosts_loss(self) -> bool:
        """The host computes the loss: with a function of the user's, or it takes the model's own."""
        return self.compute_loss_func is not None or self._models_own_loss

    @property
    def leaves_our_loss(self) -> bool:
        """Training is on another loss than ours, as far as can be told before it."""
        return self._is_hosts_loss or not calls_super(type(self).compute_loss, WeightedSteps.compute_loss)

    @property
    def _has_another_loss(self) -> bool:
        """A loss may be computed that is not ours: also by an override that does not call ours."""
        return self._is_hosts_loss or type(self).compute_loss is not WeightedSteps.compute_loss

    def _hosts_loss(self, model: nn.Module, inputs: dict[str, Any], labels: Any, return_outputs: bool) -> Any:
        """The mean over one micro-batch, as the stock Trainer computes it."""
        items = torch.as_tensor(self._task.num_items(labels), device=self.args.device)
        result: Any = super().compute_loss(model, dict(inputs), True, items)
        loss, outputs = result
        if self.args.average_tokens_across_devices and (self.model_accepts_loss_kwargs or self.compute_loss_func):
            loss = loss / (self.accelerator.num_processes // self.get_tp_size())  # that of one process, for now
        return (loss, outputs) if return_outputs else loss

    def _logit_weights(self) -> LogitWeights:
        session, step, batch = self._started(), self.state.global_step, self._batch_rows

        def factors(inputs: Mapping[str, Any], logits: Tensor) -> Tensor:
            rows = batch()
            check_index(rows.index)
            weights = session.weights(step, required(rows.index, "row numbers"), inputs, rows.labels)
            return self._task.spread(weights, logits, rows.labels)

        return LogitWeights(factors, self._task.logits_ndim)

    def _batch_rows(self) -> BatchRows:
        return self._batch

    @contextmanager
    def _listening(self, model: nn.Module) -> Iterator[None]:
        """Weigh the forward passes of `model` at their logits, if the training step does not already."""
        if self._step is not None:
            yield
        else:
            with self._logit_weights().on(self.accelerator.unwrap_model(model)):
                yield

    def _find_out_whose_loss(self, model: nn.Module) -> None:
        """Take the loss that the model computes where it is another one than ours, and say so."""
        overridden = type(self).compute_loss is not WeightedSteps.compute_loss
        if not (self._chose_loss or self._is_hosts_loss or self.label_smoother):
            rows = self.training_data.subset(self.training_data.train_rows[:PROBED_ROWS])
            batch: Any = self._prepare_input(self._collate([rows[i] for i in range(len(rows))]))
            inner = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
            found = probe(self._losses, model, inner, batch)
            self._models_own_loss, self._losses.auxiliary = found
        if self._is_hosts_loss:
            whose = (
                "compute_loss_func"
                if self.compute_loss_func
                else f"the loss that {type(self.model).__name__} computes"
            )
            logger.warning(OTHER_LOSS, whose)
        elif overridden:
            logger.info(OTHER_LOSS, f"{type(self).__name__}.compute_loss, where it does not call ours,")

    # ---- Batches --------------------------------------------------------------------------------------------------

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        inputs = super()._prepare_inputs(inputs)
        if self.is_weighted:
            # Neither a model nor an override of `compute_loss` is to see row numbers: heads that take **kwargs would
            # swallow them in silence, others refuse them.
            index = inputs.pop(EXAMPLE_INDEX, None)
            self._batch = BatchRows(index, inputs.get(self.label_names[0]))
        return inputs

    def _collate(self, items: list[Any]) -> dict[str, Any]:
        batch = self._collate_numbered(items)
        batch.pop(EXAMPLE_INDEX, None)
        return batch

    def _collate_numbered(self, items: list[Any]) -> dict[str, Any]:
        collate = self.data_collator.numbered if isinstance(self.data_collator, IndexCollator) else self.data_collator
        batch: Any = self._get_collator_with_removed_columns(collate)(items)
        return batch

    def _started(self) -> WeightingSession:
        if self._session is None:
            raise RuntimeError("Expected weights, but training has not started: call `train()` first.")
        return self._session
