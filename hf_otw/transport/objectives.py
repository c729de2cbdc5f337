"""Three objectives that "entropic transport" may mean once the row masses `w` are free, with their gradients in `w`.

With both marginals fixed they share one plan; as functions of `w` they do not, so the objective is always named:

| name | objective | gradient in w, up to a constant | its minimiser |
|---|---|---|---|
| `entropy` | `<T, C> - reg * H(T)` | `f + reg * log w` | `solve_semi_relaxed`, spread out |
| `kl` | `<T, C> + reg * KL(T given w x b)` | `f` | collapses to a few rows |
| `sharp` | `<T, C>` at the `kl` plan, as in the paper's code | implicit differentiation | collapses likewise |

`kl_geomloss` is the `kl` objective by GeomLoss, the field's reference: an order of magnitude or two slower.

Gradients are returned with mean zero: on the simplex a constant has no meaning. They hold at convergence only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from hf_otw.transport.blocks import CostBlocks
from hf_otw.transport.geomloss import solve_geomloss
from hf_otw.transport.sinkhorn import solve_sinkhorn
from hf_otw.types import Cost, Measure, TransportResult

MAX_ITER = 500


class ObjectiveGradient(NamedTuple):
    """An objective and its gradient at the row masses `w`.

    Shape:
        - value: `()`.
        - grad_a: `(n,)`, mean 0, in units of the cost.
        - potential_b: `(m,)`, to start the next, similar problem from.
        - marginal_error, converged: `()`, of the solver underneath.
    """

    value: Tensor
    grad_a: Tensor
    potential_b: Tensor
    marginal_error: Tensor
    converged: Tensor


#: `(source, target, cost, reg, start) -> ObjectiveGradient`, at the row masses `source.mass`.
Objective = Callable[[Measure, Measure, Cost, float, Tensor | None], ObjectiveGradient]


def entropy_objective(
    source: Measure, target: Measure, cost: Cost, reg: float, start: Tensor | None
) -> ObjectiveGradient:
    """`<T, C> - reg * H(T)`, `H(T) = -sum T log T`. Its minimiser over `w` is `solve_semi_relaxed` in closed form."""
    result = _solve(source, target, cost, reg, start)
    w, b = source.mass, target.mass
    # H(T) = H(w) + H(b) - KL(T given w x b)
    value = result.value + reg * (torch.xlogy(w, w).sum() + torch.xlogy(b, b).sum())
    return _gradient(result, value, result.potential_a + reg * w.clamp_min(torch.finfo(w.dtype).tiny).log())


def kl_objective(source: Measure, target: Measure, cost: Cost, reg: float, start: Tensor | None) -> ObjectiveGradient:
    """`<T, C> + reg * KL(T given w x b)`, by the fused Sinkhorn iteration."""
    result = _solve(source, target, cost, reg, start)
    return _gradient(result, result.value, result.potential_a)


def kl_geomloss_objective(
    source: Measure, target: Measure, cost: Cost, reg: float, start: Tensor | None
) -> ObjectiveGradient:
    """The `kl` objective by GeomLoss, which has no warm start (`start` does not change the result)."""
    result = solve_geomloss(cost(source, target), source.mass, target.mass, reg=reg)
    return _gradient(result, result.value, result.potential_a)


def sharp_objective(
    source: Measure, target: Measure, cost: Cost, reg: float, start: Tensor | None
) -> ObjectiveGradient:
    """`<T, C>` at the entropic plan, the objective of the paper's code, differentiated implicitly.

    With `T_ij = w_i P_ij`, perturbing the two marginal constraints gives a symmetric system in the potentials'
    derivatives; its Schur complement in the columns is `m x m`. One solve replaces back-propagation through the
    iterations, and it is exact.
    """
    w, b = source.mass, target.mass
    blocks = CostBlocks(cost, source, target)
    result = solve_sinkhorn(blocks, w, b, reg=reg, start=start, tol=_tol(w), max_iter=MAX_ITER)
    h = result.potential_b / reg + b.log()
    grad, rhs, schur = torch.empty_like(w), torch.zeros_like(b), b.new_zeros(len(b), len(b))
    for rows, C in blocks:
        P = torch.sub(h, C, alpha=1 / reg).softmax(dim=1)  # (rows, m), T = w P
        wP = w[rows, None] * P
        grad[rows] = (P * C).sum(dim=1)  # cost of each row, (rows,)
        rhs += (wP * (C - grad[rows, None])).sum(dim=0)  # (m,)
        schur += torch.diag(wP.sum(dim=0)) - P.T @ wP  # (m, m), singular along the constant vector
    # Where nothing crosses between columns it is rounding noise and underflow, which must not be inverted.
    inverse = torch.linalg.pinv(blocks.sum(schur).double(), atol=torch.finfo(w.dtype).eps, hermitian=True)
    y = (inverse @ blocks.sum(rhs).double()).to(w)
    for rows, C in blocks:
        grad[rows] -= torch.sub(h, C, alpha=1 / reg).softmax(dim=1) @ y
    return _gradient(result, result.value_linear, blocks.all_rows(grad))


#: Objectives that can be named in a configuration file.
OBJECTIVES: dict[str, Objective] = {
    "entropy": entropy_objective,
    "kl": kl_objective,
    "kl_geomloss": kl_geomloss_objective,
    "sharp": sharp_objective,
}

#: Those that a source divided among processes can have: GeomLoss wants the whole matrix.
DIVISIBLE = frozenset({entropy_objective, kl_objective, sharp_objective})


def _tol(mass: Tensor) -> float:
    # A gradient's error is that of the marginal times reg, over the mass that crosses between classes: often a
    # hundredfold. The last digits are cheap, acceleration gains one in two or three passes; 1e-5 is float32's limit.
    return 1e-5 if mass.dtype == torch.float32 else 1e-9


def _solve(source: Measure, target: Measure, cost: Cost, reg: float, start: Tensor | None) -> TransportResult:
    blocks = CostBlocks(cost, source, target)
    return solve_sinkhorn(
        blocks,
        source.mass,
        target.mass,
        reg=reg,
        start=start,
        tol=_tol(source.mass),
        max_iter=MAX_ITER,
        value_linear=False,
    )


def _gradient(result: TransportResult, value: Tensor, grad: Tensor) -> ObjectiveGradient:
    return ObjectiveGradient(value, grad - grad.mean(), result.potential_b, result.marginal_error, result.converged)
