"""Explicit weights: one logit a training example."""

from __future__ import annotations

import torch
from torch import Tensor

from hf_otw.transport._check import check_reg, check_steps
from hf_otw.transport.objectives import Objective, entropy_objective
from hf_otw.types import Cost, Measure, Weights
from hf_otw.weighting.base import WeightModel
from hf_otw.weighting.updates import LogitUpdate, MirrorStep


class Table(WeightModel):
    """A logit per training example, moved by gradient steps on an objective (arXiv 2208.02951, eq. 5, "explicit").

    The given rows' `w = softmax(logits[index])` are the source masses. Rows are found by `index`, so the table also
    works per batch.

    Args:
        num_examples: `N`, rows of the training set.
        objective: `hf_otw.transport.OBJECTIVES` or a function of that call.
        reg: entropic strength, in units of the cost.
        steps: gradient steps a call.
        update: how a logit answers to the gradient. Defaults to `MirrorStep(1 / reg)` for `entropy`, else
            `MirrorStep(1)`.
        init: `(N,)` initial logits; 0 by default.
        raw: multiply the loss by the logits themselves, clamped at 0, as the paper's code does, and not by their
            softmax. The mean is then what `init` made it.
    """

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
        # 1 / reg is exact for `entropy`; the other objectives are steeper where weights concentrate.
        self.update = update or MirrorStep(1 / reg if objective is entropy_objective else 1.0)
        logits = torch.zeros(num_examples) if init is None else init.clone()
        self.register_buffer("logits", logits)  # (N,)

    @torch.no_grad()
    def forward(self, index: Tensor, source: Measure, target: Measure, cost: Cost) -> Weights:
        logits = self.logits[index].to(source.mass.dtype)
        start = None
        for _ in range(self.steps):
            w = logits.softmax(dim=0)
            at = self.objective(source._replace(mass=w), target, cost, self.reg, start)
            logits, start = self.update(logits, w, at.grad_a), at.potential_b
        self.logits[index] = logits.to(self.logits.dtype)
        weights = logits.clamp_min(0) if self.raw else logits.softmax(dim=0) * len(index)
        return Weights(weights, at.value, at.converged.to(weights.dtype), at.marginal_error)
