"""Balanced problems on a CPU that are not large, in NumPy: calls cost a third of torch's, exponentials two thirds.

The iteration is that of `hf_otw.transport.sinkhorn` on the kernel `K = exp(-C / reg)`, in its classical form
(https://arxiv.org/abs/1306.0895, algorithm 1), `u = a / K v`, `v = b / K^T u`, `T = diag(u) K diag(v)`, over-relaxed
(https://arxiv.org/abs/1711.01851): each half step goes a fifth further. That leaves a fifth of the error where plain
passes leave up to 0.55 of it, and needs no history.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from hf_otw.transport._check import check_mass
from hf_otw.transport.blocks import CostBlocks
from hf_otw.transport.kernel import MAX_EXPONENT
from hf_otw.types import TransportResult

#: Numbers of a cost matrix up to which it stays in a processor's cache, and whole on each process that shares rows.
MOST_NUMBERS = 2**22
#: Passes before this gives up: so slow a problem is worth Anderson's acceleration.
MOST_PASSES = 30
#: How much further a half step goes, and the share of the error that a pass then leaves.
FURTHER, LOG_RATE = 0.2, math.log(0.2)


_CONVERGED = torch.tensor(True)


def solve_small(
    blocks: CostBlocks, a: Tensor, b: Tensor, *, reg: float, start: Tensor | None, tol: float, value_linear: bool
) -> TransportResult | None:
    """As `solve_sinkhorn` with fixed rows; None for a problem that it has to solve itself: one that is large, not on a
    CPU, that has rows or columns without mass, or needs logarithms or acceleration.
    """
    if len(a) * len(b) > MOST_NUMBERS or a.device.type != "cpu" or a.dtype not in MAX_EXPONENT:
        return None
    C, mass_a, mass_b = (x.detach().numpy() if x.requires_grad else x.numpy() for x in (_whole(blocks), a, b))
    if not C.dtype == mass_a.dtype == mass_b.dtype:
        return None
    least_a, least_b = float(np.minimum.reduce(mass_a)), float(np.minimum.reduce(mass_b))
    check_mass("a", float(np.add.reduce(mass_a)), least_a)
    check_mass("b", float(np.add.reduce(mass_b)), least_b)
    if least_a == 0 or least_b == 0 or not np.maximum.reduce(C, axis=None) <= MAX_EXPONENT[a.dtype] * reg:
        return None
    K = C * (-1 / reg)
    np.exp(K, out=K)
    v = mass_b if start is None else np.exp(start.numpy() / reg) * mass_b
    scaled = _balance(K, mass_a, mass_b, v, tol, warm=start is not None)
    if scaled is None:
        return None
    u, v, error, passes = scaled
    f, g = np.log(u / mass_a) * reg, np.log(v / mass_b) * reg
    level = mass_a.dot(f)  # potentials are defined up to a constant: of mean 0 over the rows
    numbers = np.empty(3, C.dtype)
    numbers[:] = level + mass_b.dot(g), u.dot((K * C).dot(v)) if value_linear else math.nan, error
    value, linear, marginal_error = torch.from_numpy(numbers).unbind()
    f, g = torch.from_numpy(f - level), torch.from_numpy(g + level)
    return TransportResult(value, linear, a, f, g, marginal_error, _CONVERGED, passes)


def _whole(blocks: CostBlocks) -> Tensor:
    """The cost matrix, `(n, m)`. Of rows divided among processes, each solves the whole: the answer must not depend on
    their number.
    """
    found = [C if blocks.fits else C.clone() for _, C in blocks]
    if len(found) == 1 and blocks.shard is None:
        return found[0]
    return blocks.gathered(torch.cat([blocks.source.mass.new_zeros(0, len(blocks.target.labels)), *found]))


def _balance(
    K: np.ndarray, a: np.ndarray, b: np.ndarray, v: np.ndarray, tol: float, *, warm: bool
) -> tuple[np.ndarray, np.ndarray, float, int] | None:
    """`u`, `v`, the columns' L1 error, and the passes it took; None if it takes too many."""
    error, passes, more_a, more_b = tol if warm else 1.0, 0, a * (1 + FURTHER), b * (1 + FURTHER)
    while passes < MOST_PASSES:
        # To look at the error costs as much as a pass: first as many as should be enough.
        relaxed = math.ceil(math.log(tol / error) / LOG_RATE) if error > tol else 0
        if relaxed:
            u = a / K.dot(v)
        for _ in range(relaxed):
            v = more_b / u.dot(K) - v * FURTHER
            u = more_a / K.dot(v) - u * FURTHER
        passes += relaxed + 1
        u = a / K.dot(v)
        s = u.dot(K)
        error = float(np.add.reduce(np.abs(s * v - b)))
        if error <= tol and np.minimum.reduce(v) > 0:
            return u, v, error, passes
        if not error <= 2:  # a start of another problem, or steps too far
            return None
        v = b / s
    return None
