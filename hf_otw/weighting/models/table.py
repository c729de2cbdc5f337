"""Explicit weights: one logit a training example."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hf_otw.transport._check import check_reg, check_steps
from hf_otw.transport.objectives import DIVISIBLE, OBJECTIVES, Objective, ObjectiveGradient, entropy_objective
from hf_otw.types import Cost, Measure, Weights
from hf_otw.weighting.base import Facts, WeightModel
from hf_otw.weighting.models.baselines import EffectiveNumber
from hf_otw.weighting.models.mirror import mirror_descent


class Table(WeightModel):
    """A logit per training example, moved by gradient steps on an objective (arXiv 2208.02951, eq. 5, "explicit").

    The given rows' `w = softmax(logits[index])` are the source masses. Rows are found by `index`, so the table also
    works per batch.

    Args:
        num_examples: `N`, rows of the training set.
        objective: `hf_otw.transport.OBJECTIVES` or a function of that call.
        reg: entropic strength, in units of the cost.
        steps: gradient steps a call.
        update: how a logit answers to the gradient, at a length of your choice. By default mirror descent whose step
            length is found by backtracking and remembered (`hf_otw.weighting.models.mirror`).
        init: `(N,)` initial logits; 0 by default.
        raw: multiply the loss by the logits themselves, clamped at 0, as the paper's code does, and not by their
            softmax. The mean is then what `init` made it.
    """

    lr: Tensor
    logits: Tensor

    def __init__(
        self,
        num_examples: int,
        *,
        objective: Objective = entropy_objective,
        reg: float = 0.1,
        steps: int = 20,
        update: LogitUpdate | None = None,
        init: Tensor | None = None,
        raw: bool = False,
    ) -> None:
        super().__init__()
        check_reg(reg)
        check_steps(steps)
        self.objective, self.reg, self.steps, self.raw = objective, reg, steps, raw
        self.update = update
        self.divisible = self.streams = objective in DIVISIBLE
        self.register_buffer("lr", torch.tensor(1 / reg, dtype=torch.float64))
        logits = torch.zeros(num_examples) if init is None else init.clone()
        self.register_buffer("logits", logits)  # (N,)

    @classmethod
    def from_facts(
        cls,
        facts: Facts,
        *,
        objective: str = "entropy",
        lr: float | None = None,
        raw: bool = False,
        **kwargs: Any,
    ) -> WeightModel:
        """A logit for each row, with an objective by name and the update that suits it."""
        num_examples = len(facts.labels)
        kwargs["objective"] = OBJECTIVES[objective]
        if raw:
            init = EffectiveNumber(facts.class_counts).class_weight[facts.labels].float()
            update = SoftmaxSGDStep() if lr is None else SoftmaxSGDStep(lr=lr)
            return cls(num_examples, update=update, init=init, raw=True, **kwargs)
        return cls(num_examples, update=None if lr is None else MirrorStep(lr), **kwargs)

    @torch.no_grad()
    def forward(self, index: Tensor, source: Measure, target: Measure, cost: Cost) -> Weights:
        def evaluate(w: Tensor, start: Tensor | None) -> ObjectiveGradient:
            return self.objective(source._replace(mass=w), target, cost, self.reg, start)

        logits = self.logits[index].to(source.mass.dtype)
        if self.update is None:
            logits, at, lr = mirror_descent(evaluate, logits, lr=self.lr.item(), max_lr=1 / self.reg, steps=self.steps)
            self.lr.fill_(lr)
        else:
            start = None
            for _ in range(self.steps):
                w = logits.softmax(dim=0)
                at = evaluate(w, start)
                logits, start = self.update(logits, w, at.grad_a), at.potential_b
        self.logits[index] = logits.to(self.logits.dtype)
        weights = logits.clamp_min(0) if self.raw else logits.softmax(dim=0) * len(index)
        return Weights(weights, at.value, at.converged.to(weights.dtype), at.marginal_error)


#: `(logits (n,), w (n,) on the simplex, grad_a (n,)) -> new logits (n,)`.
LogitUpdate = Callable[[Tensor, Tensor, Tensor], Tensor]


class MirrorStep:
    """Exponentiated gradient: `logits -= lr * grad`.

    The natural geometry of the simplex, at a fixed length. Where classes are well apart `1 / reg` is too long even for
    `entropy`: `Table` finds a length by itself unless it is given this one.

    Args:
        lr: in units of 1 / cost.
    """

    def __init__(self, lr: float) -> None:
        self.lr = lr

    def __call__(self, logits: Tensor, w: Tensor, grad: Tensor) -> Tensor:
        return logits - self.lr * grad


class SoftmaxSGDStep:
    """Plain gradient descent on the logits of `w = softmax(logits)`, the paper's.

        logits -= lr * (w * (grad - <w, grad>) + decay * logits)

    The factor `w`, about `1 / n`, makes it slow: closing the gap between two classes takes 10^5 steps at the paper's
    `lr`.

    Args:
        lr: learning rate.
        weight_decay: pulls the logits to 0.
    """

    def __init__(self, lr: float = 0.01, weight_decay: float = 5e-4) -> None:
        self.lr, self.weight_decay = lr, weight_decay

    def __call__(self, logits: Tensor, w: Tensor, grad: Tensor) -> Tensor:
        return logits - self.lr * (w * (grad - (w * grad).sum()) + self.weight_decay * logits)
