"""The contract of a weight model: rows in, weights out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hf_otw.types import Cost, Measure, Weights


class Facts(NamedTuple):
    """Facts of the data that a weight model may be built from, beside its own arguments.

    Shape:
        - labels: `(N,)`, of all rows of the training set as given.
        - class_counts: `(K,)`, rows that are trained on.

    Attributes:
        class_mass: `class totals (K,) -> class mass (K,)`.
        feature_dim: `D`.
        read_column: name of a column of the training set -> its values `(N,)`.
        seed: of random parameters.
    """

    labels: Tensor
    class_counts: Tensor
    class_mass: Callable[[Tensor], Tensor]
    feature_dim: int = 0
    read_column: Callable[[str], Tensor] | None = None
    seed: int = 0


class WeightModel(nn.Module, ABC):
    """Learns one weight per row from a source and a target measure.

    A subclass is called with the rows of one batch (`weight_scope="batch"`) or with the whole training set
    (`"dataset"`). What it must remember between calls is a buffer or a parameter of its own, so that a checkpoint
    holds it; it is never attached to the user's model. `hf_otw.testing.check_weighting` checks an implementation.

    Attributes:
        needs_transport (`bool`): whether `source.features`, `target` and `cost` are used. Weight models that do not
            need them cost no meta set, no feature memory and no extra forward pass.
        divisible (`bool`): whether `forward` understands a source whose rows are divided among processes
            (`Measure.shard`), as all that reads it through `CostBlocks` does. Others get the features of all rows.
        streams (`bool`): whether `forward` reads `source.features` in slices of rows only, as `CostBlocks` does: they
            may then be `hf_otw.features.stored.StoredFeatures`, which are never in memory as a whole. Others get a
            tensor.
        learns_cost (`bool`): whether it finds a cost of its own; the one that it is given is then not used.
    """

    needs_transport: bool = True
    divisible: bool = False
    streams: bool = False
    learns_cost: bool = False

    @property
    def name(self) -> str:
        """Name of the model: a checkpoint of another one is refused."""
        return type(self).__name__

    @classmethod
    def from_facts(cls, facts: Facts, **kwargs: Any) -> WeightModel:
        """Build a model of a training set from its own arguments alone; override it where the data are needed too."""
        return cls(**kwargs)

    @abstractmethod
    def forward(self, index: Tensor, source: Measure, target: Measure, cost: Cost) -> Weights:
        """Compute the weights of the given rows.

        A model that does not need transport may get None for `target` and `cost`, and declares them so.

        Shape:
            - index: `(n,)`, stable row numbers in the training set.
            - returns: `Weights`, `weights` `(n,)` non-negative with mean 1.
        """


def mean_one(mass: Tensor) -> Tensor:
    """Rescale non-negative row masses `(n,)` to mean 1.

    Raises:
        ValueError: masses that are not finite or that are all zero.
    """
    mean = mass.mean()
    if not (torch.isfinite(mean) and mean > 0):
        raise ValueError(
            f"Expected row masses that are finite and not all zero, got a mean of {mean.item()}. Raise `reg`, and "
            "check the features."
        )
    return mass / mean


def exact(weights: Tensor) -> Weights:
    """Wrap weights that need no solver."""
    one = weights.new_ones(())
    return Weights(weights, one * torch.nan, one, torch.zeros_like(one))
