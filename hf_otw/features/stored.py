"""Feature rows that stay where they are, in a memory-mapped file or in half precision, until a block is read."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hf_otw.types import Shard


@dataclass(frozen=True)
class StoredFeatures:
    """Rows `(n, D)` that can be sliced like a float tensor: `Measure.features` may be one.

    What is read is of the precision to compute in, and standardised if told to; nothing of size `n * D` is made.

    Args:
        stored: `(n, D)`, any number type: a tensor, or an array, which may lie in a memory-mapped file.
        dtype: of what is read, float32 or float64.
        scaler: applied to what is read, or None.
        index: the rows of `stored` that these are, a tensor or, of an array, a range; all by default.
        device: that rows are read to.
    """

    stored: Tensor | np.ndarray
    dtype: torch.dtype = torch.float32
    scaler: Standardizer | None = None
    index: Tensor | range | None = None
    device: torch.device = torch.device("cpu")

    def __len__(self) -> int:
        return len(self.stored) if self.index is None else len(self.index)

    def __getitem__(self, rows: slice) -> Tensor:
        """Read rows, shape `(rows, D)`."""
        which = rows if self.index is None else self.index[rows]
        if isinstance(which, range):
            which = slice(which.start, which.stop)
        if isinstance(self.stored, np.ndarray):
            part = self.stored[which]
            found = as_tensor(part)
            _give_back(part)
        else:
            found = self.stored[which if isinstance(which, slice) else which.to(self.stored.device)]
        z = found.to(self.device, self.dtype)
        return z if self.scaler is None else self.scaler(z)

    @property
    def shape(self) -> tuple[int, int]:
        """`(n, D)`."""
        return len(self), self.stored.shape[1]

    def standardized(self, scaler: Standardizer) -> StoredFeatures:
        """The same rows, standardised as they are read."""
        return replace(self, scaler=scaler)

    def count_infinite(self) -> Tensor:
        """Numbers that are NaN or infinite, `()`."""
        blocks = (self[start : start + BLOCK_ROWS] for start in range(0, len(self), BLOCK_ROWS))
        return sum(((~torch.isfinite(z)).sum() for z in blocks), torch.zeros((), dtype=torch.long, device=self.device))


def as_tensor(array: Tensor | np.ndarray) -> Tensor:
    """Without a copy where that is possible."""
    # torch refuses negative strides and warns of read-only memory (a memory map, an Arrow column): copy those.
    if isinstance(array, np.ndarray) and (not array.flags.writeable or min(array.strides, default=0) < 0):
        array = array.copy()
    return torch.as_tensor(array).detach()


def _give_back(part: np.ndarray) -> None:
    """Take the pages of a file that were read out of this process's memory: they stay in the system's cache."""
    # Of a mapping that may be written to, pages can hold what the file does not. The whole mapping is given back: the
    # system maps more than the pages that were asked for.
    if isinstance(part, np.memmap) and part.mode == "r" and hasattr(mmap, "MADV_DONTNEED"):
        part._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]  # numpy has no public name for it


#: Rows of a block on a CPU, small enough for its caches, and on an accelerator, large enough to fill it.
BLOCK_ROWS, ACCELERATOR_ROWS = 2048, 65_536


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
            ValueError: features that are not finite.
            EqualFeatures: features that are all equal: no transport can tell such rows apart.
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
            raise EqualFeatures(
                f"Expected features that differ between examples, but all {n} rows are equal. Check that "
                "`feature_module` names the layer whose *input* describes the example, and that the inputs differ."
            )
        return cls(mean, torch.where(varies, std, torch.ones_like(std)))

    def __call__(self, features: Tensor) -> Tensor:
        """Return standardised features, shape `(n, D)`."""
        return (features - self.mean).div_(self.scale)


class EqualFeatures(ValueError):
    """All rows have the same features."""


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
