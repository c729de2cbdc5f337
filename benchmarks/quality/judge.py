"""Class probabilities by a head that has not seen the row: what baselines that clean labels start from."""

from __future__ import annotations

from typing import NamedTuple

import torch
from sklearn.model_selection import StratifiedKFold
from torch import Tensor
from torch.nn import functional as F

from benchmarks.quality.head import Head, Objective, train_heads
from benchmarks.quality.problems import Problem

FOLDS = 5


class Judged(NamedTuple):
    """Out-of-fold probabilities, and the penalty that they were made with.

    Shape:
        - probabilities: `(n, K)`.
    """

    probabilities: Tensor
    penalty: float


def plain(problem: Problem) -> Objective:
    """Cross-entropy of all heads."""

    def losses(heads: Head, rows: Tensor, step: int) -> Tensor:
        logits = heads(problem.features[rows])
        labels = problem.labels[rows].expand(logits.shape[:2])
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape).mean(1)

    return losses


def cross_fitted(problem: Problem, penalties: tuple[float, ...], seed: int, *, with_meta: bool) -> Judged:
    """Five folds; the penalty has the smallest log-loss on the labels as given.

    Args:
        problem: rows with their labels as given.
        penalties: to choose from.
        seed: of folds and batches.
        with_meta: train on the meta rows too, in every fold.
    """
    labels = problem.labels
    smallest = int(problem.class_counts[problem.class_counts > 0].min())
    folds = torch.empty(len(labels), dtype=torch.long)
    if smallest >= FOLDS:
        splitter = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
        for fold, (_, held) in enumerate(splitter.split(labels, labels)):
            folds[torch.from_numpy(held)] = fold
    else:  # rows of a rare class lie in some of the folds only
        folds = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed)) % FOLDS
    found = torch.zeros(len(penalties), len(labels), problem.num_classes)
    for fold in range(FOLDS):
        held = folds == fold
        part = problem._replace(features=problem.features[~held], labels=labels[~held])
        if with_meta:
            part = joined(part)
        heads = train_heads(part, plain(part), penalties, seed=seed)
        found[:, held] = Head.stack(heads)(problem.features[held]).softmax(dim=-1)
    best = least_log_loss(found, labels)
    return Judged(found[best], penalties[best])


def penalty_of_split(problem: Problem, penalties: tuple[float, ...], seed: int) -> float:
    """The penalty with the smallest log-loss on a fifth of the rows, labels as given."""
    order = torch.randperm(len(problem.labels), generator=torch.Generator().manual_seed(seed))
    held, rest = order[: len(order) // FOLDS], order[len(order) // FOLDS :]
    part = problem._replace(features=problem.features[rest], labels=problem.labels[rest])
    heads = train_heads(part, plain(part), penalties, seed=seed)
    found = Head.stack(heads)(problem.features[held]).softmax(dim=-1)
    return penalties[least_log_loss(found, problem.labels[held])]


def least_log_loss(probabilities: Tensor, labels: Tensor) -> int:
    """Which of several sets of probabilities `(p, n, K)` fits the labels best."""
    own = probabilities[:, torch.arange(len(labels)), labels]
    return int(own.clamp_min(1e-12).log().mean(dim=1).argmax())


def joined(problem: Problem) -> Problem:
    """Meta rows behind the training rows."""
    return problem._replace(
        features=torch.cat([problem.features, problem.meta_features]),
        labels=torch.cat([problem.labels, problem.meta_labels]),
        true_labels=torch.cat([problem.true_labels, problem.meta_labels]),
    )
