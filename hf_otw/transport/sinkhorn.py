"""Balanced entropic transport by a fused Sinkhorn iteration.

    minimise over T >= 0 with T 1 = a, T^T 1 = b:    <T, C> + reg * KL(T given a x b)
    T_ij = a_i * softmax_j(h_j - C_ij / reg)

One iteration is one pass over `C` (Sinkhorn's two half steps fused, https://arxiv.org/abs/1306.0895, algorithm 1):

    r_i = log sum_j exp(h_j - C_ij / reg)        how well row i fits
    s   = a @ softmax_rows(h - C / reg)          where the columns' mass stands now
    h  += log b - log s                          move it to b, accelerated (`hf_otw.transport.anderson`)

The state is the `m` numbers `h`; keep them for a warm start. No small constant is added inside a logarithm: it would
make the potentials drift, and a tight tolerance would never be met. Exponentials of the costs are taken once
(`hf_otw.transport.kernel`), where the costs' range allows it, and on a CPU, problems that are not large are solved in
NumPy (`hf_otw.transport.small`).

Own code, not GeomLoss: one weight gradient takes a tenth of the time or less, at a smaller error
(`make bench-solvers`), and GeomLoss has neither a warm start nor row blocks.
`hf_otw.transport.geomloss` is the oracle in the tests.

Differentiation: `potential_a` is the gradient of `value` in `a`, up to a constant, and only at convergence
(envelope theorem). No gradient flows through the iterations.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hf_otw._utils import required
from hf_otw.transport._check import check_problem, check_reg
from hf_otw.transport.anderson import Anderson
from hf_otw.transport.blocks import CostBlocks
from hf_otw.transport.kernel import Kernel
from hf_otw.transport.semi_relaxed import column_norms
from hf_otw.transport.small import MOST_PASSES, solve_small
from hf_otw.types import TransportResult

#: Share of the error that a plain pass may leave before the iteration is accelerated: 0.5 is a digit in three passes.
SLOW = 0.5
#: Numbers of a cost matrix from which on a pass costs more than an accelerated step.
ALWAYS_ACCELERATED = 2**22


def solve_sinkhorn(
    blocks: CostBlocks,
    a: Tensor,
    b: Tensor,
    *,
    reg: float,
    start: Tensor | None = None,
    tol: float = 1e-3,
    max_iter: int = 200,
    value_linear: bool = True,
) -> TransportResult:
    """Solve to a column-marginal L1 error of `tol`.

    Args:
        blocks: cost matrix `(n, m)` in row blocks.
        a: mass of the rows, `(n,)`, sums to 1.
        b: mass of the columns, `(m,)`, sums to 1.
        reg: entropic strength, in units of the cost.
        start: `potential_b` of an earlier, similar problem, `(m,)`: warm start. One that is far off is not used.
        tol: `converged` means that the columns' masses differ from `b` by at most this much in L1 norm.
        max_iter: at most so many passes over `C`.
        value_linear: compute `<T, C>`, a pass over the costs; NaN without.

    Returns:
        `TransportResult`; `value` is `<T, C> + reg * KL(T given a x b)`.

    Raises:
        ValueError: `reg <= 0`, or masses that are negative or do not sum to 1.
    """
    if max_iter >= MOST_PASSES:
        check_reg(reg)
        found = solve_small(blocks, a, b, reg=reg, start=start, tol=tol, value_linear=value_linear)
        if found is not None:
            return found
    check_problem(a, b, reg)
    return _solve(blocks, a, b, reg, start, tol, max_iter, value_linear)


@torch.no_grad()
def _solve(
    blocks: CostBlocks,
    a: Tensor,
    b: Tensor,
    reg: float,
    start: Tensor | None,
    tol: float,
    max_iter: int,
    value_linear: bool,
) -> TransportResult:
    kernel = Kernel(blocks, reg)
    log_b, used = b.log(), b > 0  # a column without mass takes none: its h is -inf
    h = log_b - column_norms(kernel, a, b) if start is None else start / reg + log_b
    step = _Acceleration(b, always=len(a) * len(b) >= ALWAYS_ACCELERATED)
    tiny = torch.finfo(a.dtype).tiny
    for iterations in range(1, max(max_iter, 1) + 1):
        s, fit = _pass(kernel, a, h)
        error = (s - b).abs().sum()
        size = error.item()
        if size <= tol or iterations == max_iter:
            break
        if iterations == 1 and start is not None and not size <= 1:
            # The start is of another problem: masses may overflow or vanish from there.
            h = log_b - column_norms(kernel, a, b)
            continue
        residual = torch.where(used, log_b - s.clamp_min(tiny).log(), 0)  # (m,)
        h = torch.where(used, step(torch.where(used, h, 0), residual, size), -torch.inf)

    fit = blocks.all_rows(fit)
    level = (a * fit).sum()  # potentials are defined up to a constant: of mean 0 over the rows
    h, fit = h - level, fit - level
    potential_b = torch.where(used, reg * (h - log_b), 0)
    potential_a = -reg * fit
    linear = _plan_cost(blocks, a, h, reg) if value_linear else a.new_full((), torch.nan)
    # b, not s: the dual value, whose error is of second order in that of the potentials.
    value = (a * potential_a).sum() + (b * potential_b).sum()
    return TransportResult(value, linear, a, potential_a, potential_b, error, error <= tol, iterations)


class _Acceleration:
    """Plain steps while they are fast, then Anderson's: on small problems one of these costs several passes."""

    def __init__(self, weight: Tensor, *, always: bool) -> None:
        self.accelerated, self.slow = Anderson(weight), always
        self.size = math.inf
        self.before: list[tuple[Tensor, Tensor]] = []

    def __call__(self, h: Tensor, residual: Tensor, size: float) -> Tensor:
        self.slow, self.size = self.slow or not size <= SLOW * self.size, size
        if not self.slow:
            self.before.append((h, residual))
            return h + residual
        for point in self.before:
            self.accelerated(*point)
        self.before.clear()
        return self.accelerated(h, residual)


def _pass(kernel: Kernel, a: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """One pass over the kernel: column masses `s` `(m,)`, of all processes, and fits `(n,)`, of this one's rows."""
    reg = kernel.reg
    s = torch.zeros_like(h)
    by_kernel = torch.zeros_like(h)
    fit = torch.empty_like(a)
    top = h.amax()
    v = (h - top).exp()  # (m,)
    for rows, K, log_scale, C in kernel:
        if K is None:
            C = required(C, "the costs of a block without a kernel")
            log_p = torch.sub(h, C, alpha=1 / reg)  # (m,) - (rows, m)
            largest = log_p.amax(dim=1, keepdim=True)
            p = log_p.sub_(largest).exp_()
            z, scale = p.sum(dim=1), largest.squeeze(1)
        else:
            p, z, scale = K, torch.mv(K, v), top + log_scale  # (rows, m) @ (m,)
        (s if K is None else by_kernel).add_(torch.mv(p.T, a[rows] / z))  # (m, rows) @ (rows,)
        fit[rows] = scale + z.log()
    return kernel.blocks.sum(s + by_kernel * v), fit


def _plan_cost(blocks: CostBlocks, mass: Tensor, h: Tensor, reg: float) -> Tensor:
    """`<T, C>` of the plan whose rows are `mass` times softmax, shape `()`."""
    total = mass.new_zeros(())
    for rows, C in blocks:
        share = torch.sub(h, C, alpha=1 / reg).softmax(dim=1)  # (rows, m)
        total = total + torch.mv(share.mul_(C).sum(dim=1)[None], mass[rows]).squeeze(0)
    return blocks.sum(total)
