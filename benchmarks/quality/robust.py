"""Losses that are made for wrong labels or long tails, and methods that correct or replace labels by a trusted set."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.quality.head import STEPS, train_heads
from benchmarks.quality.judge import joined, penalty_of_split, plain
from benchmarks.quality.method import GroupLoss, Method, Setting, grid
from benchmarks.quality.prepared import JUDGE_PENALTIES, Prepared, uniform
from benchmarks.quality.problems import Problem

DEFERRED = 0.8  # share of the steps before LDAM's class weights
GCE_POWER = 0.7
ELR_MOMENTUM = 0.7
LEAST_PROBABILITY = 1e-4
DMLP_STEPS, DMLP_RATE, DMLP_DECAY = 100, 1e-2, 3e-4
#: Ridge of DMLP's regression, per row, for features of variance 1.
DMLP_RIDGE = 0.1


@dataclass(frozen=True)
class EffectiveNumber(Method):
    """Class weights `(1 - beta) / (1 - beta^n)` (Cui et al. 2019)."""

    settings: tuple[Setting, ...] = field(default_factory=lambda: grid(beta=(0.99, 0.9999)))

    def group_loss(self, prepared: Prepared, setting: Setting) -> GroupLoss:
        problem, losses = prepared.problem, super().group_loss(prepared, setting)
        class_weights = effective_weights(problem.class_counts, setting["beta"])
        row_weights = class_weights[problem.labels]
        row_weights = row_weights / row_weights.mean()
        return lambda logits, rows, step: row_weights[rows] * losses(logits, rows, step)


def effective_weights(counts: Tensor, beta: float) -> Tensor:
    """`(1 - beta) / (1 - beta^n)` of each class, `(K,)`."""
    return ((1 - beta) / (1 - beta ** counts.double().clamp_min(1))).float()


@dataclass(frozen=True)
class LDAM(Method):
    """Label-dependent margins, class weights in the last fifth (Cao et al. 2019).

    The margins are taken off the logits as they are. The publication normalises features and weights first, which
    takes their effect from `l2` and from centred features.
    """

    settings: tuple[Setting, ...] = field(default_factory=lambda: grid(margin=(0.5, 2.0)))
    beta: float = 0.9999

    def group_loss(self, prepared: Prepared, setting: Setting) -> GroupLoss:
        problem = prepared.problem
        counts = problem.class_counts.double().clamp_min(1)
        margins = ((counts.min() / counts).pow(0.25) * setting["margin"]).float()  # (K,)
        class_weights = effective_weights(counts, self.beta)
        class_weights = class_weights / class_weights[problem.labels].mean()

        def losses(logits: Tensor, rows: Tensor, step: int) -> Tensor:
            labels = problem.labels[rows]
            reduced = logits - F.one_hot(labels, problem.num_classes) * margins
            found = -own_log_probability(reduced.log_softmax(dim=-1), labels)
            return found * class_weights[labels] if step >= DEFERRED * STEPS else found

        return losses


@dataclass(frozen=True)
class GeneralisedCrossEntropy(Method):
    """`(1 - p_y^q) / q` (Zhang and Sabuncu 2018), with logit adjustment of strength `tau`."""

    settings: tuple[Setting, ...] = field(default_factory=lambda: grid(tau=(0.0, 1.0)))

    def group_loss(self, prepared: Prepared, setting: Setting) -> GroupLoss:
        labels_of, shift = prepared.problem.labels, setting["tau"] * log_prior(prepared)

        def losses(logits: Tensor, rows: Tensor, step: int) -> Tensor:
            own = own_log_probability((logits + shift).log_softmax(dim=-1), labels_of[rows])
            return (1 - (GCE_POWER * own).exp()) / GCE_POWER

        return losses


@dataclass(frozen=True)
class EarlyLearning(Method):
    """Early-learning regularisation (Liu et al. 2020): `CE + strength log(1 - <p, t>)`, `t` a moving average of the
    row's own predictions; with logit adjustment.
    """

    settings: tuple[Setting, ...] = field(default_factory=lambda: grid(strength=(1.0, 3.0)))

    def group_loss(self, prepared: Prepared, setting: Setting) -> GroupLoss:
        problem, shift = prepared.problem, log_prior(prepared)
        memory: dict[str, Tensor] = {}

        def losses(logits: Tensor, rows: Tensor, step: int) -> Tensor:
            log_p = (logits + shift).log_softmax(dim=-1)  # (H, B, K)
            p = log_p.exp().clamp(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
            if "targets" not in memory:
                memory["targets"] = torch.zeros(len(logits), len(problem.labels), problem.num_classes)
            seen = p.detach() / p.detach().sum(dim=-1, keepdim=True)
            targets = ELR_MOMENTUM * memory["targets"][:, rows] + (1 - ELR_MOMENTUM) * seen
            memory["targets"][:, rows] = targets
            agreement = (p * targets).sum(dim=-1).clamp(max=1 - LEAST_PROBABILITY)
            return -own_log_probability(log_p, problem.labels[rows]) + setting["strength"] * (1 - agreement).log()

        return losses


@dataclass(frozen=True)
class GoldLossCorrection(Method):
    """Predictions are multiplied by an estimated channel before they meet a label (Hendrycks et al. 2018); trusted
    rows are trained on as they are. With logit adjustment of strength `tau`.
    """

    settings: tuple[Setting, ...] = field(default_factory=lambda: grid(tau=(0.0, 1.0)))

    def group_loss(self, prepared: Prepared, setting: Setting) -> GroupLoss:
        problem, channel, trusted = prepared.problem, prepared.channel, prepared.trusted
        if channel is None or trusted is None:
            raise ValueError("Expected a channel and trusted rows, got none. Prepare the problem by `with_channel`.")
        shift = setting["tau"] * log_prior(prepared)

        def losses(logits: Tensor, rows: Tensor, step: int) -> Tensor:
            labels = problem.labels[rows]
            log_p = (logits + shift).log_softmax(dim=-1)
            corrected = (log_p.exp() @ channel).clamp_min(LEAST_PROBABILITY).log()
            return -own_log_probability(torch.where(trusted[rows, None], log_p, corrected), labels)

        return losses


def with_channel(problem: Problem, seed: int) -> Prepared:
    """Meta rows behind the training rows, and the mean prediction for the meta rows of each class, `(K, K)`."""
    penalty = penalty_of_split(problem, JUDGE_PENALTIES, seed)
    (head,) = train_heads(problem, plain(problem), [penalty], seed=seed)
    answers = head(problem.meta_features).softmax(dim=-1)  # (m, K)
    known = F.one_hot(problem.meta_labels, problem.num_classes).float()
    channel = known.T @ answers / known.sum(dim=0).clamp_min(1)[:, None]
    both = uniform(joined(problem))
    trusted = torch.arange(len(both.weights)) >= len(problem.labels)
    return Prepared(both.problem, both.weights, both.prior, channel=channel, trusted=trusted)


def relabelled(problem: Problem, seed: int) -> Prepared:
    """Labels that make a ridge regression predict the meta rows (DMLP-Naive, Tu et al. 2023).

    `Y (n, K)` starts from the labels as given; `W = (F^T F + ridge)^-1 F^T Y`; Adam on Y lowers the cross-entropy and
    the squared error of `F_m W` on the meta rows, and how far the mean prediction is from uniform. All rows are one
    batch. A class without rows keeps those that it had.
    """
    x, n = with_constant(problem.features), len(problem.labels)
    meta, known = with_constant(problem.meta_features), F.one_hot(problem.meta_labels, problem.num_classes).float()
    solve = torch.linalg.solve(x.T @ x + DMLP_RIDGE * n * torch.eye(x.shape[1]), x.T)  # (D, n)
    y = F.one_hot(problem.labels, problem.num_classes).float().requires_grad_()
    optimizer = torch.optim.Adam([y], lr=DMLP_RATE, betas=(0.5, 0.999), weight_decay=DMLP_DECAY)
    for _ in range(DMLP_STEPS):
        weight = solve @ y  # (D, K)
        answers = meta @ weight
        mean = (x @ weight).softmax(dim=1).mean(dim=0)
        uneven = -mean.log().mean() - torch.tensor(float(problem.num_classes)).log()
        fit = F.cross_entropy(answers, problem.meta_labels) + (answers - known).square().sum(dim=1).mean()
        optimizer.zero_grad(set_to_none=True)
        (fit + uneven).backward()
        optimizer.step()
    labels = y.detach().argmax(dim=1)
    for k in range(problem.num_classes):
        if not (labels == k).any():
            labels = torch.where(problem.labels == k, k, labels)
    return uniform(problem._replace(labels=labels))


def with_constant(features: Tensor) -> Tensor:
    """A last column of ones."""
    return torch.cat([features, torch.ones(len(features), 1)], dim=1)


def log_prior(prepared: Prepared) -> Tensor:
    """`(K,)`; of a class without rows a small number."""
    return prepared.prior.clamp_min(1e-12).log()


def own_log_probability(log_p: Tensor, labels: Tensor) -> Tensor:
    """`(H, B, K)` and `(B,)` to `(H, B)`."""
    return log_p[:, torch.arange(len(labels)), labels]
