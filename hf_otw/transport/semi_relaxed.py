"""Semi-relaxed transport: the columns keep their mass, the rows are free. Closed form, exact, no iteration.

    minimise over T >= 0 with T^T 1 = b:    <T, C> + reg * KL(T given a x b)
    T_ij = b_j a_i exp(-C_ij / reg) / sum_i' a_i' exp(-C_i'j / reg)

With a uniform prior `a` this is the `entropy` objective `<T, C> - reg * H(T)` up to a constant, and `T 1` is its exact
minimiser over the row masses.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hf_otw._utils import required
from hf_otw.transport._check import check_problem
from hf_otw.transport.blocks import CostBlocks
from hf_otw.transport.kernel import Kernel
from hf_otw.types import TransportResult


@torch.no_grad()
def solve_semi_relaxed(
    blocks: CostBlocks, a: Tensor, b: Tensor, *, reg: float, value_linear: bool = True
) -> TransportResult:
    """Solve in two passes over the kernel; memory is that of one block, and of the kernel where that is kept.

    Args:
        blocks: cost matrix `(n, m)` in row blocks.
        a: prior over the rows, `(n,)`, sums to 1.
        b: mass of the columns, `(m,)`, sums to 1.
        reg: entropic strength, in units of the cost.
        value_linear: compute `<T, C>`, a pass over the costs; NaN without.

    Raises:
        ValueError: `reg <= 0`, or masses that are negative or do not sum to 1.
    """
    check_problem(a, b, reg)
    kernel = Kernel(blocks, reg)
    log_norm = column_norms(kernel, a, b)
    h = b.log() - log_norm
    potential_b = -reg * log_norm  # (m,): T_ij = a_i b_j exp((g_j - C_ij) / reg)
    marginal_a = torch.empty_like(a)
    for rows, K, log_scale, C in kernel:
        if K is None:
            C = required(C, "the costs of a block without a kernel")
            marginal_a[rows] = a[rows] * torch.sub(h, C, alpha=1 / reg).logsumexp(dim=1).exp()
        else:
            marginal_a[rows] = a[rows] * torch.mv(K, (h + log_scale).exp())  # (rows, m) @ (m,)
    marginal_a = blocks.all_rows(torch.where(a > 0, marginal_a, 0))
    linear = plan_cost(blocks, a, h, reg) if value_linear else a.new_full((), torch.nan)
    exact = a.new_zeros(())
    return TransportResult(
        (b * potential_b).sum(), linear, marginal_a, torch.zeros_like(a), potential_b, exact, exact == 0, 1
    )


def column_norms(kernel: Kernel, a: Tensor, b: Tensor) -> Tensor:
    """`log sum_i a_i exp(-C_ij / reg)`, shape `(m,)`."""
    log_norm = torch.full_like(b, -torch.inf)  # (m,)
    for rows, K, log_scale, C in kernel:
        if K is None:
            C = required(C, "the costs of a block without a kernel")
            part = torch.sub(a[rows].log()[:, None], C, alpha=1 / kernel.reg).logsumexp(dim=0)
        else:
            part = torch.mv(K.T, a[rows]).log_().add_(log_scale)  # (m, rows) @ (rows,)
        log_norm = torch.logaddexp(log_norm, part)
    return kernel.blocks.logsumexp(log_norm)


def plan_cost(blocks: CostBlocks, a: Tensor, h: Tensor, reg: float) -> Tensor:
    """`<T, C>` of the plan `T_ij = a_i exp(h_j - C_ij / reg)`, shape `()`."""
    total, log_a = a.new_zeros(()), a.log()
    for rows, C in blocks:
        plan = torch.sub(h, C, alpha=1 / reg).add_(log_a[rows, None]).exp_()  # (rows, m)
        total = total + (plan * C).sum()
    return blocks.sum(total)
