"""Rows divided among processes: each holds the features of some, and does the work for them."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from hf_otw.types import Shard


class ProcessShard:
    """An equal share of the rows for each process of `torch.distributed`, in order; the last ones may have fewer.

    Args:
        num_rows: `n`.
        rank: of this process.
        num_processes: `W`.
    """

    def __init__(self, num_rows: int, rank: int, num_processes: int) -> None:
        self.num_rows, self.rank, self.num_processes = num_rows, rank, num_processes
        self.share = -(-num_rows // num_processes)
        self.start, self.stop = self.bounds(rank)

    def bounds(self, rank: int) -> tuple[int, int]:
        """First position of a process's rows, and the one after its last."""
        return min(rank * self.share, self.num_rows), min((rank + 1) * self.share, self.num_rows)

    def sum(self, part: Tensor) -> Tensor:
        """One all-reduce."""
        total = part.clone()
        dist.all_reduce(total)
        return total

    def amax(self, part: Tensor) -> Tensor:
        """One all-reduce."""
        largest = part.clone()
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        return largest

    def logsumexp(self, part: Tensor) -> Tensor:
        """Two all-reduces, of the largest term and of the rest, so that nothing underflows."""
        top = self.amax(part)
        top = torch.where(top.isfinite(), top, 0)  # a column that no row reaches stays at -inf
        return top + self.sum((part - top).exp()).log()

    def gather(self, part: Tensor) -> Tensor:
        """One all-gather, of shares padded to equal length."""
        padded = part.new_zeros(self.share, *part.shape[1:])
        padded[: len(part)] = part
        parts = [torch.empty_like(padded) for _ in range(self.num_processes)]
        dist.all_gather(parts, padded)
        return torch.cat(parts)[: self.num_rows]

    def collect(self, part: Tensor) -> Tensor:
        """A broadcast from each process in turn."""
        parts = [part.new_empty(0, *part.shape[1:]).cpu()]
        for rank in range(self.num_processes):
            start, stop = self.bounds(rank)
            sent = part.contiguous() if rank == self.rank else part.new_empty(stop - start, *part.shape[1:])
            dist.broadcast(sent, src=rank)
            if self.rank == 0:
                parts.append(sent.cpu())
        return torch.cat(parts)


def shard_of(num_rows: int, rank: int, num_processes: int) -> Shard | None:
    """The rows of a process, or None where there is one process."""
    return ProcessShard(num_rows, rank, num_processes) if num_processes > 1 else None
