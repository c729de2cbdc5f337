"""`OTWeightedTrainingArguments`: `TrainingArguments` and how to weight."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from transformers import TrainingArguments
from transformers.trainer_utils import HubStrategy

from hf_otw._utils import look_up
from hf_otw.config.options import EXAMPLE_LOSSES, OF_A_GIVEN_COST, RANGES, TASKS, WEIGHTINGS
from hf_otw.config.pickling import PickledWithoutToken
from hf_otw.config.presets import BASELINES, PRESETS, defaults
from hf_otw.transport import OBJECTIVES
from hf_otw.transport._check import check_reg
from hf_otw.transport.costs import COSTS
from hf_otw.weighting.target import TARGET_MASSES, TARGETS

if TYPE_CHECKING:
    from hf_otw.tasks import Task
    from hf_otw.weighting import WeightModel


def _field(help_text: str, default: object = None, choices: Iterable[str] | None = None) -> Any:
    metadata: dict[str, Any] = {"help": help_text}
    if choices is not None:
        metadata["choices"] = list(choices)
    return field(default=default, metadata=metadata)


@dataclass
class WeightingArguments:
    """How examples are weighted. A field left at None takes its value from `preset`."""

    task: str | None = _field(
        "What is trained. Default: told from the model's class, its `problem_type`, or the labels.", choices=TASKS
    )
    weight_per_token: bool = _field("Token classification: a weight per labelled token, not per sequence.", False)
    group_column: str | None = _field(
        "Column of the training set with each example's group (domain, language, ...), which takes the place of the "
        "class: for language modelling, and, if you like, regression and token classification."
    )
    label_bins: int = _field("Regression: intervals of equal width that count as classes.", 10)
    preset: str = _field(
        "Set of defaults: `default` (measured to be best) or `paper` (Guo et al. 2022, faithful).", "default", PRESETS
    )
    weighting: str | None = _field(
        "Where weights come from. Transport: `clean_posterior` (probability that the label is right, noise rate "
        "estimated), `own_class` (mass that the plan ships to the row's own class), `agreement` (softmax over the "
        "columns), `closed_form` (free rows), `relaxed_rows`, `bounded_rows`, `table` (a logit per example), `net` "
        "(a network from features to a logit). Baselines: `uniform`, `inverse_frequency`, `effective_number`, "
        "`column`. `none` is the stock Trainer, bit for bit.",
        choices=WEIGHTINGS,
    )
    weight_scope: str | None = _field(
        "`dataset`: solve over the whole training set, from a feature memory. `batch`: solve in every step over its "
        "batch.",
        choices=("dataset", "batch"),
    )
    cost: str | None = _field("Ground cost; `clean_posterior` learns its own.", choices=COSTS)
    label_weight: float | None = _field(
        "Weight of the label cost in the `combined` cost, and height of the `label` cost."
    )
    objective: str | None = _field("What `table` and `net` minimise.", choices=OBJECTIVES)
    reg: float | None = _field(
        "Entropic strength, in units of the cost (cosine costs lie in [0, 2]). Default: 0.1; `clean_posterior` has "
        "none."
    )
    target_ess: float | None = _field(
        "`closed_form` only: choose `reg` so that the weights are worth this fraction of the examples (effective "
        "sample size)."
    )
    row_rho: float = _field("`relaxed_rows`: price of leaving the prior row mass, in units of the cost.", 0.3)
    row_cap: float = _field("`bounded_rows`: largest multiple of its prior mass that a row may take.", 1.5)
    target_mass: str | None = _field(
        "Mass of the classes: `class_prior` (each keeps its share), `balanced` (1/K a class), or `square_root` (half "
        "way between them).",
        choices=TARGET_MASSES,
    )
    target: str | None = _field(
        "Meta columns: `prototypes` (class means in feature space) or `examples`.", choices=TARGETS
    )
    feature_memory: str = _field(
        "Features of the training set, 2 bytes a number, on several processes: all of them on each (`replicated`), or "
        "an equal part on each (`sharded`), or that part in a file that is mapped into memory (`mapped`). The solve "
        "is divided among the processes in any case.",
        "replicated",
        choices=("replicated", "sharded", "mapped"),
    )
    keep_class_totals: bool | None = _field(
        "Rescale the weights so that each class keeps its share of the total: transport then re-weights inside the "
        "classes only."
    )
    standardize_features: bool | None = _field("Centre and scale features before the cost.")
    example_loss: str | None = _field(
        "Loss of one example. `logit_adjusted` adds the log of each class's share of the total weight to the logits. "
        "Default: the preset's where it fits the task, else the task's own.",
        choices=EXAMPLE_LOSSES,
    )
    logit_adjustment_tau: float = _field("Strength of the logit adjustment.", 1.0)
    focal_gamma: float = _field("Exponent of the focal loss.", 2.0)
    weight_warmup: float | None = _field(
        "Training with all weights 1 before the first solve: a number of steps if >= 1, a fraction of all steps if "
        "below. Default: an epoch, at most half of the training."
    )
    weight_refresh_steps: int | None = _field(
        "Dataset scope: solve again every so many optimizer steps (also the age at which meta features are "
        "renewed); 0: solve once. Default: an epoch; `clean_posterior`: once."
    )
    encode_at_solve: bool | None = _field(
        "Dataset scope: a forward pass over the training set at each solve, for features of one model, instead of "
        "what training has last seen of each example. Default: for `clean_posterior`."
    )
    weight_smoothing: float | None = _field(
        "Moving average over solves: share of the old weights that is kept, in [0, 1)."
    )
    weight_steps: int | None = _field("`table` and `net`: gradient steps a solve.")
    weight_lr: float | None = _field(
        "`table` and `net`: learning rate of those steps. Default: suited to the objective."
    )
    raw_weight_logits: bool | None = _field(
        "`table`: multiply the loss by the logits themselves, starting at effective-number class weights, and "
        "update them by plain SGD."
    )
    head_only_after_warmup: bool | None = _field(
        "Train the head alone once `weight_warmup` is over: the paper's second stage."
    )
    meta_examples_per_class: int = _field(
        "Size of the meta set split off the training set when no `meta_dataset` is given.", 10
    )
    meta_loss_coefficient: float | None = _field(
        "Adds this times the mean cross-entropy of a meta batch to the loss of every step; with "
        "`head_only_after_warmup` only from then on."
    )
    meta_batch_size: int | None = _field("Examples in that meta batch; the whole meta set if unset in the preset too.")
    effective_number_beta: float = _field("`effective_number`: beta of Cui et al. 2019.", 0.9999)
    weight_column: str = _field("`column`: name of the column of the training set that holds the weights.", "weight")
    feature_module: list[str] | None = _field(
        "Dotted path of the module whose input is the feature. Default: the head. Several paths, one a modality, "
        "make a mixture of their cosine costs."
    )
    feature_weights: list[float] | None = _field("Shares of several feature modules in that mixture. Default: equal.")
    save_weights_in_checkpoints: bool = _field(
        "Keep weights and feature memory in checkpoints, for an exact resume. Without it, a resumed run solves anew.",
        True,
    )
    push_example_weights: bool = _field(
        "Let `hub_strategy='checkpoint'` and `'all_checkpoints'` upload the weights and features of single examples "
        "that checkpoints hold.",
        False,
    )

    def resolve_weighting(self) -> None:
        """Fill in the preset and check every value.

        Raises:
            ValueError: an unknown name, or a number out of its range.
        """
        open_names = [name for name in defaults(self.preset, None) if getattr(self, name) is None]
        chosen = defaults(self.preset, self.weighting)
        #: What the user left open, and the value that it was given.
        self._filled = {**getattr(self, "_filled", {}), **{name: chosen[name] for name in open_names}}
        for name in open_names:
            setattr(self, name, chosen[name])
        self._check()
        if "weighting" not in self._filled:  # else the task may choose another
            self.check_combination()

    def resolve_task(self, task: Task, weight_model: WeightModel | None = None) -> None:
        """Give the arguments that the user left open the values that suit a task.

        Args:
            task: what is trained.
            weight_model: the user's own, which takes the place of `weighting`.

        Raises:
            ValueError: arguments that do not fit the task.
        """
        left_open = [name for name, value in self._filled.items() if getattr(self, name) == value]
        of_task = {}
        if self.preset == "default" and "weighting" in left_open:
            # A weight model that is given its cost gets the defaults of those that are.
            given_cost = weight_model is not None and not weight_model.learns_cost
            of_task = ({"weighting": "agreement"} if given_cost else {}) | dict(task.defaults)
        weighting = of_task.get("weighting") if "weighting" in left_open else self.weighting
        suited = defaults(self.preset, weighting) | of_task
        if suited["example_loss"] not in task.losses:
            suited["example_loss"] = task.losses[0]
        for name in left_open:
            self._filled[name] = suited[name]
            setattr(self, name, suited[name])
        look_up(dict.fromkeys(task.losses), str(self.example_loss), f"example_loss for the task {task.name!r}")
        if self.group_column is not None and not task.uses_groups:
            raise ValueError(
                f"Expected no group_column for the task {task.name!r}, whose labels are the classes, got "
                f"{self.group_column!r}. Leave it out, or set weighting='column' with weights of your own."
            )
        self._check()
        self.check_combination()

    def _check(self) -> None:
        module: Any = self.feature_module  # in Python, one may come without its list
        if isinstance(module, str):
            self.feature_module = [module]
        for name, table in (
            ("task", TASKS),
            ("weighting", WEIGHTINGS),
            ("weight_scope", ("dataset", "batch")),
            ("feature_memory", ("replicated", "sharded", "mapped")),
            ("cost", COSTS),
            ("objective", OBJECTIVES),
            ("target_mass", TARGET_MASSES),
            ("target", TARGETS),
            ("example_loss", EXAMPLE_LOSSES),
        ):
            if getattr(self, name) is not None:
                look_up(dict.fromkeys(table), getattr(self, name), name)
        if self.reg is not None:
            check_reg(self.reg)
        for name, low, high, remedy in RANGES:
            value = getattr(self, name)
            if value is not None and not (low <= value < high):
                raise ValueError(f"Expected {low} <= {name} < {high}, got {value}. {remedy}")

    def check_combination(self) -> None:
        """No argument may be set and then have no effect.

        Raises:
            ValueError: one that would have none, and what to do.
        """
        without_transport = self.weighting in BASELINES
        for name, is_set, wanted in (
            ("target_ess", self.target_ess is not None and self.weighting != "closed_form", "closed_form"),
            ("raw_weight_logits", self.raw_weight_logits and self.weighting != "table", "table"),
            ("keep_class_totals", self.keep_class_totals and without_transport, "a transport weighting"),
            ("head_only_after_warmup", self.head_only_after_warmup and without_transport, "a transport weighting"),
            ("feature_module", self.feature_module is not None and without_transport, "a transport weighting"),
            ("feature_memory", self.feature_memory != "replicated" and without_transport, "a transport weighting"),
            ("encode_at_solve", self.encode_at_solve and without_transport, "a transport weighting"),
        ):
            if is_set:
                raise ValueError(
                    f"Expected weighting={wanted!r} for {name}, got weighting={self.weighting!r}, which has no use "
                    "for it. Change one of them."
                )
        if self.weighting == "clean_posterior":
            self._check_learned_cost()
        if self.weight_scope == "batch" and self.encode_at_solve:
            raise ValueError(
                "Expected weight_scope='dataset' for encode_at_solve, got 'batch', which solves with the features of "
                "the step. Leave one of them out."
            )
        if self.feature_weights is not None and len(self.feature_weights) != len(self.feature_module or ()):
            raise ValueError(
                f"Expected a number in feature_weights for each feature_module, got {self.feature_weights} for "
                f"{self.feature_module}. Give as many of one as of the other."
            )

    def _check_learned_cost(self) -> None:
        chosen = f"weighting='clean_posterior'{' (the default)' if 'weighting' in self._filled else ''}"
        for name in OF_A_GIVEN_COST:
            value = getattr(self, name)
            if value is not None and value != self._filled.get(name):
                raise ValueError(
                    f"Expected no {name} with {chosen}, which learns its cost, got {value!r}. Leave it out, or set a "
                    "weighting that is given a cost, such as weighting='agreement'."
                )
        if self.weight_scope == "batch":
            raise ValueError(
                f"Expected weight_scope='dataset' with {chosen}, which learns its cost from the whole training set, "
                "got 'batch'. Leave it out, or set weighting='agreement'."
            )


@dataclass
class OTWeightedTrainingArguments(WeightingArguments, TrainingArguments, PickledWithoutToken):
    """`TrainingArguments` plus `WeightingArguments`; no default of `TrainingArguments` is changed.

    Raises:
        ValueError: an unknown name or a number out of its range, with what to use instead; a `hub_strategy` that
            would upload weights of single examples.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.resolve_weighting()
        self._check_uploads()

    def _check_uploads(self) -> None:
        uploads = self.push_to_hub and self.hub_strategy in (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS)
        holds = self.weighting != "none" and self.save_weights_in_checkpoints and not self.save_only_model
        if uploads and holds and not self.push_example_weights:
            raise ValueError(
                f"Expected no weights or features of single examples in uploads, but hub_strategy="
                f"{HubStrategy(self.hub_strategy).value!r} uploads checkpoints, which hold them. Set "
                "push_example_weights=True if that is meant; if not, save_weights_in_checkpoints=False, or "
                "hub_strategy='every_save'."
            )
