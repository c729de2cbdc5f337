"""What methods do to a problem before training: weights learned, labels cleaned, rows added."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.quality.problems import Problem
from hf_otw import learn_weights


@dataclass(frozen=True)
class Prepared:
    """What does not depend on the setting.

    Shape:
        - weights: `(n,)`, mean 1; prior: `(K,)`, sums to 1.
    """

    problem: Problem
    weights: Tensor
    prior: Tensor
    row_probabilities: Tensor | None = None


def prior_of(problem: Problem, weights: Tensor) -> Tensor:
    """Each class's share of the total weight, `(K,)`."""
    totals = torch.zeros(problem.num_classes).index_add_(0, problem.labels, weights)
    return totals / totals.sum()


def weighted(problem: Problem, weights: Tensor, row_probabilities: Tensor | None = None) -> Prepared:
    """Weights, made to have mean 1, and the prior that they leave."""
    weights = weights / weights.mean()
    return Prepared(problem, weights, prior_of(problem, weights), row_probabilities)


def uniform(problem: Problem, seed: int = 0) -> Prepared:
    """All weights 1."""
    return weighted(problem, torch.ones(len(problem.labels)))


def inverse_frequency(problem: Problem, seed: int) -> Prepared:
    """Every class has the same total weight."""
    return weighted(problem, 1 / problem.class_counts.float()[problem.labels])


def balanced_sampling(problem: Problem, seed: int) -> Prepared:
    """Every class is drawn as often."""
    rows = 1 / problem.class_counts.double()[problem.labels]
    return weighted(problem, torch.ones(len(problem.labels)), rows)


def with_meta_rows(problem: Problem, seed: int) -> Prepared:
    """Meta examples are training examples."""
    return uniform(
        problem._replace(
            features=torch.cat([problem.features, problem.meta_features]),
            labels=torch.cat([problem.labels, problem.meta_labels]),
        )
    )


def transport(**options: Any) -> Callable[[Problem, int], Prepared]:
    """Weights by optimal transport to the meta set; the features are standardised already."""

    def prepare(problem: Problem, seed: int) -> Prepared:
        found = learn_weights(
            problem.features,
            problem.labels,
            problem.meta_features,
            problem.meta_labels,
            standardize_features=False,
            **options,
        )
        return weighted(problem, found.weights.float())

    return prepare


def cleaned(problem: Problem, seed: int) -> Prepared:
    """Rows that confident learning takes for wrongly labelled get no weight (Northcutt et al. 2021)."""
    from cleanlab.filter import find_label_issues
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    n, labels = len(problem.labels), problem.labels.numpy()
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    model = LogisticRegression(C=0.01, max_iter=200)
    try:
        probabilities = cross_val_predict(model, problem.features.numpy(), labels, cv=folds, method="predict_proba")
        wrong = torch.from_numpy(find_label_issues(labels, probabilities, n_jobs=1))
    except ValueError:  # a class that is not in every fold
        wrong = torch.zeros(n, dtype=torch.bool)
    keep = (~wrong).float()
    for k in range(problem.num_classes):  # a class that would go altogether stays
        own = problem.labels == k
        if not keep[own].any():
            keep[own] = 1.0
    return weighted(problem, keep)
