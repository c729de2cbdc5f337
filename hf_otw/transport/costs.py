"""Ground costs between training rows (source) and meta columns (target).

A cost is any callable `(source, target) -> C` with `C` of shape `(n, m)`, finite and `>= 0` (see `hf_otw.types.Cost`);
`hf_otw.testing.check_cost` checks one. The three of the paper (https://huggingface.co/papers/2208.02951, section 3.2)
are here, with one departure: the paper's label cost is the *mean* squared difference of one-hot vectors, `2 / K` for
two different classes, which vanishes as the number of classes grows. Ours is 1. Pass `label_weight=2 / K` for the
paper's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from hf_otw.types import Measure


@dataclass(frozen=True)
class FeatureCost:
    """`C_ij = 1 - cos(z_i, z_j)`, in `[0, 2]`.

    Transformer features are anisotropic: without centring, all cosines are nearly equal. Standardise first
    (`Standardizer`; `learn_weights` and the trainer do). A zero vector is at distance 1 from everything.

    Args:
        widths: of the blocks that a feature is made of, one a modality: the cost is then a mixture of the blocks'
            cosine costs, so that no modality drowns another by its width or scale. One block by default.
        block_weights: shares of the blocks in that mixture, made to sum to 1; equal by default.
    """

    widths: tuple[int, ...] = ()
    block_weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        weights = self.block_weights
        if weights and (len(weights) != len(self.widths) or min(weights) < 0 or sum(weights) <= 0):
            raise ValueError(
                f"Expected one share >= 0 for each of the {len(self.widths)} feature blocks, not all zero, got "
                f"{weights}. Give as many numbers as modules."
            )

    def __call__(self, source: Measure, target: Measure) -> Tensor:
        return self.into(None, source, target)

    def into(self, out: Tensor | None, source: Measure, target: Measure) -> Tensor:
        """The costs, in the memory of `out`, shape `(n, m)`, if that is given."""
        z_source = self.unit(source.features)  # (n, D)
        z_target = self.unit(target.features)  # (m, D)
        costs = torch.addmm(_one(z_source), z_source, z_target.T, alpha=-1, out=out)  # (n, D) @ (D, m) = (n, m)
        return costs.clamp_(min=0)

    def unit(self, z: Tensor) -> Tensor:
        """Features whose inner products are the cosines, `(n, D)`."""
        # Blocks of length sqrt(share): the inner product is then the mixture of the blocks' cosines.
        if not self.widths:
            return F.normalize(z, dim=1)
        shares = self.block_weights or (1.0,) * len(self.widths)
        blocks = zip(z.split(self.widths, dim=1), shares, strict=True)
        return torch.cat([F.normalize(block, dim=1) * (share / sum(shares)) ** 0.5 for block, share in blocks], dim=1)


@dataclass(frozen=True)
class LabelCost:
    """`C_ij = label_weight * d(y_i, y_j)`: 1 for two classes that differ, 0 for the same (`label_distance`)."""

    label_weight: float = 1.0

    def __call__(self, source: Measure, target: Measure) -> Tensor:
        return _label_costs(source, target, self.label_weight, 0.0)


@dataclass(frozen=True)
class CombinedCost:
    """`C = feature cost + label_weight * label cost`; the only one that sees features *and* the given labels."""

    label_weight: float = 1.0
    features: FeatureCost = FeatureCost()

    def __call__(self, source: Measure, target: Measure) -> Tensor:
        return self.into(None, source, target)

    def into(self, out: Tensor | None, source: Measure, target: Measure) -> Tensor:
        """The costs, in the memory of `out`, shape `(n, m)`, if that is given."""
        costs = _label_costs(source, target, self.label_weight, 1.0, out)  # (n, m)
        z_source, z_target = self.features.unit(source.features), self.features.unit(target.features)
        return costs.addmm_(z_source, z_target.T, alpha=-1).clamp_(min=0)  # (n, D) @ (D, m)


def label_distance(source: Measure, target: Measure) -> Tensor:
    """Distance between labels, shape `(n, m)`: 0 for the same, 1 for two different classes.

    Labels that are more than a class are compared by the L1 distance of their vectors. For sets of labels, each a
    uniform distribution of half the mass, that is the total variation, 1 for disjoint sets; it agrees with plain
    classes where every set has one member.
    """
    if source.label_vectors is None or target.label_vectors is None:
        return source.labels[:, None] != target.labels[None, :]  # (n, 1) != (1, m) = (n, m)
    return torch.cdist(source.label_vectors, target.label_vectors, p=1)


def _label_costs(source: Measure, target: Measure, weight: float, plus: float, out: Tensor | None = None) -> Tensor:
    """`weight * label_distance + plus`, shape `(n, m)`, in the features' precision."""
    dtype = source.features.dtype
    if source.label_vectors is None or target.label_vectors is None:
        classes = 1 + max((int(y.max()) for y in (source.labels, target.labels) if len(y)), default=-1)
        if classes <= len(source.labels):  # rows of one class are alike: to copy them is cheaper than to compare
            k = torch.arange(classes, device=target.labels.device)
            table = (k[:, None] != target.labels).to(dtype).mul_(weight).add_(plus)  # (K, m)
            return torch.index_select(table, 0, source.labels, out=out)
    costs = label_distance(source, target).to(dtype).mul_(weight).add_(plus)
    return costs if out is None else out.copy_(costs)


def label_agreement(source: Measure, target: Measure) -> Tensor:
    """`1 - label_distance`, at least 0, shape `(n, m)`: which columns count as a row's own class."""
    if source.label_vectors is None or target.label_vectors is None:
        return source.labels[:, None] == target.labels[None, :]
    return (1 - label_distance(source, target)).clamp_(min=0)


def _one(like: Tensor) -> Tensor:
    return torch.ones((), dtype=like.dtype, device=like.device)
