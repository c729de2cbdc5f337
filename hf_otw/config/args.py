"""`OTWeightedTrainingArguments`: `TrainingArguments`, and how to weight."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from transformers import TrainingArguments
from transformers.trainer_utils import HubStrategy

from hf_otw.config.options import (
    COSTS,
    EXAMPLE_LOSSES,
    FEATURE_MEMORIES,
    TARGET_MASSES,
    TARGET_POINTS,
    TASKS,
    WEIGHT_SCOPES,
    WEIGHTINGS,
    Option,
)
from hf_otw.config.pickling import PickledWithoutToken
from hf_otw.config.presets import PRESETS
from hf_otw.config.settings import Settings, TaskFacts, check_names, resolve

_KWARGS = ("weighting_kwargs", "cost_kwargs", "example_loss_kwargs")


def _option(help_text: str, choices: Iterable[str] | None = None, *, default: Any = None) -> Any:
    metadata: dict[str, Any] = {"help": help_text}
    if choices is not None:
        metadata["choices"] = list(choices)
    if isinstance(choices, Mapping):
        metadata["help"] += " " + "; ".join(
            _described(found) for found in choices.values() if isinstance(found, Option)
        )
    return field(default=default, metadata=metadata)


def _described(option: Option) -> str:
    return f"`{option.name}`: {option.help.rstrip('.')}"


@dataclass
class WeightingArguments:
    """Options of the weighting. A field left at None takes its value from the task, the weighting or `preset`.

    Args:
        preset: set of defaults, `default` or `paper` (Guo et al. 2022 as its authors ran it).

        weighting: where weights come from.
        weighting_kwargs: arguments of that weighting, such as `{"reg": 0.05}`.
        weight_scope: solve over the whole training set (`dataset`) or in every step over its batch (`batch`).
        weight_warmup: training with all weights 1 before the first solve.
        weight_refresh_steps: optimizer steps between two solves.

        cost: ground cost between training rows and meta columns.
        cost_kwargs: arguments of that cost.
        target_mass: total mass of each class.
        target_points: how meta examples become columns of the cost.

        feature_module: module whose input is the feature.
        feature_memory: where features of the training set are kept.
        standardize_features: centre and scale features before the cost.
        encode_at_solve: encode the training set anew at each solve.

        example_loss: loss of one example.
        example_loss_kwargs: arguments of that loss.
        head_only_after_warmup: train the head alone once the warm-up is over.

        meta_examples_per_class: size of the meta set that is split off the training set.
        meta_loss_coefficient: factor of the mean loss of a meta batch in every step.
        meta_batch_size: examples in that meta batch.

        task: what is trained.
        weight_per_token: token classification, a weight per labelled token.
        group_column: column that takes the place of the class.
        label_bins: regression, intervals that count as classes.

        save_example_weights: keep weights and feature memory in checkpoints.
        push_example_weights: allow uploads of weights and features of single examples.
    """

    preset: str = _option(
        "Set of defaults: `default` (measured to be best) or `paper` (Guo et al. 2022, faithful).",
        PRESETS.keys(),
        default="default",
    )
    weighting: str | None = _option("Where weights come from.", WEIGHTINGS)
    weighting_kwargs: dict[str, Any] | str | None = _option(
        "Arguments of the weighting, such as '{\"reg\": 0.05}': "
        + "; ".join(
            f"`{found.name}` takes {', '.join(argument.name for argument in found.arguments)}"
            for found in WEIGHTINGS.values()
            if found.arguments
        )
        + "."
    )
    weight_scope: str | None = _option(
        "`dataset`: solve over the whole training set, from a feature memory. `batch`: solve in every step over its "
        "batch.",
        WEIGHT_SCOPES,
    )
    weight_warmup: float | None = _option(
        "Training with all weights 1 before the first solve: a number of steps if >= 1, a fraction of all steps if "
        "below. Default: an epoch, at most half of the training."
    )
    weight_refresh_steps: int | None = _option(
        "Dataset scope: solve again every so many optimizer steps (also the age at which meta features are "
        "renewed); 0: solve once. Default: an epoch; `clean_posterior`: once."
    )
    cost: str | None = _option("Ground cost; `clean_posterior` learns its own.", COSTS)
    cost_kwargs: dict[str, Any] | str | None = _option(
        "Arguments of the cost: `label_weight` (`label`, `combined`), `block_weights` (`feature`, `combined`)."
    )
    target_mass: str | None = _option(
        "Total mass of each class. Default: `square_root` with the loss `logit_adjusted`, which does the other half; "
        "else `balanced`.",
        TARGET_MASSES,
    )
    target_points: str | None = _option("How meta examples become columns of the cost.", TARGET_POINTS)
    feature_module: list[str] | None = _option(
        "Dotted path of the module whose input is the feature. Default: the head. Several paths, one per modality, "
        "make a mixture of their cosine costs."
    )
    feature_memory: str | None = _option(
        "Features of the training set, 2 bytes per number; on several processes all of them on each "
        "(`replicated`, the default), an equal part on each (`sharded`), or that part in a file mapped into memory "
        "(`mapped`). The solve is divided among the processes in any case.",
        FEATURE_MEMORIES,
    )
    standardize_features: bool | None = _option("Centre and scale features before the cost.")
    encode_at_solve: bool | None = _option(
        "Dataset scope: a forward pass over the training set at each solve, for features of one model, instead of "
        "what training has last seen of each example. Default: for `clean_posterior`."
    )
    example_loss: str | None = _option(
        "Loss of one example. Default: the preset's where it fits the task, else the task's own.", EXAMPLE_LOSSES
    )
    example_loss_kwargs: dict[str, Any] | str | None = _option(
        "Arguments of the loss: `tau` (`logit_adjusted`), `gamma` (`focal`)."
    )
    head_only_after_warmup: bool | None = _option(
        "Train the head alone once `weight_warmup` is over: the paper's second stage."
    )
    meta_examples_per_class: int | None = _option(
        "Size of the meta set split off the training set when no `meta_dataset` is given. Default: 10."
    )
    meta_loss_coefficient: float | None = _option(
        "Adds this times the mean cross-entropy of a meta batch to the loss of every step; with "
        "`head_only_after_warmup` only from then on."
    )
    meta_batch_size: int | None = _option(
        "Examples in that meta batch. Default: 8; the whole meta set in the preset `paper`."
    )
    task: str | None = _option(
        "What is trained. Default: told from the model's class, its `problem_type`, or the labels.", TASKS
    )
    weight_per_token: bool = _option(
        "Token classification: a weight per labelled token, not per sequence.", default=False
    )
    group_column: str | None = _option(
        "Column of the training set with each example's group (domain, language, ...), which takes the place of the "
        "class: for language modelling and, if wanted, regression and token classification."
    )
    label_bins: int | None = _option("Regression: intervals of equal width that count as classes. Default: 10.")
    save_example_weights: bool = _option(
        "Keep weights and feature memory in checkpoints, for an exact resume. Without it, a resumed run solves anew.",
        default=True,
    )
    push_example_weights: bool = _option(
        "Let `hub_strategy='checkpoint'` and `'all_checkpoints'` upload the weights and features of single examples "
        "that checkpoints hold.",
        default=False,
    )

    def given(self) -> dict[str, Any]:
        """Return what the user set, by name: fields that differ from their default.

        Raises:
            ValueError: a `*_kwargs` string that is not a JSON object.
        """
        fields = dataclasses.fields(WeightingArguments)
        found = {f.name: getattr(self, f.name) for f in fields if getattr(self, f.name) != f.default}
        for name in _KWARGS:
            if isinstance(found.get(name), str):
                found[name] = _parsed(name, found[name])
        return found

    def settings(self, task: TaskFacts | None = None) -> Settings:
        """Resolve the options, see `hf_otw.config.settings.resolve`.

        Raises:
            ValueError: an unknown name, a value out of range, or a setting without effect.
        """
        return resolve(self.given(), task=task)


def _parsed(name: str, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"Expected {name} to be a JSON object, got {text!r}: {error}.") from error
    if not isinstance(found, dict):
        raise ValueError(f'Expected {name} to be a JSON object, got {text!r}. Write {{"name": value}}.')
    return found


@dataclass
class OTWeightedTrainingArguments(WeightingArguments, TrainingArguments, PickledWithoutToken):
    """`TrainingArguments` plus `WeightingArguments`; no default of `TrainingArguments` is changed.

    Raises:
        ValueError: an unknown name, a number out of its range or a setting without effect, with what to use instead;
            a `hub_strategy` that would upload weights of single examples.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        check_names(self.given())
        if self.weighting is not None:  # else the task may choose one
            self.settings()
        self._check_uploads()

    def _check_uploads(self) -> None:
        uploads = self.push_to_hub and self.hub_strategy in (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS)
        holds = self.weighting != "none" and self.save_example_weights and not self.save_only_model
        if uploads and holds and not self.push_example_weights:
            raise ValueError(
                f"Expected no weights or features of single examples in uploads, but hub_strategy="
                f"{HubStrategy(self.hub_strategy).value!r} uploads checkpoints, which hold them. Set "
                "push_example_weights=True if that is meant; if not, save_example_weights=False, or "
                "hub_strategy='every_save'."
            )
