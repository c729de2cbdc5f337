"""What methods do to a problem before training: weights learned, labels cleaned, rows added."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.quality.judge import cross_fitted, joined
from benchmarks.quality.problems import Problem
from hf_otw import learn_weights
from hf_otw.weighting.target import square_root_mass

#: Of the judges that clean labels.
JUDGE_PENALTIES = (1e-2, 1e-1, 0.5, 2.0)
TINY = 1e-12


@dataclass(frozen=True)
class Prepared:
    """What does not depend on the setting.

    Shape:
        - weights: `(n,)`, mean 1; prior: `(K,)`, sums to 1; row_probabilities: `(n,)`; channel: `(K, K)`, from true to
          given labels; trusted: `(n,)` bool, rows whose label is known to be right.
    """

    problem: Problem
    weights: Tensor
    prior: Tensor
    row_probabilities: Tensor | None = None
    channel: Tensor | None = None
    trusted: Tensor | None = None


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
    return uniform(joined(problem))


def meta_rows_alone(problem: Problem, seed: int) -> Prepared:
    """Nothing but the meta examples is trained on."""
    return uniform(
        problem._replace(features=problem.meta_features, labels=problem.meta_labels, true_labels=problem.meta_labels)
    )


def square_root_balanced(problem: Problem, trust: Tensor) -> Prepared:
    """Rows weighted by trust `(n,)`, and the classes scaled as the default does it."""
    totals = torch.zeros(problem.num_classes).index_add_(0, problem.labels, trust)
    scale = square_root_mass(totals) / totals.clamp_min(TINY)
    return weighted(problem, trust * scale[problem.labels])


def without_doubts(problem: Problem, seed: int) -> Prepared:
    """The default's weights if it took every label for right."""
    return square_root_balanced(problem, torch.ones(len(problem.labels)))


def oracle(problem: Problem, seed: int) -> Prepared:
    """The default's weights if it knew which labels are wrong."""
    return square_root_balanced(problem, keep_a_row_of_each(problem, problem.labels == problem.true_labels))


def keep_a_row_of_each(problem: Problem, keep: Tensor) -> Tensor:
    """`keep` as weights 0 and 1, `(n,)`; a class that would go altogether stays."""
    kept = keep.float()
    for k in range(problem.num_classes):
        own = problem.labels == k
        if not kept[own].any():
            kept[own] = 1.0
    return kept


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
    """Rows that confident learning takes for wrongly labelled get no weight (Northcutt et al. 2021).

    It is given what the default is given: the judge is trained on the meta rows too, its penalty is chosen by
    out-of-fold log-loss, and the meta rows are trained on in the end.
    """
    from cleanlab.filter import find_label_issues

    judged = cross_fitted(problem, JUDGE_PENALTIES, seed, with_meta=True)
    wrong = find_label_issues(problem.labels.numpy(), judged.probabilities.double().numpy(), n_jobs=1)
    kept = keep_a_row_of_each(problem, ~torch.from_numpy(wrong))
    both = joined(problem)
    return weighted(both, torch.cat([kept, torch.ones(len(problem.meta_labels))]))
