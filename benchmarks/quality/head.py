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

    @classmethod
    def stack(cls, heads: Sequence[Head]) -> Head:
        """Several as one."""
        return cls(torch.stack([head.weight for head in heads]), torch.stack([head.bias for head in heads]))


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
    start: Sequence[Head] | None = None,
    stops: Sequence[int] | None = None,
    rate: float = LEARNING_RATE,
) -> list[Head]:
    """Adam with a rate that falls to 0 by a cosine. Heads do not know of each other; together they are faster.

    Args:
        problem: the training rows.
        objective: the losses of all heads.
        penalties: `l2`, one a head: `l2 / 2` times its squared weights is added to its loss.
        seed: of the batches.
        row_probabilities: `(n,)`, of a row in a batch; every row as likely by default, without replacement.
        start: the heads to start from; 0 by default.
        stops: the step after which each head is taken as it is then; the last by default.
        rate: learning rate of the first step.
    """
    n, width = problem.features.shape
    generator = torch.Generator().manual_seed(seed)
    if start is None:
        zero = Head(torch.zeros(problem.num_classes, width), torch.zeros(problem.num_classes))
        start = [zero] * len(penalties)
    weight, bias = (part.requires_grad_() for part in Head.stack(start))
    optimizer = torch.optim.Adam([weight, bias], lr=rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    l2 = torch.tensor(penalties)
    ends = [STEPS] * len(penalties) if stops is None else list(stops)
    found: list[Head | None] = [None] * len(penalties)
    order = torch.empty(0, dtype=torch.long)
    for step in range(max(ends)):
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
        for place, end in enumerate(ends):
            if step + 1 == end:
                found[place] = Head(weight[place].detach().clone(), bias[place].detach().clone())
    return [head for head in found if head is not None]
