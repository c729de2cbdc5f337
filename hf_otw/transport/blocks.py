"""The cost matrix in row blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hf_otw.types import Cost, Measure

if TYPE_CHECKING:
    pass


#: Rows of a block on a CPU, small enough for its caches, and on an accelerator, large enough to fill it.
BLOCK_ROWS, ACCELERATOR_ROWS = 2048, 65_536


CACHE_BYTES = 2**30


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
        """Complete a sum over this process's rows to the sum over all rows."""
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
