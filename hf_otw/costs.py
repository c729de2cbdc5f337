"""Ground costs between training rows (source) and meta columns (target).

A cost is any callable `(source, target) -> C` with `C` of shape `(n, m)`, finite and `>= 0` (see `hf_otw.types.Cost`);
`hf_otw.testing.check_cost` checks one. The three of the paper (https://huggingface.co/papers/2208.02951, section 3.2)
are here, with one departure: the paper's label cost is the *mean* squared difference of one-hot vectors, `2 / K` for
two
different classes, which vanishes as the number of classes grows. Ours is 1. Pass `mismatch=2 / K` for the paper's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hf_otw.types import Cost, Measure, Shard

if TYPE_CHECKING:
    from hf_otw.stored import StoredFeatures

#: Rows of a block on a CPU, small enough for its caches, and on an accelerator, large enough to fill it.
BLOCK_ROWS, ACCELERATOR_ROWS = 2048, 65_536
CACHE_BYTES = 2**30


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
    """`C_ij = mismatch * d(y_i, y_j)`: 1 for two classes that differ, 0 for the same (`label_distance`)."""

    mismatch: float = 1.0

    def __call__(self, source: Measure, target: Measure) -> Tensor:
        return _label_costs(source, target, self.mismatch, 0.0)


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


#: Costs that can be named in a configuration file.
COSTS = {"feature": FeatureCost, "label": LabelCost, "combined": CombinedCost}


@dataclass(frozen=True)
class Standardizer:
    """Centres and scales features with the mean and standard deviation of the training rows.

    Shape:
        - mean, scale: `(D,)`. A constant dimension keeps scale 1.
    """

    mean: Tensor
    scale: Tensor

    @classmethod
    def fit(cls, features: Tensor | StoredFeatures, shard: Shard | None = None) -> Standardizer:
        """Measure `features`, shape `(n, D)`, or the rows of `shard` of them, in blocks.

        Raises:
            ValueError: features that are not finite, or all equal (no transport can tell such rows apart).
        """
        n = len(features) if shard is None else shard.num_rows
        total = (lambda part: part) if shard is None else shard.sum
        first = features[:BLOCK_ROWS]
        sums, squares = (first.new_zeros(first.shape[1], dtype=torch.float64) for _ in range(2))
        # One pass: about a point near the mean, as sums of squares about 0 lose what makes them differ.
        centre = first.sum(dim=0) / max(len(first), 1)
        for x in _blocks(features):
            apart = x - centre
            sums += apart.sum(dim=0)
            squares += apart.square_().sum(dim=0)
        centre = centre.double()
        mean = total(sums + len(features) * centre) / n
        if not mean.isfinite().all():  # on all processes: either all look closer, or none
            bad = sum(((~torch.isfinite(x)).any(dim=1).sum() for x in _blocks(features)), torch.zeros_like(sums[0]))
            _refuse_infinite(int(total(bad)), n)
        off = centre - mean
        squares += (2 * sums + len(features) * off) * off  # about the mean
        std = (total(squares) / n).clamp_(min=0).sqrt_()
        varies = std > 1e-6 * mean.abs()  # rounding noise of a constant column is not a signal
        mean, std = mean.to(first), std.to(first)
        if not varies.any():
            raise ValueError(
                f"Expected features that differ between examples, but all {n} rows are equal. Check that "
                "`feature_module` names the layer whose *input* describes the example, and that the inputs differ."
            )
        return cls(mean, torch.where(varies, std, torch.ones_like(std)))

    def __call__(self, features: Tensor) -> Tensor:
        """Return standardised features, shape `(n, D)`."""
        return (features - self.mean).div_(self.scale)


class CostBlocks:
    """The cost matrix as a re-iterable sequence of row blocks, so that `n * m` numbers need not fit in memory.

    Blocks are kept after the first pass when all of them fit in `cache_bytes`, and recomputed in each pass otherwise:
    those of a cost that has a method `into` in the memory of the block before, to be used before the next is made.

    Of a source that is divided among processes, each iterates over its own rows. What a solver sums over the rows it
    then completes by `sum` or `logsumexp`, what it computes per row by `all_rows`: without processes these change
    nothing.

    Shape:
        - each item: `(rows, C[rows])`, `rows` a slice and `C[rows]` of shape `(rows.stop - rows.start, m)`.
    """

    def __init__(
        self,
        cost: Cost,
        source: Measure,
        target: Measure,
        *,
        block_rows: int | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.cost, self.source, self.target = cost, source, target
        on_cpu = source.features.device.type == "cpu"
        self.block_rows = block_rows or (BLOCK_ROWS if on_cpu else ACCELERATOR_ROWS)
        self.shard = source.shard
        self.start, self.stop = (0, len(source.labels)) if self.shard is None else (self.shard.start, self.shard.stop)
        m = len(target.labels)
        self.fits = (self.stop - self.start) * m * source.features.dtype.itemsize <= cache_bytes
        self._kept: list[Tensor] = []
        self._work: Tensor | None = None
        #: What `hf_otw.transport.kernel` keeps of the matrix.
        self.kernel: Any = None

    @property
    def dtype(self) -> torch.dtype:
        """Of the costs."""
        return self.source.features.dtype

    @property
    def device(self) -> torch.device:
        """Of the costs."""
        return self.source.features.device

    @classmethod
    def of_matrix(cls, C: Tensor) -> CostBlocks:
        """Wrap a cost matrix that is already there, shape `(n, m)`."""
        n, m = C.shape
        rows, columns = C.new_zeros(n, 0), C.new_zeros(m, 0)
        labels = torch.zeros(max(n, m), dtype=torch.long, device=C.device)
        empty = C.new_zeros(0)
        blocks = cls(lambda source, target: C, Measure(rows, labels[:n], empty), Measure(columns, labels[:m], empty))
        blocks.block_rows, blocks.fits, blocks._kept = n, True, [C]
        return blocks

    def __iter__(self) -> Iterator[tuple[slice, Tensor]]:
        for k, start in enumerate(range(self.start, self.stop, self.block_rows)):
            rows = slice(start, min(start + self.block_rows, self.stop))
            if k < len(self._kept):
                yield rows, self._kept[k]
                continue
            if self.fits:
                self._kept.append(self.cost(self.source.rows(rows), self.target))
                yield rows, self._kept[k]
            else:
                yield rows, self._computed(rows)

    def _computed(self, rows: slice) -> Tensor:
        """A block that is not kept, `(rows, m)`."""
        into = getattr(self.cost, "into", None)
        if into is None:
            return self.cost(self.source.rows(rows), self.target)
        # The system zeroes fresh memory page by page, which takes a third of the product's time.
        if self._work is None:
            size = (self.block_rows, len(self.target.labels))
            self._work = torch.empty(size, dtype=self.dtype, device=self.device)
        return into(self._work[: rows.stop - rows.start], self.source.rows(rows), self.target)

    def sum(self, part: Tensor) -> Tensor:
        """What was summed over this process's rows, over all rows."""
        return part if self.shard is None else self.shard.sum(part)

    def logsumexp(self, part: Tensor) -> Tensor:
        """The log of a sum over this process's rows, of the sum over all rows."""
        return part if self.shard is None else self.shard.logsumexp(part)

    def all_rows(self, values: Tensor) -> Tensor:
        """`(n, ...)` whose entries of this process's rows are set, with those of all processes."""
        return self.gathered(values[self.start : self.stop]) if self.shard is not None else values

    def gathered(self, part: Tensor) -> Tensor:
        """From this process's rows `(stop - start, ...)` to all rows `(n, ...)`."""
        return part if self.shard is None else self.shard.gather(part)


def label_distance(source: Measure, target: Measure) -> Tensor:
    """How far labels are from each other, shape `(n, m)`: 0 for the same, 1 for two different classes.

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


def _blocks(features: Tensor | StoredFeatures) -> Iterator[Tensor]:
    """Row blocks, `(rows, D)`."""
    for start in range(0, len(features), BLOCK_ROWS):
        yield features[start : start + BLOCK_ROWS]


def _refuse_infinite(bad: int, n: int) -> None:
    if bad:
        raise ValueError(
            f"Expected finite features, but {bad} of {n} rows hold NaN or infinity. Check the inputs, lower the "
            "learning rate, or train in bfloat16 or float32 if this run uses float16."
        )


def _one(like: Tensor) -> Tensor:
    return torch.ones((), dtype=like.dtype, device=like.device)
