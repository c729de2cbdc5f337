"""Which labels are probably wrong, what they should probably be, and which rows are like no others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from hf_otw.audit.weigh import Weighed

FOLDS = 5
#: Inverse penalty of the classifier that suggests classes. Features outnumber the rows of small classes.
INVERSE_PENALTY = 0.01
NEIGHBOURS = 10
#: Rows that distances are compared with; more are drawn from.
MAX_REFERENCES = 20_000
#: Below it, a label is suspected. Weights fall to 0.02 of the largest where a label is surely wrong.
DOUBTED = 0.5
#: Quartile ranges above the upper quartile of log distance beyond which a row is far from all (Tukey's "far out").
FAR = 3.0


class Verdicts(NamedTuple):
    """One verdict a row.

    Shape:
        - quality: `(N,)`, the row's weight over the largest: near 1 where nothing speaks against the label, near 0
          where it is surely wrong.
        - suggested: `(N,)`, most probable class by rows other than its own fold, weighted.
        - probability: `(N,)`, of that class.
        - distance: `(N,)`, mean distance to the nearest rows that are trusted, features being of variance 1.
        - is_doubted: `(N,)` bool, quality below one half and another class suggested.
        - is_far: `(N,)` bool, farther from its neighbours than rows usually are.
    """

    quality: np.ndarray
    suggested: np.ndarray
    probability: np.ndarray
    distance: np.ndarray
    is_doubted: np.ndarray
    is_far: np.ndarray

    def ranked(self) -> np.ndarray:
        """Row numbers, worst first: doubted labels by quality, then far rows by distance, then the others."""
        kind = np.where(self.is_doubted, 0, np.where(self.is_far, 1, 2))
        return np.lexsort((np.where(self.is_far & ~self.is_doubted, -self.distance, self.quality), kind))


def judge(features: np.ndarray, labels: np.ndarray, weighed: Weighed, *, seed: int = 0) -> Verdicts:
    """Judge every row.

    Args:
        features: `(N, D)`.
        labels: `(N,)`.
        weighed: of `hf_otw.audit.weigh.weigh`.
        seed: of folds and draws.
    """
    scaled = StandardScaler().fit_transform(features)
    quality = weighed.weights / weighed.weights.max()
    probabilities = held_out_probabilities(scaled, labels, weighed.weights, seed)
    suggested = probabilities.argmax(axis=1)
    distance = neighbour_distance(scaled, quality, seed)
    log = np.log(distance + 1e-12)
    low, high = np.quantile(log, [0.25, 0.75])
    doubted = (quality < DOUBTED) & (suggested != labels)
    far = log > high + FAR * (high - low)
    return Verdicts(quality, suggested, probabilities.max(axis=1), distance, doubted, far)


def held_out_probabilities(features: np.ndarray, labels: np.ndarray, weights: np.ndarray, seed: int) -> np.ndarray:
    """Class probabilities of each row by a classifier that has not seen it, `(N, K)`.

    Every class counts the same, and every row inside it by its weight. A class with fewer rows than folds is in some
    folds' training rows only.
    """
    num_classes = int(labels.max()) + 1
    counts = np.bincount(labels, weights, minlength=num_classes)
    importance = weights / np.maximum(counts[labels], 1e-12) * len(labels) / num_classes
    found = np.zeros((len(labels), num_classes))
    folds = StratifiedKFold(min(FOLDS, max(2, int(np.bincount(labels).min()))), shuffle=True, random_state=seed)
    for train, test in folds.split(features, labels):
        model = LogisticRegression(C=INVERSE_PENALTY, max_iter=500)
        model.fit(features[train], labels[train], sample_weight=importance[train])
        found[np.ix_(test, model.classes_)] = model.predict_proba(features[test])
    return found


def neighbour_distance(features: np.ndarray, quality: np.ndarray, seed: int) -> np.ndarray:
    """Mean distance of each row to its nearest trusted ones, itself left out; `(N,)`."""
    trusted = np.flatnonzero(quality >= DOUBTED)
    if len(trusted) <= NEIGHBOURS:
        trusted = np.arange(len(features))
    if len(trusted) > MAX_REFERENCES:
        trusted = np.sort(np.random.default_rng(seed).permutation(trusted)[:MAX_REFERENCES])
    count = min(NEIGHBOURS + 1, len(trusted))
    search = NearestNeighbors(n_neighbors=count, metric="euclidean").fit(features[trusted])
    distances, nearest = search.kneighbors(features)
    itself = trusted[nearest] == np.arange(len(features))[:, None]
    keep = ~itself
    # A row that is not among the references has one neighbour too many: the farthest goes.
    keep[~itself.any(axis=1), -1] = False
    return (distances * keep).sum(axis=1) / np.maximum(keep.sum(axis=1), 1)
