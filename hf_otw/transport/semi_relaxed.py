"""Semi-relaxed transport: the columns keep their mass, the rows are free. Closed form, exact, no iteration.

    minimise over T >= 0 with T^T 1 = b:    <T, C> + reg * KL(T given a x b)
    T_ij = b_j a_i exp(-C_ij / reg) / sum_i' a_i' exp(-C_i'j / reg)

With a uniform prior `a` this is the `entropy` objective `<T, C> - reg * H(T)` up to a constant, and `T 1` is its exact
minimiser over the row masses.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hf_otw.costs import CostBlocks
from hf_otw.transport._check import check_problem
from hf_otw.types import TransportResult


@torch.no_grad()
def solve_semi_relaxed(blocks: CostBlocks, a: Tensor, b: Tensor, *, reg: float) -> TransportResult:
    """Solve in two passes over `C`; memory is that of one block.

    Args:
        blocks: cost matrix `(n, m)` in row blocks.
        a: prior over the rows, `(n,)`, sums to 1.
        b: mass of the columns, `(m,)`, sums to 1.
        reg: entropic strength, in units of the cost.

    Raises:
        ValueError: `reg <= 0`, or masses that are negative or do not sum to 1.
    """
    check_problem(a, b, reg)
    log_a, log_b = a.log(), b.log()
    log_norm = torch.full_like(b, -torch.inf)  # (m,)
    for rows, C in blocks:
        log_kernel = torch.sub(log_a[rows, None], C, alpha=1 / reg)  # (rows, 1) - (rows, m)
        log_norm = torch.logaddexp(log_norm, log_kernel.logsumexp(dim=0))
    log_norm = blocks.logsumexp(log_norm)

    potential_b = -reg * log_norm  # (m,): T_ij = a_i b_j exp((g_j - C_ij) / reg)
    h = log_b - log_norm
    marginal_a, value_linear = torch.empty_like(a), a.new_zeros(())
    for rows, C in blocks:
        plan = torch.sub(h, C, alpha=1 / reg).add_(log_a[rows, None]).exp_()  # (rows, m)
        marginal_a[rows] = plan.sum(dim=1)
        value_linear = value_linear + (plan * C).sum()
    marginal_a, value_linear = blocks.all_rows(marginal_a), blocks.sum(value_linear)
    value = (b * potential_b).sum()
    exact = a.new_zeros(())
    return TransportResult(value, value_linear, marginal_a, torch.zeros_like(a), potential_b, exact, exact == 0, 1)
