"""Entropic transport with fixed columns and any row marginal, by a fused Sinkhorn iteration.

    minimise over T >= 0 with T^T 1 = b:    <T, C> + reg * KL(T given a x b) + (what `rows` charges for T 1)
    T_ij = mass_i * softmax_j(h_j - C_ij / reg)

One iteration is one pass over `C` (Sinkhorn's two half steps fused, https://arxiv.org/abs/1306.0895, algorithm 1):

    r_i = log sum_j exp(h_j - C_ij / reg)        how well row i fits
    s   = mass(r) @ softmax_rows(h - C / reg)    where the columns' mass stands now
    h  += log b - log s                          move it to b, accelerated (`hf_otw.transport.anderson`)

The state is the `m` numbers `h`; keep them for a warm start. No small constant is added inside a logarithm: it would
make the potentials drift, and a tight tolerance would never be met.

Own code, not GeomLoss: one weight gradient takes a tenth of the time or less, at a smaller error
(`python -m benchmarks.solvers`), and GeomLoss has neither row marginals per strategy, a warm start, nor row blocks.
`hf_otw.transport.geomloss` is the oracle in the tests.

Differentiation: `potential_a` is the gradient of `value` in `a` for `FixedRows`, up to a constant, and only at
convergence (envelope theorem). No gradient flows through the iterations.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hf_otw.costs import CostBlocks, label_agreement
from hf_otw.transport._check import check_problem
from hf_otw.transport.anderson import Anderson
from hf_otw.transport.rows import FixedRows, RowMarginal
from hf_otw.types import TransportResult


@torch.no_grad()
def solve_sinkhorn(
    blocks: CostBlocks,
    a: Tensor,
    b: Tensor,
    *,
    reg: float,
    rows: RowMarginal | None = None,
    start: Tensor | None = None,
    tol: float = 1e-3,
    max_iter: int = 200,
) -> TransportResult:
    """Solve to a column-marginal L1 error of `tol`.

    Args:
        blocks: cost matrix `(n, m)` in row blocks.
        a: mass (or prior mass) of the rows, `(n,)`, sums to 1.
        b: mass of the columns, `(m,)`, sums to 1.
        reg: entropic strength, in units of the cost.
        rows: what rows may do with their mass; fixed by default.
        start: `potential_b` of an earlier, similar problem, `(m,)`: warm start. One that is far off is not used.
        tol: `converged` means that the columns' masses differ from `b` by at most this much in L1 norm.
        max_iter: at most so many passes over `C`.

    Returns:
        `TransportResult`; `value` is `<T, C> + reg * KL(T given a x b)`, without what `rows` charges.

    Raises:
        ValueError: `reg <= 0`, or masses that are negative or do not sum to 1.
    """
    check_problem(a, b, reg)
    rows = rows or FixedRows()
    log_b, used = b.log(), b > 0  # a column without mass takes none: its h is -inf
    h = _column_start(blocks, a, log_b, reg) if start is None else start / reg + log_b
    accelerated = Anderson(b)
    tiny = torch.finfo(a.dtype).tiny
    for iterations in range(1, max(max_iter, 1) + 1):
        s, _, _ = _pass(blocks, a, h, reg, rows)
        error = (s - b).abs().sum()
        if error.item() <= tol or iterations == max_iter:
            break
        if iterations == 1 and start is not None and not error <= 1:
            # The start is of another problem: masses may overflow or vanish from there.
            h = _column_start(blocks, a, log_b, reg)
            continue
        residual = torch.where(used, log_b - s.clamp_min(tiny).log(), 0)  # (m,)
        h = torch.where(used, accelerated(torch.where(used, h, 0), residual), -torch.inf)

    _, marginal_a, (fit, value_linear) = _pass(blocks, a, h, reg, rows, last=True)
    potential_b = torch.where(used, reg * (h - log_b), 0)
    potential_a = reg * (rows.log_mass(fit, reg) - fit)
    # b, not s: the dual value, whose error is of second order in that of the potentials.
    value = (marginal_a * potential_a).sum() + (b * potential_b).sum()
    return TransportResult(value, value_linear, marginal_a, potential_a, potential_b, error, error <= tol, iterations)


@torch.no_grad()
def own_class_mass(blocks: CostBlocks, result: TransportResult, b: Tensor, *, reg: float) -> Tensor:
    """The part of each row's mass that the plan ships to columns of the row's own class, shape `(n,)`."""
    h = result.potential_b / reg + b.log()
    out = torch.empty_like(result.marginal_a)
    for rows, C in blocks:
        plan = torch.sub(h, C, alpha=1 / reg).softmax(dim=1)  # (rows, m), rows sum to 1
        own = label_agreement(blocks.source.rows(rows), blocks.target)  # (rows, m)
        out[rows] = result.marginal_a[rows] * (plan * own).sum(dim=1)
    return blocks.all_rows(out)


def _column_start(blocks: CostBlocks, a: Tensor, log_b: Tensor, reg: float) -> Tensor:
    """The closed-form `h` of free rows: no column starts so far from every row that its mass underflows."""
    log_norm = torch.full_like(log_b, -torch.inf)
    log_a = a.log()
    for rows, C in blocks:
        log_norm = torch.logaddexp(log_norm, torch.sub(log_a[rows, None], C, alpha=1 / reg).logsumexp(dim=0))
    return log_b - blocks.logsumexp(log_norm)


def _pass(
    blocks: CostBlocks, a: Tensor, h: Tensor, reg: float, row_marginal: RowMarginal, *, last: bool = False
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """One pass over `C`: column masses `s` `(m,)`, row masses `(n,)`, and (`fit` `(n,)`, `<T, C>` if it is the
    `last`). Between processes only `s` is exchanged, and in the last pass the other three.
    """
    s, mass, fit = torch.zeros_like(h), torch.empty_like(a), torch.empty_like(a)
    value_linear = a.new_zeros(())
    for rows, C in blocks:
        log_p = torch.sub(h, C, alpha=1 / reg)  # (m,) - (rows, m)
        top = log_p.amax(dim=1, keepdim=True)
        p = log_p.sub_(top).exp_()
        z = p.sum(dim=1)
        r = top.squeeze(1) + z.log()
        block_mass = a[rows] * row_marginal.log_mass(r, reg).exp()
        block_mass = torch.where(a[rows] > 0, block_mass, 0)  # a row without mass fits as it likes, to infinity
        s += (block_mass / z) @ p  # (rows,) @ (rows, m) = (m,)
        mass[rows], fit[rows] = block_mass, r
        if last:
            value_linear = value_linear + ((block_mass / z) * (p * C).sum(dim=1)).sum()
    if last:
        mass, fit, value_linear = blocks.all_rows(mass), blocks.all_rows(fit), blocks.sum(value_linear)
    return blocks.sum(s), mass, (fit, value_linear)
