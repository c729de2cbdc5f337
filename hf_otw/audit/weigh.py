"""A weight for every row of a data set, the rows of the meta set included."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from hf_otw.data.split import split_meta
from hf_otw.learn import learn_weights
from hf_otw.weighting import CleanPosterior, WeightModel


class Weighed(NamedTuple):
    """Weights of `N` rows.

    Shape:
        - weights: `(N,)`, mean 1.
        - class_totals: `(K,)`, share of the total weight that each class holds.
        - ess: effective sample size.
    """

    weights: np.ndarray
    class_totals: np.ndarray
    ess: float


def weigh(
    features: np.ndarray,
    labels: np.ndarray,
    meta_features: np.ndarray | None = None,
    meta_labels: np.ndarray | None = None,
    *,
    weighting: str | WeightModel = "clean_posterior",
    meta_per_class: int = 10,
    seed: int = 0,
    class_names: list[str] | None = None,
) -> Weighed:
    """Give every row a weight.

    Where there are no trusted examples, a balanced meta set is drawn from the rows, and the rest is weighed by it; a
    second one, disjoint from it, then weighs the rows of the first. Drawn meta sets hold wrong labels as often as the
    rows do, so that weights are sharper with trusted ones.

    Args:
        features: `(N, D)`.
        labels: `(N,)`, in `0..K-1`.
        meta_features, meta_labels: `(m, D)` and `(m,)`, trusted examples that are not among the rows.
        weighting: of `learn_weights`. `doubts()` to look for wrong labels.
        meta_per_class: rows of each class in a drawn meta set.
        seed: of the draw.
        class_names: for messages.

    Raises:
        ValueError: a class with fewer than two rows and no trusted examples, or see `learn_weights`.
    """
    num_classes = int(labels.max()) + 1
    if meta_features is not None and meta_labels is not None:
        weights = solve(features, labels, meta_features, meta_labels, weighting)
    else:
        known = torch.from_numpy(labels)
        first = split_meta(known, num_classes, meta_per_class, seed=seed, class_names=class_names)
        in_first = np.isin(np.arange(len(labels)), first.meta_rows)
        second = split_meta(known, num_classes, meta_per_class, seed=seed + 1, avoid=in_first, class_names=class_names)
        weights = np.empty(len(labels))
        for parts in (second, first):  # the first weighs all rows but its own, which the second has weighed
            rows, meta = parts.train_rows, parts.meta_rows
            weights[rows] = solve(features[rows], labels[rows], features[meta], labels[meta], weighting)
    weights = weights / weights.mean()
    totals = np.bincount(labels, weights, minlength=num_classes) / weights.sum()
    return Weighed(weights, totals, float(weights.sum() ** 2 / (weights**2).sum()))


def doubts() -> WeightModel:
    """The posterior as it is: whether training would gain by its doubts is another question."""
    return CleanPosterior(beliefs=(1.0,))


def solve(
    features: np.ndarray,
    labels: np.ndarray,
    meta_features: np.ndarray,
    meta_labels: np.ndarray,
    weighting: str | WeightModel,
) -> np.ndarray:
    """Weights of the rows, by the examples of the meta set."""
    result = learn_weights(features, labels, meta_features, meta_labels, weighting=weighting, target_points="examples")
    return np.asarray(result.weights)
