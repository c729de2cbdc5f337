"""Implicit weights: a small network from features to a logit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hf_otw.transport._check import check_reg, check_steps
from hf_otw.transport.objectives import DIVISIBLE, OBJECTIVES, Objective, ObjectiveGradient, entropy_objective
from hf_otw.types import Cost, Measure, Weights
from hf_otw.weighting.base import Facts, WeightModel
from hf_otw.weighting.models.mirror import GROW, SHRINK

#: A step must gain this share of what its slope promises.
ARMIJO = 0.25


class WeightNet(WeightModel):
    """`w = softmax over the given rows of v^T tanh(W z + c)` (arXiv 2208.02951, eq. 6, "implicit").

    The number of parameters does not grow with the training set, and rows never seen get a weight too. Optimised by
    gradient descent on the objective, with backtracking; its parameters and the step length are all its state.

    Args:
        feature_dim: `D`.
        hidden_dim: width of the hidden layer.
        objective: `hf_otw.transport.OBJECTIVES` or a function of that call.
        reg: entropic strength, in units of the cost.
        steps: gradient steps a call.
        lr: first step length tried; the gradient is in units of the cost.
        seed: of the initial parameters. The global random state is not touched.
    """

    lr: Tensor

    def __init__(
        self,
        feature_dim: int,
        *,
        hidden_dim: int = 64,
        objective: Objective = entropy_objective,
        reg: float = 0.1,
        steps: int = 20,
        lr: float = 0.5,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_reg(reg)
        check_steps(steps)
        self.objective, self.reg, self.steps = objective, reg, steps
        self.divisible = objective in DIVISIBLE
        self.register_buffer("lr", torch.tensor(lr, dtype=torch.float64))
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(hidden_dim, feature_dim, generator=generator) / feature_dim**0.5)
        self.bias = nn.Parameter(torch.zeros(hidden_dim))
        self.out = nn.Parameter(torch.randn(hidden_dim, generator=generator) / hidden_dim**0.5)

    @classmethod
    def from_facts(cls, facts: Facts, *, objective: str = "entropy", **kwargs: Any) -> WeightModel:
        """For features of the model's width, with an objective by name."""
        return cls(facts.feature_dim, objective=OBJECTIVES[objective], seed=facts.seed, **kwargs)

    def logits(self, features: Tensor) -> Tensor:
        """`(n, D) -> (n,)`."""
        return torch.tanh(features.to(self.weight.dtype) @ self.weight.T + self.bias) @ self.out

    def forward(self, index: Tensor, source: Measure, target: Measure, cost: Cost) -> Weights:
        at, gradients = self._evaluate(source, target, cost, None)
        for _ in range(self.steps):
            lr, slope = self.lr.item(), sum(g.square().sum() for g in gradients)
            self._move(gradients, -lr)
            there, next_gradients = self._evaluate(source, target, cost, at.potential_b)
            if there.value.item() <= (at.value - ARMIJO * lr * slope).item():
                at, gradients = there, next_gradients
                self.lr.mul_(GROW)
            else:
                self._move(gradients, lr)  # back
                self.lr.mul_(SHRINK)
        with torch.no_grad():
            weights = _gathered(source, self.logits(source.features)).softmax(dim=0).to(source.mass.dtype) * len(index)
        return Weights(weights, at.value, at.converged.to(weights.dtype), at.marginal_error)

    def _evaluate(
        self, source: Measure, target: Measure, cost: Cost, start: Tensor | None
    ) -> tuple[ObjectiveGradient, tuple[Tensor, ...]]:
        """The objective at the present parameters, and its gradient in each of them."""
        with torch.enable_grad():
            own = self.logits(source.features)  # of this process's rows
        w = _gathered(source, own.detach()).softmax(dim=0)
        mass = w.to(source.mass.dtype)
        at = self.objective(source._replace(mass=mass / mass.sum()), target, cost, self.reg, start)
        # Through the softmax by hand, whose sum runs over the rows of all processes.
        grad = at.grad_a.to(w)
        grad = w * (grad - (w * grad).sum())
        shard = source.shard
        part = grad if shard is None else grad[shard.start : shard.stop]
        gradients = torch.autograd.grad(own, list(self.parameters()), grad_outputs=part)
        return at, gradients if shard is None else tuple(shard.sum(g) for g in gradients)

    @torch.no_grad()
    def _move(self, gradients: tuple[Tensor, ...], by: float) -> None:
        for parameter, gradient in zip(self.parameters(), gradients, strict=True):
            parameter.add_(by * gradient)


def _gathered(source: Measure, own: Tensor) -> Tensor:
    """From this process's rows to all, `(n,)`."""
    return own if source.shard is None else source.shard.gather(own)
