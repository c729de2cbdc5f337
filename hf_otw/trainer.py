"""`OTWeightedTrainer`: the Trainer, with a learned weight on every example. Composition root; nobody imports it."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer

from hf_otw import checkpoint
from hf_otw.config.args import WeightingArguments
from hf_otw.config.build import WITHOUT_TRANSPORT, build_reweighter, build_schedule
from hf_otw.config.compatibility import check_index, check_learned_cost, check_support
from hf_otw.data.index import EXAMPLE_INDEX, IndexCollator
from hf_otw.data.columns import check_dataset
from hf_otw.data.items import label_columns, readable
from hf_otw.data.training import TrainingData, prepare_data
from hf_otw.features.encoder import build_encoder, running_statistics_kept
from hf_otw.features.head import find_heads
from hf_otw.features.shards import shard_of
from hf_otw.losses import ExampleLoss
from hf_otw.report.card_facts import card_fields, save_card
from hf_otw.session import NO_ROWS, BatchRows, MicroStep, WeightingSession
from hf_otw.tasks import LabelSource, Task, find_task
from hf_otw.tasks.batch_loss import BatchLoss
from hf_otw.tasks.outputs import with_loss
from hf_otw.tasks.own_loss import OTHER_LOSS, LogitWeights, requires_labels
from hf_otw.tasks.probe import probe
from hf_otw.types import Cost
from hf_otw.weighting import WeightModel
from hf_otw.weighting.statistics import WeightsResult, summarise

logger = logging.getLogger(__name__)

#: Enough to tell two losses apart.
PROBED_ROWS = 4


class OTWeightedTrainer(Trainer):
    """A drop-in `Trainer` whose loss weights every example by optimal transport to a small clean meta set.

    The method is that of arXiv 2208.02951, solved over the whole training set. Takes the arguments of
    `transformers.Trainer`, in the same order, and four more. `args` may be a plain `TrainingArguments` (the default
    preset then applies) or an `OTWeightedTrainingArguments`. With `weighting="none"` every method is the stock
    Trainer's.

    Args:
        meta_dataset: clean, class-balanced examples, processed like `train_dataset` and disjoint from it. Split off
            `train_dataset` and left out of training when not given.
        weight_model: a `WeightModel` of your own, in place of `args.weighting`.
        cost: of your own, `(source, target) -> C (n, m)`, in place of `args.cost`.
        example_loss: of your own, `(logits, labels, class_prior) -> (B,)`, in place of `args.example_loss`.
        task: of your own, in place of `args.task`: what carries a weight, its class, its loss.

    Raises:
        ValueError, TypeError: input that cannot be weighted, before any training; the message says what was expected,
            what came, what to do.
    """

    # The host declares None for both, which no constructed trainer has, and for the third, which it fills later.
    model: nn.Module
    train_dataset: Any
    _signature_columns: Any
    _tag_names = ("hf_otw", "optimal-transport", "imbalanced-classification")

    def __init__(
        self,
        *positional: Any,
        meta_dataset: Any = None,
        weight_model: WeightModel | None = None,
        cost: Cost | None = None,
        example_loss: ExampleLoss | None = None,
        task: Task | None = None,
        **keywords: Any,
    ) -> None:
        # The host's own signature, so that a new argument of Trainer needs no change here.
        args = positional[1] if len(positional) > 1 else keywords.get("args")
        self._chose_loss = example_loss is not None or "example_loss" not in getattr(args, "_filled", {"example_loss": 0})
        self.weighting_args = args if isinstance(args, WeightingArguments) else WeightingArguments()
        self.weighting_args.resolve_weighting()
        self.is_weighted = self.weighting_args.weighting != "none" or weight_model is not None
        self._weight_model, self._cost = weight_model, cost
        self._session: WeightingSession | None = None
        self._data: TrainingData | None = None
        self._step: MicroStep | None = None
        self._batch, self._models_own_loss = NO_ROWS, False
        super().__init__(*positional, **keywords)
        if not self.is_weighted:
            return
        self.label_names = self.label_names or ["labels"]  # of a forward that takes none: the loss is ours
        model = self.accelerator.unwrap_model(self.model)
        options = self.weighting_args
        smoothing = self.args.label_smoothing_factor if self.label_smoother else 0.0  # the host warns, and makes none
        self._label_columns: tuple[str, ...] = (*self.label_names, "label", "labels")
        self._given_data = self._seen = self.train_dataset
        if self._given_data is not None:
            check_dataset(self._given_data, "train_dataset")
            self._label_columns = label_columns(
                self._given_data, self._label_columns, self.data_collator, self.label_names[0]
            )
            self._seen = self._readable(self._given_data)
        self._task = task or find_task(model, self._seen, self._label_columns, options)
        options.resolve_task(self._task, weight_model)
        check_support(self.args, options, self._task, smoothing=smoothing, needs_transport=self._needs_transport)
        self._losses = BatchLoss(
            self._task, options, label_smoothing=smoothing, label_name=self.label_names[0], example_loss=example_loss
        )
        self._losses.feeds_labels |= requires_labels(model, self.label_names[0])
        self._tag_model()
        if self.train_dataset is not None:
            self._set_data(self._prepare_data(model, meta_dataset))

    def _readable(self, dataset: Any) -> Any:
        """What labels are read from: see `hf_otw.data.items`."""
        names = (*self._label_columns, *((g,) if (g := self.weighting_args.group_column) else ()))
        if self.weighting_args.weighting == "column":
            names = (*names, self.weighting_args.weight_column)
        return readable(dataset, names, self.data_collator, self.label_names[0])

    def _set_data(self, data: TrainingData) -> None:
        self._data, self.train_dataset = data, data.train_dataset
        self.data_collator = IndexCollator(
            self.data_collator,
            self.weighting_args.group_column,
            labels=data.row_labels,
            label_name=self.label_names[0],
        )

    def _prepare_data(self, model: nn.Module, meta_dataset: Any) -> TrainingData:
        options, config = self.weighting_args, getattr(model, "config", None)
        config = config if hasattr(config, "num_labels") else None  # a module's own, which says nothing of classes
        names = ("_get_train_sampler", "get_train_dataloader")
        data = prepare_data(
            self._given_data,
            meta_dataset,
            self.eval_dataset,
            options,
            task=self._task,
            source=LabelSource(self._label_columns, config, options.group_column, options.label_bins),
            view=lambda dataset: self._seen if dataset is self._given_data else self._readable(dataset),
            seed=self.args.seed if self.args.data_seed is None else self.args.data_seed,
            needs_meta=self._needs_transport or bool(options.meta_loss_coefficient),
            keeps_numbers=any(getattr(type(self), n) is not getattr(OTWeightedTrainer, n) for n in names),
        )
        if self._needs_transport:
            find_heads(model, data.num_outputs, self.weighting_args.feature_module)
        check_learned_cost(self.weighting_args, self._weight_model, self._cost, data)
        return data

    @property
    def training_data(self) -> TrainingData:
        """Row numbers trained on, the meta set, class counts and names."""
        if self._data is None:
            raise RuntimeError("Expected a weighted trainer with a training set, got weighting='none' or no data.")
        return self._data

    @property
    def example_weights(self) -> Tensor:
        """Weights by row number of the training set as given, shape `(N,)`; 1 for rows of the meta split.

        With a weight per token: those of all labelled tokens in order, `training_data.unit_counts` a row.
        """
        return self._started().reweighter.example_weights.clone()

    @property
    def weights(self) -> WeightsResult:
        """Weights of the rows that are trained on, with class totals and effective sample sizes."""
        r = self._started().reweighter
        _, _, value, converged = r.statistics[:4].tolist()
        return summarise(r.example_weights[r.rows], r.labels[r.rows], r.num_classes, value, converged > 0)

    # ---- One training micro-step ----------------------------------------------------------------------------------

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
                return super().training_step(model, inputs, own_count)
            weights = step.logit_weights = self._logit_weights()
            with weights.on(self.accelerator.unwrap_model(model)):
                loss = super().training_step(model, inputs, own_count)
            weights.check_applied()
            if not (weights.paused or self._is_hosts_loss):
                loss = loss + self._step_on_meta(model)
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
        labels = inputs.get(self.label_names[0])
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
            loss = self._losses.training(outputs, labels, session.class_prior, weights)
            loss = loss / self._losses.divisor(labels)
            loss = loss + self._losses.extra(outputs)
        if self._has_meta_term:
            loss = loss + self._meta_loss(model)
        if self._step is None:
            session.after_forward()
        return loss * share, outputs

    @property
    def _has_meta_term(self) -> bool:
        session = self._started()
        has_one = self.weighting_args.meta_loss_coefficient and session.data.meta is not None
        return bool(has_one) and session.meta_counts(self.state.global_step)

    def _meta_batch(self) -> dict[str, Any]:
        size = self.weighting_args.meta_batch_size
        if self.args.auto_find_batch_size:  # what is too large for a training batch is too large for a meta batch
            size = min(size or self._train_batch_size, self._train_batch_size)
        items = self._started().meta_items(size, seed=self.args.seed, step=self.state.global_step)
        batch: Any = self._prepare_input(self._collate(items))
        return batch

    def _meta_loss(self, model: nn.Module) -> Tensor:
        """The mean loss of a meta batch, times its coefficient."""
        batch = self._meta_batch()
        if not self._is_hosts_loss:
            return self.weighting_args.meta_loss_coefficient * self._losses.meta(model, batch)
        if self._step is not None and self._step.logit_weights is not None:
            self._step.logit_weights.paused = True
        with running_statistics_kept(model):
            loss = self._hosts_loss(model, batch, batch[self.label_names[0]], False)
        return self.weighting_args.meta_loss_coefficient * loss

    def _step_on_meta(self, model: nn.Module) -> Tensor | float:
        """The meta term of an override of `compute_loss` that does not call ours, with a backward pass of its own."""
        if not self._has_meta_term:
            return 0.0
        with running_statistics_kept(model), self.compute_loss_context_manager():
            mean: Any = self.compute_loss(model, self._meta_batch())
        loss = self.weighting_args.meta_loss_coefficient * mean / self.current_gradient_accumulation_steps
        self.accelerator.backward(loss)
        return loss.detach()

    # ---- A loss that is not ours ----------------------------------------------------------------------------------

    @property
    def _is_hosts_loss(self) -> bool:
        """The host computes the loss: with a function of the user's, or it takes the model's own."""
        return self.compute_loss_func is not None or self._models_own_loss

    @property
    def _has_another_loss(self) -> bool:
        """A loss may be computed that is not ours: also by an override that does not call ours."""
        return self._is_hosts_loss or type(self).compute_loss is not OTWeightedTrainer.compute_loss

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
            weights = session.weights(step, rows.index, inputs, rows.labels)
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

    # ---- Seams of the host ----------------------------------------------------------------------------------------

    def _prepare_for_training(self, max_steps: int, train_dataloader: Any, resume_from_checkpoint: str | None) -> Any:
        # Every way into training passes here once the model is wrapped: train, resume, a smaller batch, a search.
        model, train_dataloader = super()._prepare_for_training(max_steps, train_dataloader, resume_from_checkpoint)
        if self.is_weighted:
            updates = math.ceil(len(train_dataloader) / self.args.gradient_accumulation_steps)
            self._start(model, max_steps, max(1, updates), resume_from_checkpoint)
        return model, train_dataloader

    def _start(self, model: nn.Module, max_steps: int, epoch_steps: int, resume_from_checkpoint: str | None) -> None:
        args, data = self.weighting_args, self.training_data
        self._tag_model()  # `model_init` has made a new one
        if self._session is not None:
            self._session.close()
        encoder, dtype = None, torch.float32
        widths: tuple[int, ...] = (0,)
        if self._needs_transport:
            encoder = build_encoder(
                self.accelerator.unwrap_model(self.model, keep_torch_compile=False),
                self._task,
                num_outputs=data.num_outputs,
                feature_modules=args.feature_module,
                collate=self._collate_numbered,
                prepare=self._prepare_input,
                label_name=self.label_names[0],
                batch_size=self.args.eval_batch_size,
                feeds_labels=self._losses.feeds_labels,
            )
            widths, dtype = encoder.probe(model, data.subset(data.train_rows[:1]))
        reweighter = build_reweighter(
            args,
            data,
            self.args.device,
            feature_widths=widths,
            dtype=dtype,
            shard=shard_of(len(data.train_units), self.args.process_index, self.args.world_size),
            seed=self.args.seed,
            schedule=build_schedule(args, max_steps, epoch_steps),
            weight_model=self._weight_model,
            cost=self._cost,
        )
        if resume_from_checkpoint is not None:
            header = data.state_header(reweighter.weight_model.name)
            checkpoint.restore(reweighter.load_state_dict, resume_from_checkpoint, header)
        self._session = WeightingSession(
            reweighter, data, encoder, self.accelerator, head_only_after_warmup=bool(args.head_only_after_warmup)
        )
        self._find_out_whose_loss(model)

    def _find_out_whose_loss(self, model: nn.Module) -> None:
        """Take the loss that the model computes where it is another one than ours, and say so."""
        overridden = type(self).compute_loss is not OTWeightedTrainer.compute_loss
        if not (self._chose_loss or self._is_hosts_loss or self.label_smoother):
            rows = self.training_data.subset(self.training_data.train_rows[:PROBED_ROWS])
            batch: Any = self._prepare_input(self._collate([rows[i] for i in range(len(rows))]))
            inner = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
            found = probe(self._losses, model, inner, batch)
            self._models_own_loss, self._losses.auxiliary = found
        if self._is_hosts_loss:
            whose = "compute_loss_func" if self.compute_loss_func else f"the loss that {type(self.model).__name__} computes"
            logger.warning(OTHER_LOSS, whose)
        elif overridden:
            logger.info(OTHER_LOSS, f"{type(self).__name__}.compute_loss, where it does not call ours,")

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self._session is not None and self.weighting_args.save_weights_in_checkpoints:
            reweighter = self._session.reweighter
            state = reweighter.state_dict()  # on all processes: the memory may be divided among them
            if self.args.should_save:
                checkpoint.save_state(output_dir, state, self.training_data.state_header(reweighter.weight_model.name))

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Tensor | int | None:
        if not self.is_weighted:
            return super()._get_num_items_in_batch(batch_samples, device)
        if not batch_samples or self.label_names[0] not in batch_samples[0]:
            return None
        labels = [batch[self.label_names[0]] for batch in batch_samples]
        count = torch.as_tensor(sum(self._task.num_items(batch) for batch in labels), device=device)
        return self.accelerator.gather(count).sum() if self.args.world_size > 1 else count

    def _set_signature_columns_if_needed(self) -> None:
        first = self._signature_columns is None
        super()._set_signature_columns_if_needed()
        if first and self.is_weighted:
            self._signature_columns = [*self._signature_columns, EXAMPLE_INDEX]

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        inputs = super()._prepare_inputs(inputs)
        if self.is_weighted:
            # Neither a model nor an override of `compute_loss` is to see row numbers: heads that take **kwargs would
            # swallow them in silence, others refuse them.
            index = inputs.pop(EXAMPLE_INDEX, None)
            self._batch = BatchRows(index, inputs.get(self.label_names[0]))
        return inputs

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the means of the weighting's statistics over the logging window to training logs."""
        if "loss" in logs and self._session is not None:
            logs = {**logs, **self._session.take_statistics()}
        super().log(logs, start_time)

    def create_model_card(self, *positional: Any, **card: Any) -> None:
        """Write `README.md` into `output_dir`: class counts, learned totals, method, metrics and configuration.

        Args:
            positional, card: the arguments of `Trainer.create_model_card`, and `ot`, `plain`, `ot_recall`,
                `plain_recall` of `hf_otw.report.model_card.CardData`; the metrics of the latest evaluation by default.
        """
        if not self.is_weighted or self._data is None:
            super().create_model_card(*positional, **card)
        elif self.is_world_process_zero():
            given = card_fields(self.accelerator.unwrap_model(self.model), self._task.name, *positional, **card)
            weights = self._session and self.weights
            save_card(self.args, self.weighting_args, self.state, self._data, weights, given=given)

    @property
    def _needs_transport(self) -> bool:
        own = self._weight_model
        return self.weighting_args.weighting not in WITHOUT_TRANSPORT if own is None else own.needs_transport

    def _tag_model(self) -> None:
        add_tags = getattr(self.model, "add_model_tags", lambda tags: None)  # a plain module has none
        add_tags(list(self._tag_names))

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
