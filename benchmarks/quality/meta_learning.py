"""Methods that learn weights in every step, from the loss on the meta set or by transport to it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.quality.head import STEPS, Head, Objective
from benchmarks.quality.method import OneByOne, Setting, meta_loss
from benchmarks.quality.prepared import Prepared
from hf_otw.config.presets import PAPER
from hf_otw.transport import OBJECTIVES
from hf_otw.transport.costs import CombinedCost
from hf_otw.types import Measure
from hf_otw.weighting import EffectiveNumber, SoftmaxSGDStep, Table
from hf_otw.weighting.target import prototypes_target


@dataclass(frozen=True)
class LearningToReweight(OneByOne):
    """Weights from one meta-gradient a batch (Ren et al. 2018): exact, as a linear head has it in closed form."""

    def objective(self, prepared: Prepared, setting: Setting, seed: int) -> Objective:
        problem = prepared.problem

        def loss(head: Head, rows: Tensor, step: int) -> Tensor:
            x, labels = problem.features[rows], problem.labels[rows]
            logits = head(x)
            with torch.no_grad():
                residual = logits.softmax(1) - F.one_hot(labels, problem.num_classes)  # (B, K), d loss / d logits
                meta = head(problem.meta_features).softmax(1) - F.one_hot(problem.meta_labels, problem.num_classes)
                of_weight = meta.T @ problem.meta_features / len(meta)  # (K, D)
                gain = ((residual @ of_weight) * x).sum(1) + residual @ meta.mean(0)  # (B,)
                weights = gain.clamp_min(0)
                weights = weights / weights.sum().clamp_min(1e-12)
            return (weights * F.cross_entropy(logits, labels, reduction="none")).sum()

        return loss


@dataclass(frozen=True)
class MetaWeightNet(OneByOne):
    """A net from a row's loss to its weight, trained through one virtual step (Shu et al. 2019)."""

    net_lr: float = 1e-2
    virtual_lr: float = 0.1

    def objective(self, prepared: Prepared, setting: Setting, seed: int) -> Objective:
        problem = prepared.problem
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            net = nn.Sequential(nn.Linear(1, 100), nn.ReLU(), nn.Linear(100, 1), nn.Sigmoid())
        optimizer = torch.optim.Adam(net.parameters(), lr=self.net_lr, fused=True)

        def loss(head: Head, rows: Tensor, step: int) -> Tensor:
            x, labels = problem.features[rows], problem.labels[rows]
            losses = F.cross_entropy(head(x), labels, reduction="none")
            weights = net(losses.detach()[:, None]).squeeze(1)
            # The gradient of the weighted loss in closed form, so that only the net is differentiated through.
            residual = (head(x).softmax(1) - F.one_hot(labels, problem.num_classes)).detach()  # (B, K)
            shares = (weights / len(rows))[:, None] * residual
            W, b = head.weight.detach() - self.virtual_lr * shares.T @ x, head.bias.detach()
            logits = problem.meta_features @ W.T + (b - self.virtual_lr * shares.sum(0))
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(logits, problem.meta_labels).backward()
            optimizer.step()
            with torch.no_grad():
                weights = net(losses[:, None]).squeeze(1)
                weights = weights / weights.sum().clamp_min(1e-12)
            return (weights * losses).sum()

        return loss


@dataclass(frozen=True)
class Paper(OneByOne):
    """`preset="paper"` on a head: plain training, then in each step one step on the weight logits of the batch, the
    loss times the raw logits, and the whole meta set (Guo et al. 2022); or the same without that step, which leaves
    the effective-number weights that the logits start from.
    """

    transport: bool = True

    def objective(self, prepared: Prepared, setting: Setting, seed: int) -> Objective:
        problem, K = prepared.problem, prepared.problem.num_classes
        start = EffectiveNumber(problem.class_counts.tolist()).class_weight[problem.labels].float()
        table = Table(
            len(start),
            objective=OBJECTIVES[PAPER["weighting_kwargs"]["objective"]],
            reg=PAPER["weighting_kwargs"]["reg"],
            steps=PAPER["weighting_kwargs"]["steps"],
            update=SoftmaxSGDStep(lr=PAPER["weighting_kwargs"]["lr"]),
            init=start,
            raw=True,
        )
        target = prototypes_target(problem.meta_features, problem.meta_labels, torch.full((K,), 1 / K))
        cost = CombinedCost(2 / K)

        def loss(head: Head, rows: Tensor, step: int) -> Tensor:
            x, labels = problem.features[rows], problem.labels[rows]
            losses = F.cross_entropy(head(x), labels, reduction="none")
            if step < PAPER["weight_warmup"] * STEPS:
                return losses.mean()
            weights = start[rows]
            if self.transport:
                batch = Measure(x, labels, torch.full((len(rows),), 1 / len(rows)))
                weights = table(rows, batch, target, cost).weights.detach()
            whole = torch.arange(len(problem.meta_labels))
            return (weights * losses).mean() + PAPER["meta_loss_coefficient"] * meta_loss(head, problem, whole)

        return loss
