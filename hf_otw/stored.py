"""Feature rows that stay where they are, in a memory-mapped file or in half precision, until a block is read."""

from __future__ import annotations

import mmap
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hf_otw.costs import BLOCK_ROWS, Standardizer


@dataclass(frozen=True)
class StoredFeatures:
    """Rows `(n, D)` that look like a float tensor to who reads slices of them: `Measure.features` may be one.

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
