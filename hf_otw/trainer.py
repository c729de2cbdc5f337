"""`OTWeightedTrainer`: the Trainer, with a learned weight on every example. Composition root; nobody imports it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback, TrainingArguments

from hf_otw import checkpoint
from hf_otw.config.args import WeightingArguments
from hf_otw.config.build import build_class_mass, build_example_loss, build_weight_model, schema_of
from hf_otw.config.compatibility import check_cost, check_learned_cost, check_objects, check_support
from hf_otw.config.settings import Settings, resolve
from hf_otw.data.columns import check_dataset
from hf_otw.data.index import EXAMPLE_INDEX, IndexCollator
from hf_otw.data.items import label_columns, readable
from hf_otw.data.training import TrainingData, prepare_data
from hf_otw.features.encoder import Encoder, build_encoder
from hf_otw.features.head import find_heads
from hf_otw.features.shards import shard_of
from hf_otw.losses import ExampleLoss
from hf_otw.report.card_facts import card_fields, save_card
from hf_otw.tasks import LabelSource, Task, find_task
from hf_otw.tasks.batch_loss import BatchLoss
from hf_otw.tasks.classification import names_in
from hf_otw.tasks.model_config import describe
from hf_otw.tasks.own_loss import requires_labels
from hf_otw.training.session import WeightingSession, build_reweighter
from hf_otw.training.step import WeightedSteps
from hf_otw.types import Cost
from hf_otw.weighting import WeightModel
from hf_otw.weighting.base import Facts
from hf_otw.weighting.statistics import WeightsResult, summarise

logger = logging.getLogger(__name__)


class OTWeightedTrainer(WeightedSteps):
    """A drop-in `Trainer` whose loss weights every example by optimal transport to a small clean meta set.

    The method is that of arXiv 2208.02951, solved over the whole training set. Takes the arguments of
    `transformers.Trainer`, in the same order, and five more. `args` may be a plain `TrainingArguments` (the default
    preset then applies) or an `OTWeightedTrainingArguments`. With `weighting="none"` every method is the stock
    Trainer's.

    Args:
        model, args, data_collator, train_dataset, eval_dataset, processing_class, model_init, compute_loss_func,
        compute_metrics, callbacks, optimizers, optimizer_cls_and_kwargs, preprocess_logits_for_metrics: see
            `transformers.Trainer`.
        meta_dataset: clean, class-balanced examples, processed like `train_dataset` and disjoint from it. Split off
            `train_dataset` and left out of training when not given.
        weighting: a `WeightModel` of your own, in place of `args.weighting`.
        cost: of your own, `(source, target) -> C (n, m)`, in place of `args.cost`.
        example_loss: of your own, `(logits, labels, class_prior) -> (B,)`, in place of `args.example_loss`.
        task: of your own, in place of `args.task`: what carries a weight, its class, its loss.

    Attributes:
        weighting_args: the options as given.
        settings: the options with every default filled in.

    Raises:
        ValueError, TypeError: input that cannot be weighted, before any training; the message says what was expected,
            what came, what to do.
    """

    # The host declares None, and fills it later.
    _signature_columns: Any
    _tag_names = ("hf_otw", "optimal-transport", "imbalanced-classification")

    def __init__(
        self,
        model: Any = None,
        args: TrainingArguments | None = None,
        data_collator: Callable[[list[Any]], dict[str, Any]] | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        model_init: Callable[..., Any] | None = None,
        compute_loss_func: Callable[..., Any] | None = None,
        compute_metrics: Callable[..., dict[str, Any]] | None = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple[Any, Any] = (None, None),
        optimizer_cls_and_kwargs: tuple[type[torch.optim.Optimizer], dict[str, Any]] | None = None,
        preprocess_logits_for_metrics: Callable[[Tensor, Tensor], Tensor] | None = None,
        *,
        meta_dataset: Any = None,
        weighting: WeightModel | None = None,
        cost: Cost | None = None,
        example_loss: ExampleLoss | None = None,
        task: Task | None = None,
    ) -> None:
        self.weighting_args = args if isinstance(args, WeightingArguments) else WeightingArguments()
        self._own_weighting, self._own_cost = weighting, cost
        self._data: TrainingData | None = None
        self.is_weighted = self.weighting_args.weighting != "none"
        super().__init__(
            model=model,
            args=args,
            data_collator=data_collator,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            model_init=model_init,
            compute_loss_func=compute_loss_func,
            compute_metrics=compute_metrics,
            callbacks=callbacks,
            optimizers=optimizers,
            optimizer_cls_and_kwargs=optimizer_cls_and_kwargs,
            preprocess_logits_for_metrics=preprocess_logits_for_metrics,
        )
        check_objects(self.weighting_args, weighting=weighting, cost=cost, example_loss=example_loss, task=task)
        if self.is_weighted:
            self._set_up(task, example_loss, meta_dataset)
        else:
            self.settings = self._resolve(None)

    def _set_up(self, task: Task | None, example_loss: ExampleLoss | None, meta_dataset: Any) -> None:
        """Find the task, check what is given, read the labels and split off the meta set."""
        self.label_names = self.label_names or ["labels"]  # of a forward that takes none: the loss is ours
        model = self.accelerator.unwrap_model(self.model)
        given = self.weighting_args
        self._label_columns: tuple[str, ...] = (*self.label_names, "label", "labels")
        self._given_data = self._seen = self.train_dataset
        if self._given_data is not None:
            check_dataset(self._given_data, "train_dataset")
            self._label_columns = label_columns(
                self._given_data, self._label_columns, self.data_collator, self.label_names[0]
            )
            self._seen = self._readable(self._given_data)
        self._chose_loss = example_loss is not None or given.example_loss is not None
        if task is None:
            task = find_task(
                model,
                self._seen,
                self._label_columns,
                name=given.task,
                weight_per_token=given.weight_per_token,
            )
        self._task = task
        self.settings = settings = self._resolve(task)
        smoothing = self.args.label_smoothing_factor if self.label_smoother else 0.0  # the host warns, and makes none
        check_cost(settings, self._own_cost)
        check_support(self.args, settings, task, smoothing=smoothing)
        self._losses = BatchLoss(
            task,
            label_name=self.label_names[0],
            training=example_loss
            or build_example_loss(settings.example_loss, settings.example_loss_kwargs, smoothing),
            evaluation=build_example_loss(task.losses[0], {}, smoothing),
            meta=build_example_loss(task.losses[0], {}, 0.0),
        )
        self._losses.feeds_labels |= requires_labels(model, self.label_names[0])
        self._meta_dataset = meta_dataset
        self._tag_model()
        if self._given_data is not None:
            self._take_data(self._given_data)
            if not settings.needs_transport:
                self._build_weight_model()  # refuse what it cannot be built from before anything is lost

    def _resolve(self, task: Task | None) -> Settings:
        own, given = self._own_weighting, self.weighting_args.given()
        if task is not None and self.leaves_our_loss and given.get("example_loss") is None:
            given = {**given, "example_loss": task.losses[0]}  # nothing adjusts a loss that is not ours
        return resolve(given, task=task, own_weighting=None if own is None else schema_of(own))

    def _readable(self, dataset: Any) -> Any:
        """What labels are read from: see `hf_otw.data.items`."""
        kwargs = self.weighting_args.given().get("weighting_kwargs") or {}
        column = kwargs.get("column", "weight")
        names = (*self._label_columns, column, *filter(None, [self.weighting_args.group_column]))
        return readable(dataset, names, self.data_collator, self.label_names[0])

    @property
    def train_dataset(self) -> Any:
        """The rows that are trained on, with their `example_index`. One that is set later is prepared likewise."""
        return self._train_dataset

    @train_dataset.setter
    def train_dataset(self, dataset: Any) -> None:
        if self._data is None or dataset is None:
            self._train_dataset = dataset
        else:
            check_dataset(dataset, "train_dataset")
            self._given_data, self._seen = dataset, self._readable(dataset)
            self._take_data(dataset)

    def _take_data(self, dataset: Any) -> None:
        """Read the labels of a training set, split off the meta set, and number its rows."""
        self._data = data = self._prepare_data(self.accelerator.unwrap_model(self.model), dataset)
        self._train_dataset = data.train_dataset
        collate: Any = self.data_collator
        self.data_collator = IndexCollator(
            collate.collate if isinstance(collate, IndexCollator) else collate,
            self.settings.group_column,
            labels=data.row_labels,
            label_name=self.label_names[0],
        )

    def _prepare_data(self, model: nn.Module, dataset: Any) -> TrainingData:
        settings = self.settings
        config = getattr(model, "config", None)
        config = config if hasattr(config, "num_labels") else None  # a module's own, which says nothing of classes
        samplers = ("_get_train_sampler", "get_train_dataloader")
        data = prepare_data(
            dataset,
            self._meta_dataset,
            self.eval_dataset,
            task=self._task,
            source=LabelSource(self._label_columns, config, settings.group_column, settings.label_bins),
            seed=self.args.seed if self.args.data_seed is None else self.args.data_seed,
            meta_examples_per_class=settings.meta_examples_per_class if settings.needs_meta else None,
            view=lambda other: self._seen if other is dataset else self._readable(other),
            keeps_numbers=any(getattr(type(self), n) is not getattr(OTWeightedTrainer, n) for n in samplers),
        )
        if settings.needs_transport:
            find_heads(model, data.num_outputs, settings.feature_module)
        check_learned_cost(settings, data)
        if settings.weight_scope == "batch" and settings.needs_transport and len(data.unweighted_rows):
            raise ValueError(
                f"Expected a class with other examples for every row with weight_scope='batch', got "
                f"{len(data.unweighted_rows)} rows without a label or alone in their class. Remove them, or use "
                "weight_scope='dataset'."
            )
        batch = self.args.train_batch_size
        if self.args.dataloader_drop_last and len(data.train_dataset) < batch:
            raise ValueError(
                f"Expected at least one batch of {batch} rows, got {len(data.train_dataset)} without the "
                f"{len(data.meta_rows)} of the meta set, and dataloader_drop_last=True. Lower the batch size or "
                "`meta_examples_per_class`, or pass a `meta_dataset`."
            )
        return data

    def _build_weight_model(self, feature_dim: int = 0) -> WeightModel:
        if self._own_weighting is not None:
            return self._own_weighting
        settings, data = self.settings, self.training_data
        facts = Facts(
            labels=data.labels,
            class_counts=torch.as_tensor(data.class_counts),
            class_mass=build_class_mass(settings.target_mass),
            feature_dim=feature_dim,
            read_column=data.weight_column,
            seed=self.args.seed,
        )
        return build_weight_model(settings.option, settings.weighting_kwargs, facts)

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
    def weights_result(self) -> WeightsResult:
        """Weights of the rows that are trained on, with class totals and effective sample sizes."""
        r = self._started().reweighter
        _, _, value, converged = r.statistics[:4].tolist()
        return summarise(r.example_weights[r.rows], r.labels[r.rows], r.num_classes, value, converged > 0)

    # ---- Seams of the host ----------------------------------------------------------------------------------------

    def train(self, *positional: Any, **keywords: Any) -> Any:
        """`Trainer.train`, after which nothing of ours is on the model: it can be pickled, copied, quantised."""
        try:
            return super().train(*positional, **keywords)
        finally:
            if self._session is not None:
                self._session.close()

    def _prepare_for_training(self, max_steps: int, train_dataloader: Any, resume_from_checkpoint: str | None) -> Any:
        # Every way into training passes here once the model is wrapped: train, resume, a smaller batch, a search.
        model, train_dataloader = super()._prepare_for_training(max_steps, train_dataloader, resume_from_checkpoint)
        if self.is_weighted:
            updates = math.ceil(len(train_dataloader) / self.args.gradient_accumulation_steps)
            self._start(model, max_steps, max(1, updates), resume_from_checkpoint)
        return model, train_dataloader

    def _start(self, model: nn.Module, max_steps: int, epoch_steps: int, resume_from_checkpoint: str | None) -> None:
        if self._session is not None:
            self._session.close()
        self._find_out_whose_loss(model)
        # A search sets arguments between two runs.
        self.settings = self._resolve(self._task)
        settings, data = self.settings, self.training_data
        self._tag_model()  # `model_init` has made a new one
        encoder, dtype = None, torch.float32
        widths: tuple[int, ...] = (0,)
        if settings.needs_transport:
            encoder = self._encoder()
            if self.args.torch_compile:
                torch.compiler.reset()  # what was compiled before does not know the hooks, and would not call them
            widths, dtype = encoder.probe(model, data.subset(data.train_rows[:1]))
        reweighter = build_reweighter(
            settings,
            data,
            self.args.device,
            weight_model=self._build_weight_model(sum(widths)),
            cost=self._own_cost,
            feature_widths=widths,
            dtype=dtype,
            shard=shard_of(len(data.train_units), self.args.process_index, self.args.world_size),
            max_steps=max_steps,
            epoch_steps=epoch_steps,
        )
        if reweighter.schedule.warmup_steps >= max_steps:
            logger.warning(
                "The warm-up of %d steps is not over when training ends after %d: all weights stay 1. Lower "
                "`weight_warmup`, or train for longer.",
                reweighter.schedule.warmup_steps,
                max_steps,
            )
        if resume_from_checkpoint is not None:
            header = data.state_header(reweighter.weight_model.name)
            checkpoint.restore(reweighter.load_state_dict, resume_from_checkpoint, header)
        self._session = WeightingSession(
            reweighter, data, encoder, self.accelerator, head_only_after_warmup=settings.head_only_after_warmup
        )

    def _encoder(self) -> Encoder:
        """Listen to the model."""
        return build_encoder(
            self.accelerator.unwrap_model(self.model, keep_torch_compile=False),
            self._task,
            num_outputs=self.training_data.num_outputs,
            feature_modules=self.settings.feature_module,
            collate=self._collate_numbered,
            prepare=self._prepare_input,
            label_name=self.label_names[0],
            batch_size=self.args.eval_batch_size,
            feeds_labels=self._losses.feeds_labels,
        )

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self._session is not None and self.weighting_args.save_example_weights:
            reweighter = self._session.reweighter
            state = reweighter.state_dict()  # on all processes: the memory may be divided among them
            if self.args.should_save:
                checkpoint.save_state(output_dir, state, self._session.data.state_header(reweighter.weight_model.name))

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
            weights = self._session and self.weights_result
            save_card(self.args, self.settings, self.state, self._data, weights, given=given)

    def _tag_model(self) -> None:
        describe(self.accelerator.unwrap_model(self.model), self._task, names_in(self._seen, self._label_columns))
        add_tags = getattr(self.model, "add_model_tags", lambda tags: None)  # a plain module has none
        add_tags(list(self._tag_names))
