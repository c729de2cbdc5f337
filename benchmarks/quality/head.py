"""Linear heads on frozen features: the same model, steps, batches and optimizer for every method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from benchmarks.quality.problems import Problem

STEPS = 200
BATCH_SIZE = 128
LEARNING_RATE = 1e-2


class Head(NamedTuple):
    """A linear classifier, or several.

    Shape:
        - weight: `(K, D)`, bias: `(K,)`; of several `(H, K, D)`, `(H, K)`.
    """

    weight: Tensor
    bias: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """`(B, D) -> (B, K)`, of several `(H, B, K)`."""
        return features @ self.weight.mT + self.bias[..., None, :]


class Objective(Protocol):
    """What a method makes of a batch."""

    def __call__(self, head: Head, rows: Tensor, step: int) -> Tensor:
        """Loss, shape `()`, of the training rows `rows`, shape `(B,)`; of several heads `(H,)`."""
        ...


def one_by_one(objectives: Sequence[Objective]) -> Objective:
    """Several heads, each with an objective of its own."""

    def losses(heads: Head, rows: Tensor, step: int) -> Tensor:
        each = zip(heads.weight.unbind(), heads.bias.unbind(), objectives, strict=True)
        return torch.stack([objective(Head(weight, bias), rows, step) for weight, bias, objective in each])

    return losses


def train_heads(
    problem: Problem,
    objective: Objective,
    penalties: Sequence[float],
    *,
    seed: int,
    row_probabilities: Tensor | None = None,
) -> list[Head]:
    """Adam with a rate that falls to 0 by a cosine. Heads do not know of each other; together they are faster.

    Args:
        problem: the training rows.
        objective: the losses of all heads.
        penalties: `l2`, one a head: `l2 / 2` times its squared weights is added to its loss.
        seed: of the batches; the heads start at 0.
        row_probabilities: `(n,)`, of a row in a batch; every row as likely by default, without replacement.
    """
    n, width = problem.features.shape
    generator = torch.Generator().manual_seed(seed)
    weight = torch.zeros(len(penalties), problem.num_classes, width, requires_grad=True)
    bias = torch.zeros(len(penalties), problem.num_classes, requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias], lr=LEARNING_RATE, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    l2 = torch.tensor(penalties)
    order = torch.empty(0, dtype=torch.long)
    for step in range(STEPS):
        if row_probabilities is not None:
            rows = torch.multinomial(row_probabilities, BATCH_SIZE, replacement=True, generator=generator)
        else:
            if len(order) < min(BATCH_SIZE, n):
                order = torch.randperm(n, generator=generator)
            rows, order = order[:BATCH_SIZE], order[BATCH_SIZE:]
        penalty = l2 / 2 * weight.square().sum((1, 2))
        optimizer.zero_grad(set_to_none=True)
        (objective(Head(weight, bias), rows, step) + penalty).sum().backward()
        optimizer.step()
        schedule.step()
    return [Head(*parts) for parts in zip(weight.detach().unbind(), bias.detach().unbind(), strict=True)]
