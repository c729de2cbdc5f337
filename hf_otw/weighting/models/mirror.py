"""Mirror descent on the simplex, with the step length found by backtracking."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hf_otw.transport.objectives import ObjectiveGradient

#: `(w (n,) on the simplex, potential_b (m,) to start from) -> objective and gradient at w`.
Evaluate = Callable[[Tensor, "Tensor | None"], ObjectiveGradient]

SHRINK, GROW = 0.5, 1.5


def mirror_descent(
    evaluate: Evaluate, logits: Tensor, *, lr: float, max_lr: float, steps: int
) -> tuple[Tensor, ObjectiveGradient, float]:
    """Lower an objective of `w = softmax(logits)` by `steps` steps `logits -= lr * grad`; never raise it.

    No fixed length works: transport's potentials jump by the whole cost gap when a class has a little more mass than
    its columns, so that even at `entropy`'s natural length, `1 / reg`, weights swing from class to class for ever. A
    step is taken if the objective lies below its model (Bregman sufficient decrease,
    https://epubs.siam.org/doi/10.1137/16M1099546), and tried again at half the length if not.

    Args:
        evaluate: the objective.
        logits: `(n,)`.
        lr: first length tried, in units of 1 / cost.
        max_lr: longest length.
        steps: evaluations after the first, taken back or not.

    Returns:
        The new logits `(n,)`, the objective there, and the length to go on with.
    """
    at = evaluate(logits.softmax(dim=0), None)
    for _ in range(steps):
        trial = logits - lr * at.grad_a
        log_old, log_new = logits.log_softmax(dim=0), trial.log_softmax(dim=0)
        old, new = log_old.exp(), log_new.exp()
        there = evaluate(new, at.potential_b)
        # f(new) <= f(old) + <grad, new - old> + KL(new given old) / lr, up to rounding
        model = at.value + (at.grad_a * (new - old)).sum() + (new * (log_new - log_old)).sum() / lr
        rounding = 8 * torch.finfo(new.dtype).eps * (1 + at.value.abs())
        if there.value.item() <= (model + rounding).item():
            logits, at, lr = trial, there, min(max_lr, GROW * lr)
        else:
            lr *= SHRINK
    return logits, at, lr
