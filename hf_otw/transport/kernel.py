"""The kernel `exp(-C / reg)` in row blocks: exponentials once a solve, and two matrix-vector products a pass.

    K_ij = exp((low - C_ij) / reg),      low = the least cost of the block

Within a range of `MAX_EXPONENT` no entry underflows, and `K` serves every potential. A block whose costs range further
is `None` here: solvers then take logarithms, in every pass.

Kept, besides the cost matrix where that fits into memory itself: in the precision of the costs up to `KERNEL_BYTES`,
and beyond that rounded to bfloat16, as the feature memory is. All passes see the same rounded numbers, so what is
solved exactly is a problem whose costs differ by at most `reg / 256`. A larger kernel is computed in every pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from hf_otw.costs import CostBlocks

KERNEL_BYTES = 2**31
#: Of exp, before products of two numbers underflow: float32 ends at exp(-87), float64 at exp(-708).
MAX_EXPONENT = {torch.float32: 60.0, torch.float64: 600.0}
#: Numbers of a CPU's block: both products of a pass find it in the cache.
CACHED_NUMBERS = 2**18


class KernelBlock(NamedTuple):
    """Rows of the kernel.

    Shape:
        - K: `(rows, m)`, or None where costs range too far.
        - log_scale: `-low / reg`: the logarithm of what `K` is to be multiplied by.
        - C: `(rows, m)`, where `K` is None.
    """

    rows: slice
    K: Tensor | None
    log_scale: float
    C: Tensor | None


class Kernel:
    """Re-iterable blocks of the kernel of a cost matrix.

    Args:
        blocks: cost matrix `(n, m)` in row blocks. Keeps the kernel, for who asks again with the same `reg`.
        reg: entropic strength, in units of the cost.
    """

    def __init__(self, blocks: CostBlocks, reg: float) -> None:
        self.blocks, self.reg = blocks, reg
        dtype, m = blocks.dtype, len(blocks.target.labels)
        # By all rows, not by those of this process: the answer must not depend on the number of processes.
        numbers = len(blocks.source.labels) * m
        self.stored = torch.bfloat16 if numbers * dtype.itemsize > KERNEL_BYTES and dtype == torch.float32 else dtype
        self.fits = numbers * self.stored.itemsize <= KERNEL_BYTES
        self.limit = MAX_EXPONENT[dtype]
        if blocks.kernel is None or blocks.kernel[0] != reg:
            blocks.kernel = (reg, [])
        self._kept: list[KernelBlock] = blocks.kernel[1]
        self._complete = bool(self._kept)

    def __iter__(self) -> Iterator[KernelBlock]:
        if self._complete:
            for block in self._kept:
                K = None if block.K is None else block.K.to(self.blocks.dtype)
                yield block if K is block.K else block._replace(K=K)
            return
        made: list[KernelBlock] = []
        keep = self.fits
        for rows, C in self.blocks:
            for block in self._parts(rows, C):
                if self.stored != self.blocks.dtype and block.K is not None:
                    rounded = block.K.to(self.stored)
                    yield block._replace(K=block.K.copy_(rounded))
                    block = block._replace(K=rounded)
                else:
                    yield block
                # A block of logarithms keeps its costs with it: only where the cost matrix is kept anyway.
                keep = keep and (block.K is not None or self.blocks.fits)
                if keep:
                    made.append(block)
                else:
                    made.clear()
        if keep:
            self._kept[:] = made
            self._complete = True

    def _parts(self, rows: slice, C: Tensor) -> Iterator[KernelBlock]:
        low, high = (bound.item() for bound in C.aminmax())
        scale = -low / self.reg
        if not high - low <= self.limit * self.reg:
            yield KernelBlock(rows, None, scale, C)
            return
        step = max(1, CACHED_NUMBERS // C.shape[1]) if C.device.type == "cpu" else len(C)
        for start in range(0, len(C), step):
            part = C[start : start + step]
            K = torch.sub(part, low).mul_(-1 / self.reg).exp_()
            yield KernelBlock(slice(rows.start + start, rows.start + start + len(part)), K, scale, None)
