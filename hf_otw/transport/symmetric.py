"""Entropic transport of a measure to itself: the term that a Sinkhorn divergence subtracts.

    minimise over T >= 0 with T 1 = T^T 1 = a:    <T, C> + reg * KL(T given a x a),    C symmetric
    T_ij = a_i a_j exp((f_i + f_j - C_ij) / reg)

By symmetry there is one potential, and averaging it with its update converges in a few passes whatever `reg`
(http://arxiv.org/abs/1810.08278, eq. 25):    f <- (f - reg * log sum_j a_j exp((f_j - C_ij) / reg)) / 2
"""

from __future__ import annotations

import torch
from torch import Tensor

from hf_otw.transport._check import check_problem
from hf_otw.transport.blocks import CostBlocks
from hf_otw.types import TransportResult


@torch.no_grad()
def solve_symmetric(
    blocks: CostBlocks, a: Tensor, *, reg: float, tol: float = 1e-3, max_iter: int = 200
) -> TransportResult:
    """Solve to a marginal L1 error of `tol`.

    Args:
        blocks: symmetric cost matrix `(n, n)` in row blocks.
        a: mass of the rows and of the columns, `(n,)`, sums to 1.
        reg: entropic strength, in units of the cost.
        tol: `converged` means that the plan's masses differ from `a` by at most this much in L1 norm.
        max_iter: at most so many passes over `C`.

    Raises:
        ValueError: `reg <= 0`, or masses that are negative or do not sum to 1.
    """
    check_problem(a, a, reg)
    log_a = a.log()
    f = torch.zeros_like(a)
    for iterations in range(1, max(max_iter, 1) + 1):
        update = _soft_minimum(blocks, f, log_a, reg)
        error = (a * (((f - update) / reg).exp() - 1)).abs().sum()
        # The plan returned is that of (update, f), whose error is at most twice this one.
        if error.item() <= tol / 2 or iterations == max_iter:
            break
        f = (f + update) / 2

    # `update` is right for rows of tiny mass too, which `error` does not see.
    column_mass = a * ((f - _soft_minimum(blocks, update, log_a, reg)) / reg).exp()
    error = (column_mass - a).abs().sum()
    value_linear = a.new_zeros(())
    for rows, C in blocks:
        plan = (
            torch.sub(f / reg + log_a, C, alpha=1 / reg).add_((update / reg + log_a)[rows, None]).exp_()
        )  # (rows, n)
        value_linear = value_linear + (plan * C).sum()
    value = (a * update).sum() + (a * f).sum()  # dual: its error is of second order
    return TransportResult(value, value_linear, a, update, f, error, error <= tol, iterations)


def _soft_minimum(blocks: CostBlocks, f: Tensor, log_a: Tensor, reg: float) -> Tensor:
    """`-reg * log sum_j a_j exp((f_j - C_ij) / reg)`, shape `(n,)`."""
    h, out = f / reg + log_a, torch.empty_like(f)  # (n,)
    for rows, C in blocks:
        out[rows] = -reg * torch.sub(h, C, alpha=1 / reg).logsumexp(dim=1)  # (n,) - (rows, n)
    return out
