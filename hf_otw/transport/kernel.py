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

from hf_otw.transport.blocks import CostBlocks

KERNEL_BYTES = 2**31
#: Of exp, before products of two numbers underflow: float32 ends at exp(-87), float64 at exp(-708).
MAX_EXPONENT = {torch.float32: 60.0, torch.float64: 600.0}
#: Numbers of a CPU's block: both products of a pass find it in the cache.
CACHED_NUMBERS = 2**18


class KernelBlock(NamedTuple):
    """Rows of the kernel, to be used before the next block is asked for.

    Shape:
        - K: `(rows, m)`, or None where costs range too far.
        - log_scale: `-low / reg`: the logarithm of what `K` is to be multiplied by.
        - C: `(rows, m)`, where `K` is None.
    """

    rows: slice
    K: Tensor | None
    log_scale: float
    C: Tensor | None


class KeptKernel(NamedTuple):
    """Kernel that one pass keeps for the next.

    Shape:
        - K: `(o, m)`, rows of this process; where `blocks` have a `K`, these are its rows.
        - blocks: as above, `K` being there or not.
    """

    reg: float
    K: Tensor
    blocks: list[KernelBlock]


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
        self._work: Tensor | None = None
        if blocks.kernel is not None and blocks.kernel.reg != reg:
            blocks.kernel = None

    def __iter__(self) -> Iterator[KernelBlock]:
        return self._first_pass() if self.blocks.kernel is None else self._next_pass(self.blocks.kernel)

    def _first_pass(self) -> Iterator[KernelBlock]:
        start, count, m = self.blocks.start, self.blocks.stop - self.blocks.start, len(self.blocks.target.labels)
        # Allocated in one piece before the temporary blocks, which would fragment the memory otherwise.
        K = torch.empty(count if self.fits else 0, m, dtype=self.stored, device=self.blocks.device)
        kept: list[KernelBlock] = []
        complete = self.fits
        for rows, C in self.blocks:
            for part, low, usable in self._parts(rows, C):
                scale, costs = -low / self.reg, C[part.start - rows.start : part.stop - rows.start]
                if not usable:
                    # It keeps its costs with it: only where the cost matrix is kept anyway.
                    complete = complete and self.blocks.fits
                    block = KernelBlock(part, None, scale, costs)
                    kept.append(block)  # of no use unless complete
                    yield block
                    continue
                store = K[part.start - start : part.stop - start] if self.fits else None
                work = self._working(costs) if store is None or self.stored != self.blocks.dtype else store
                torch.sub(costs.new_tensor(low / self.reg), costs, alpha=1 / self.reg, out=work).exp_()
                if store is not None and work is not store:
                    work.copy_(store.copy_(work))  # this pass sees what the next will see
                kept.append(KernelBlock(part, None, scale, None))
                yield KernelBlock(part, work, scale, None)
        if complete:
            self.blocks.kernel = KeptKernel(self.reg, K, kept)

    def _next_pass(self, kept: KeptKernel) -> Iterator[KernelBlock]:
        start = self.blocks.start
        for block in kept.blocks:
            if block.C is not None:
                yield block
                continue
            K = kept.K[block.rows.start - start : block.rows.stop - start]
            yield block._replace(K=K if K.dtype == self.blocks.dtype else self._working(K).copy_(K))

    def _parts(self, rows: slice, C: Tensor) -> Iterator[tuple[slice, float, bool]]:
        """Rows, their least cost, and whether exponentials serve."""
        low, high = (bound.item() for bound in C.aminmax())
        if not high - low <= self.limit * self.reg:
            yield rows, low, False
            return
        step = max(1, CACHED_NUMBERS // C.shape[1]) if C.device.type == "cpu" else len(C)
        for start in range(rows.start, rows.stop, step):
            yield slice(start, min(start + step, rows.stop)), low, True

    def _working(self, like: Tensor) -> Tensor:
        """Memory for a block, the same for all: fresh memory costs more than the exponentials."""
        if self._work is None or len(self._work) < len(like):
            self._work = torch.empty(like.shape, dtype=self.blocks.dtype, device=like.device)
        return self._work[: len(like)]
