"""Resolve options: what the user set, then the task's, the weighting's and the preset's defaults.

Every check of a combination is made here, so that no setting passes without an effect.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from hf_otw._utils import look_up
from hf_otw.config.options import (
    COSTS,
    EXAMPLE_LOSSES,
    FEATURE_MEMORIES,
    RANGES,
    TARGET_MASSES,
    TARGET_POINTS,
    TASKS,
    WEIGHT_SCOPES,
    WEIGHTINGS,
    Option,
    WeightingOption,
    default_target_mass,
)
from hf_otw.config.presets import PRESETS

#: Options that each weighting but `none` reads.
SHARED = (
    "weight_scope",
    "cost",
    "cost_kwargs",
    "target_mass",
    "target_points",
    "feature_module",
    "feature_memory",
    "standardize_features",
    "weight_warmup",
    "weight_refresh_steps",
    "encode_at_solve",
    "head_only_after_warmup",
    "meta_loss_coefficient",
    "meta_batch_size",
    "meta_examples_per_class",
)
_TABLES: Mapping[str, Iterable[str]] = {
    "task": TASKS,
    "weighting": WEIGHTINGS,
    "weight_scope": WEIGHT_SCOPES,
    "cost": COSTS,
    "target_mass": TARGET_MASSES,
    "target_points": TARGET_POINTS,
    "feature_memory": FEATURE_MEMORIES,
    "example_loss": EXAMPLE_LOSSES,
}


class TaskFacts(Protocol):
    """Facts of a task that the options depend on; `hf_otw.tasks.Task` has them.

    Attributes:
        name: as in `OTWeightedTrainingArguments.task`.
        losses: names of the losses that fit, the first by default.
        defaults: options that replace those of the default preset.
        uses_groups: whether it reads `group_column`.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def losses(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def defaults(self) -> Mapping[str, Any]: ...  # noqa: D102

    @property
    def uses_groups(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True)
class Settings:
    """The options of a run, resolved. Fields have the names of `WeightingArguments`.

    Attributes:
        option: the schema of the weighting.
    """

    option: WeightingOption
    preset: str
    weighting: str
    weighting_kwargs: dict[str, Any]
    weight_scope: str
    cost: str | None
    cost_kwargs: dict[str, Any]
    target_mass: str
    target_points: str
    feature_module: tuple[str, ...]
    feature_memory: str
    standardize_features: bool
    example_loss: str
    example_loss_kwargs: dict[str, Any]
    weight_warmup: float | None
    weight_refresh_steps: int | None
    encode_at_solve: bool
    head_only_after_warmup: bool
    meta_examples_per_class: int
    meta_loss_coefficient: float
    meta_batch_size: int | None
    group_column: str | None
    label_bins: int
    weight_per_token: bool
    save_example_weights: bool

    @property
    def is_weighted(self) -> bool:
        """Whether this is anything but the stock Trainer."""
        return self.weighting != "none"

    @property
    def needs_transport(self) -> bool:
        """Whether features and a meta set are needed for weights."""
        return self.option.needs_transport

    @property
    def needs_meta(self) -> bool:
        """Whether a meta set is needed, for weights or for the meta term."""
        return self.is_weighted and (self.needs_transport or bool(self.meta_loss_coefficient))

    def shown(self) -> dict[str, Any]:
        """The options that act, for a report."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values.pop("option")
        idle = {name for name in SHARED if name not in self.option.uses}
        return {name: value for name, value in values.items() if name not in idle and value not in (None, {}, ())}


def resolve(
    given: Mapping[str, Any],
    *,
    task: TaskFacts | None = None,
    own_weighting: WeightingOption | None = None,
) -> Settings:
    """Fill in what the user left open, and check everything.

    Args:
        given: names of `WeightingArguments` and the user's values; None is open.
        task: None where it is not known yet: its defaults are then left out.
        own_weighting: the schema of a weight model that is given as an object.

    Raises:
        ValueError: an unknown name, a value out of range, or a setting that would have no effect.
    """
    given = {name: value for name, value in given.items() if value is not None}
    preset = given.get("preset", "default")
    base = look_up(PRESETS, preset, "preset")
    check_names(given)
    if own_weighting is not None and "weighting" in given:
        raise ValueError(
            f"Expected one weighting, got weighting={given['weighting']!r} in the arguments and the object "
            f"{own_weighting.name}. Leave one of them out."
        )
    of_task = dict(task.defaults) if task is not None and preset == "default" and "weighting" not in given else {}
    if own_weighting is not None:
        of_task = {name: of_task[name] for name in of_task if name in own_weighting.uses}
    name = own_weighting.name if own_weighting is not None else given.get("weighting", (base | of_task)["weighting"])
    option = own_weighting if own_weighting is not None else look_up(WEIGHTINGS, name, "weighting")
    defaults = base | dict(option.defaults) | of_task
    chosen = _WITHOUT_PRESET | defaults | given | {"weighting": name, "preset": preset}
    chosen["weighting_kwargs"] = _kwargs(option, "weighting_kwargs", given, defaults)
    chosen["example_loss"] = _loss(given, defaults, task)
    loss = look_up(EXAMPLE_LOSSES, chosen["example_loss"], "example_loss")
    chosen["example_loss_kwargs"] = _kwargs(loss, "example_loss_kwargs", given, defaults)
    if "cost" in option.uses:
        cost = look_up(COSTS, chosen["cost"], "cost")
        chosen["cost_kwargs"] = _kwargs(cost, "cost_kwargs", given, defaults)
    else:
        chosen |= {"cost": None, "cost_kwargs": {}}
    if chosen["target_mass"] is None:
        chosen["target_mass"] = default_target_mass(chosen["example_loss"])
    module = chosen["feature_module"]
    chosen["feature_module"] = (module,) if isinstance(module, str) else tuple(module)
    settings = Settings(option=option, **{field.name: chosen[field.name] for field in _FIELDS})
    _check_idle(given, settings)
    _check_task(given, settings, task)
    return settings


#: What no preset sets, left open.
_WITHOUT_PRESET: dict[str, Any] = {
    "feature_module": (),
    "group_column": None,
    "weight_per_token": False,
    "save_example_weights": True,
}
_FIELDS = [field for field in dataclasses.fields(Settings) if field.name != "option"]


def _kwargs(option: Option, name: str, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The user's arguments over those of the defaults that the option takes."""
    own = given.get(name, {})
    if not isinstance(own, Mapping):
        raise ValueError(f"Expected {name} to be a dictionary, got {own!r}. Write {{'name': value}}.")
    option.check(own, name)
    return option.merged(own, defaults[name])


def _loss(given: Mapping[str, Any], defaults: Mapping[str, Any], task: TaskFacts | None) -> str:
    name = str(given.get("example_loss", defaults["example_loss"]))
    if task is None or name in task.losses:
        return name
    if "example_loss" in given:
        look_up(dict.fromkeys(task.losses), name, f"example_loss for the task {task.name!r}")
    return task.losses[0]


def check_names(given: Mapping[str, Any]) -> None:
    """Check what does not depend on the weighting: names, and ranges of the shared options.

    Raises:
        ValueError: an unknown name, or a number out of range.
    """
    look_up(PRESETS, given.get("preset", "default"), "preset")
    for name, table in _TABLES.items():
        if name in given:
            look_up(dict.fromkeys(table), given[name], name)
    for argument in RANGES:
        if argument.name in given:
            argument.check(given[argument.name], argument.name)


def _check_idle(given: Mapping[str, Any], settings: Settings) -> None:
    """Raise a ValueError for a setting that would have no effect."""
    option = settings.option
    if not settings.is_weighted:
        idle = [name for name in given if name in OF_WEIGHTING]
        if idle:
            raise ValueError(
                f"Expected no {idle[0]} with weighting='none', the stock Trainer, got {given[idle[0]]!r}. Leave it "
                "out, or set weighting='uniform'."
            )
        return
    for name in SHARED:
        if name in given and name not in option.uses:
            users = [repr(other.name) for other in WEIGHTINGS.values() if name in other.uses]
            raise ValueError(
                f"Expected no {name} with weighting={option.name!r}, which does not read it, got {given[name]!r}. "
                f"Leave it out, or choose a weighting that does: {', '.join(users)}."
            )
    _check_scope(given, settings)
    if not settings.meta_loss_coefficient and "meta_batch_size" in given:
        raise ValueError(
            f"Expected meta_loss_coefficient > 0 for meta_batch_size, got {settings.meta_loss_coefficient}: there is "
            "no meta term. Leave meta_batch_size out, or set the coefficient."
        )
    if not settings.needs_meta and "meta_examples_per_class" in given:
        raise ValueError(
            f"Expected a weighting or a meta_loss_coefficient that needs a meta set for meta_examples_per_class, got "
            f"weighting={option.name!r} without one. Leave it out."
        )
    shares = settings.cost_kwargs.get("block_weights")
    if shares is not None and len(shares) != len(settings.feature_module):
        raise ValueError(
            f"Expected a number in cost_kwargs['block_weights'] for each feature_module, got {list(shares)} for "
            f"{list(settings.feature_module)}. Give as many of one as of the other."
        )


def _check_scope(given: Mapping[str, Any], settings: Settings) -> None:
    """Raise a ValueError for what belongs to the other scope."""
    if settings.weight_scope == "dataset":
        return
    if settings.option.learns_cost:
        raise ValueError(
            f"Expected weight_scope='dataset' with weighting={settings.weighting!r}, which learns its cost from the "
            "whole training set, got 'batch'. Leave it out, or set weighting='agreement'."
        )
    for name, idle in (("encode_at_solve", settings.encode_at_solve), ("feature_memory", "feature_memory" in given)):
        if idle:
            raise ValueError(
                f"Expected weight_scope='dataset' for {name}, got 'batch', which solves with the features of the "
                "step. Leave one of them out."
            )


def _check_task(given: Mapping[str, Any], settings: Settings, task: TaskFacts | None) -> None:
    """Raise a ValueError for options that do not fit the task."""
    if task is None:
        return
    if "group_column" in given and not task.uses_groups:
        raise ValueError(
            f"Expected no group_column for the task {task.name!r}, whose labels are the classes, got "
            f"{settings.group_column!r}. Leave it out, or set weighting='column' with weights of your own."
        )
    if "label_bins" in given and (task.name != "regression" or "group_column" in given):
        raise ValueError(
            f"Expected label_bins for regression without a group_column only, got the task {task.name!r}. Leave it "
            "out."
        )


#: Everything that says how to weight, but for the weighting itself and the preset.
OF_WEIGHTING = frozenset(field.name for field in _FIELDS) - {"weighting", "preset", "save_example_weights"} | {"task"}
