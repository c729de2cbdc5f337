"""Feature rows that stay where they are, in a memory-mapped file or in half precision, until a block is read."""

from __future__ import annotations

import mmap
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hf_otw.costs import Standardizer


@dataclass(frozen=True)
class StoredFeatures:
    """Rows `(n, D)` that look like a float tensor to who reads slices of them: `Measure.features` may be one.

    What is read is of the precision to compute in, and standardised if told to; nothing of size `n * D` is made.

    Args:
        stored: `(n, D)`, any number type: a tensor, or an array, which may lie in a memory-mapped file.
        dtype: of what is read, float32 or float64.
        scaler: applied to what is read, or None.
        start, stop: the rows of `stored` that these are; all by default.
    """

    stored: Tensor | np.ndarray
    dtype: torch.dtype = torch.float32
    scaler: Standardizer | None = None
    start: int = 0
    stop: int | None = None

    def __len__(self) -> int:
        return (len(self.stored) if self.stop is None else self.stop) - self.start

    def __getitem__(self, rows: slice) -> Tensor:
        """Read rows, shape `(rows, D)`."""
        first, last, _ = rows.indices(len(self))
        found = self.stored[self.start + first : self.start + last]
        if isinstance(found, np.ndarray):
            part, found = found, as_tensor(found)
            _give_back(part)
        z = found.to(self.dtype)
        return z if self.scaler is None else self.scaler(z)

    @property
    def shape(self) -> tuple[int, int]:
        """`(n, D)`."""
        return len(self), self.stored.shape[1]

    @property
    def device(self) -> torch.device:
        """Where rows are read to."""
        return self.stored.device if isinstance(self.stored, Tensor) else torch.device("cpu")

    def standardized(self, scaler: Standardizer) -> StoredFeatures:
        """The same rows, standardised as they are read."""
        return StoredFeatures(self.stored, self.dtype, scaler, self.start, self.stop)

    def part(self, start: int, stop: int) -> StoredFeatures:
        """Some of the rows."""
        return StoredFeatures(self.stored, self.dtype, self.scaler, self.start + start, self.start + stop)


def as_tensor(array: Tensor | np.ndarray) -> Tensor:
    """Without a copy where that is possible."""
    # torch refuses negative strides and warns of read-only memory (a memory map, an Arrow column): copy those.
    if isinstance(array, np.ndarray) and (not array.flags.writeable or min(array.strides, default=0) < 0):
        array = array.copy()
    return torch.as_tensor(array).detach()


def _give_back(part: np.ndarray) -> None:
    """Take the pages of a file that were read out of this process's memory: they stay in the system's cache."""
    # Of a mapping that may be written to, pages can hold what the file does not.
    if not isinstance(part, np.memmap) or part.mode != "r" or not hasattr(mmap, "MADV_DONTNEED"):
        return
    mapping = part.base if isinstance(part.base, mmap.mmap) else part._mmap
    begin = np.frombuffer(mapping, dtype=np.uint8).ctypes.data
    low, high = np.lib.array_utils.byte_bounds(part)
    low = (low - begin) // mmap.PAGESIZE * mmap.PAGESIZE
    mapping.madvise(mmap.MADV_DONTNEED, low, high - begin - low)
