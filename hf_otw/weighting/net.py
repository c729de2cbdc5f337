"""Implicit weights: a small network from features to a logit."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hf_otw.transport._check import check_reg, check_steps
from hf_otw.transport.objectives import Objective, entropy_objective
from hf_otw.types import Cost, Measure, Weights
from hf_otw.weighting.base import WeightModel


class WeightNet(WeightModel):
    """`w = softmax over the given rows of v^T tanh(W z + c)` (arXiv 2208.02951, eq. 6, "implicit").

    The number of parameters does not grow with the training set, and rows never seen get a weight too. Optimised by
    gradient descent on the objective, without momentum, so that its parameters are all its state.

    Args:
        feature_dim: `D`.
        hidden_dim: width of the hidden layer.
        objective: `hf_otw.transport.OBJECTIVES` or a function of that call.
        reg: entropic strength, in units of the cost.
        steps: gradient steps a call.
        lr: learning rate; the gradient is in units of the cost.
        seed: of the initial parameters. The global random state is not touched.
    """

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
        self.objective, self.reg, self.steps, self.lr = objective, reg, steps, lr
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(hidden_dim, feature_dim, generator=generator) / feature_dim**0.5)
        self.bias = nn.Parameter(torch.zeros(hidden_dim))
        self.out = nn.Parameter(torch.randn(hidden_dim, generator=generator) / hidden_dim**0.5)

    def logits(self, features: Tensor) -> Tensor:
        """`(n, D) -> (n,)`."""
        return torch.tanh(features.to(self.weight.dtype) @ self.weight.T + self.bias) @ self.out

    def forward(self, index: Tensor, source: Measure, target: Measure, cost: Cost) -> Weights:
        start = None
        parameters = list(self.parameters())
        for _ in range(self.steps):
            with torch.enable_grad():
                w = self.logits(source.features).softmax(dim=0)
                mass = w.detach().to(source.mass.dtype)
                at = self.objective(source._replace(mass=mass / mass.sum()), target, cost, self.reg, start)
                gradients = torch.autograd.grad((w * at.grad_a.to(w.dtype)).sum(), parameters)
            start = at.potential_b
            with torch.no_grad():
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter -= self.lr * gradient
        with torch.no_grad():
            weights = self.logits(source.features).softmax(dim=0).to(source.mass.dtype) * len(index)
        return Weights(weights, at.value, at.converged.to(weights.dtype), at.marginal_error)
