"""Build the objects that options name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from torch import Tensor

from hf_otw.config.options import (
    COSTS,
    EXAMPLE_LOSSES,
    TARGET_MASSES,
    TARGET_POINTS,
    WeightingOption,
    load,
    own_weighting,
)
from hf_otw.losses import ExampleLoss
from hf_otw.types import Cost, Measure
from hf_otw.weighting.base import Facts, WeightModel

#: `(features (m, D), labels (m,), class mass (K,), label_vectors (m, L) or None) -> Measure`.
MakeTarget = Callable[[Tensor, Tensor, Tensor, "Tensor | None"], Measure]
ClassMass = Callable[[Tensor], Tensor]


def build_cost(name: str | None, kwargs: Mapping[str, Any], num_classes: int, widths: Sequence[int] = ()) -> Cost:
    """Return the ground cost of that name; for None, which nothing reads, that of the features.

    Args:
        name, kwargs: of the cost. A `label_weight` of None is the paper's, `2 / K`.
        num_classes: `K`.
        widths: of the feature blocks, where features come from several modules.
    """
    given = dict(kwargs)
    blocks = {"block_weights": tuple(given.pop("block_weights", ()))}
    if len(widths) > 1:
        blocks["widths"] = tuple(widths)
    name = name or "feature"
    cost = load(COSTS, name, "cost")
    if given.get("label_weight", 1.0) is None:
        given["label_weight"] = 2 / num_classes
    if name == "label":
        return cast(Cost, cost(**given))
    features = load(COSTS, "feature", "cost")(**blocks)
    return cast(Cost, features if name == "feature" else cost(**given, features=features))


def build_example_loss(name: str, kwargs: Mapping[str, Any], label_smoothing: float) -> ExampleLoss:
    """Return the loss of that name; label smoothing goes to those of single classes."""
    loss = load(EXAMPLE_LOSSES, name, "example_loss")
    smoothing = {"label_smoothing": label_smoothing} if label_smoothing else {}
    return cast(ExampleLoss, loss(**kwargs, **smoothing))


def build_weight_model(option: WeightingOption, kwargs: Mapping[str, Any], facts: Facts) -> WeightModel:
    """Return the weight model of that option.

    Raises:
        ValueError: data that it cannot be built from, such as a class without examples.
    """
    return cast(WeightModel, option.load().from_facts(facts, **kwargs))


def schema_of(weight_model: WeightModel) -> WeightingOption:
    """Return the schema of a weight model that is given as an object."""
    return own_weighting(
        weight_model.name, needs_transport=weight_model.needs_transport, learns_cost=weight_model.learns_cost
    )


def build_class_mass(name: str) -> ClassMass:
    """Return `class totals (K,) -> class mass (K,)`."""
    return load(TARGET_MASSES, name, "target_mass")


def build_target(name: str) -> MakeTarget:
    """Return what makes columns of meta examples."""
    return load(TARGET_POINTS, name, "target_points")
