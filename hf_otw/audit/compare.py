"""Which way of training suits the data: four of them, on the same splits, with the uncertainty of the answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score, recall_score
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.preprocessing import StandardScaler

from hf_otw._utils import look_up
from hf_otw.audit.heads import fit_head, predict
from hf_otw.audit.weigh import weigh

TEST_SHARE = 0.2
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
CONFIDENCE = 0.95
PLAIN = "cross-entropy"

Recipe = tuple[np.ndarray, np.ndarray]  # weights (N,), log prior (K,)


def cross_entropy(features: np.ndarray, labels: np.ndarray, num_classes: int) -> Recipe:
    """Every row counts the same."""
    return np.ones(len(labels)), np.zeros(num_classes)


def class_weights(features: np.ndarray, labels: np.ndarray, num_classes: int) -> Recipe:
    """Every class counts the same."""
    counts = np.bincount(labels, minlength=num_classes)
    return len(labels) / (num_classes * counts[labels]), np.zeros(num_classes)


def logit_adjustment(features: np.ndarray, labels: np.ndarray, num_classes: int) -> Recipe:
    """The log prior is added to the logits in training (Menon et al. 2021)."""
    return np.ones(len(labels)), log_shares(np.ones(len(labels)), labels, num_classes)


def optimal_transport(features: np.ndarray, labels: np.ndarray, num_classes: int) -> Recipe:
    """The library's default but for its meta term: weights, and a prior that is each class's share of their total."""
    weights = weigh(features, labels, target_mass="square_root").weights
    return weights, log_shares(weights, labels, num_classes)


def log_shares(weights: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Log of each class's share of the total weight, `(K,)`."""
    return np.log(np.bincount(labels, weights, minlength=num_classes) / weights.sum())


METHODS: dict[str, Callable[[np.ndarray, np.ndarray, int], Recipe]] = {
    PLAIN: cross_entropy,
    "class weights": class_weights,
    "logit adjustment": logit_adjustment,
    "optimal transport": optimal_transport,
}
METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "balanced_accuracy": lambda truth, guess: recall_score(truth, guess, average="macro", zero_division=0),
    "accuracy": accuracy_score,
    "macro_f1": lambda truth, guess: f1_score(truth, guess, average="macro", zero_division=0),
}


class Comparison(NamedTuple):
    """What the methods reached.

    Attributes:
        metric: name.
        scores: method -> `(R,)`, one value a split.
        test_share: of the rows, in each split.
    """

    metric: str
    scores: dict[str, np.ndarray]
    test_share: float

    def difference(self, method: str, other: str = PLAIN) -> tuple[float, float]:
        """Mean difference to another method, and half the width of its confidence interval.

        Splits share rows, so that their spread is too small; it is corrected after Nadeau and Bengio 2003.
        """
        gaps = self.scores[method] - self.scores[other]
        ratio = self.test_share / (1 - self.test_share)
        spread = math.sqrt(max(float(gaps.var(ddof=1)), 0.0) * (1 / len(gaps) + ratio))
        return float(gaps.mean()), float(stats.t.ppf((1 + CONFIDENCE) / 2, len(gaps) - 1)) * spread

    @property
    def best(self) -> str:
        """The method with the highest mean."""
        return max(self.scores, key=lambda name: self.scores[name].mean())

    def recommendation(self) -> str:
        """What to do, and how sure that is."""
        best, metric = self.best, self.metric.replace("_", " ")
        if best == PLAIN:
            return f"Stay with {PLAIN}: nothing reached a higher {metric} on these rows."
        gain, half = self.difference(best)
        interval = f"{100 * gain:+.1f} points of {metric} over {PLAIN}, 95 % interval {100 * (gain - half):+.1f} to {100 * (gain + half):+.1f}"  # noqa: E501
        if gain - half <= 0:
            undecided = f"No clear winner: {best} is ahead by {interval}, which includes 0."
            return f"{undecided} Stay with {PLAIN}, or collect more rows."
        rivals = [name for name in self.scores if name not in (best, PLAIN)]
        rivals = [name for name in rivals if self.difference(best, name)[0] <= self.difference(best, name)[1]]
        also = f" {' and '.join(rivals)} cannot be told from it." if rivals else ""
        return f"Use {best}: {interval}.{also}"


def compare(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    metric: str = "balanced_accuracy",
    repeats: int = 10,
    seed: int = 0,
    class_names: Sequence[str] | None = None,
    track: Callable[[range], Iterable[int]] = iter,
) -> Comparison:
    """Compare the methods with linear classifiers over fixed features, on random splits.

    The same rows, the same splits and the same search for a penalty (by a split of the training rows) for all.

    Args:
        features: `(N, D)`.
        labels: `(N,)`, in `0..K-1`; at least 5 rows of each class, or the tests say nothing of it.
        metric: key of `METRICS`.
        repeats: number of splits, at least 2.
        seed: of the splits.
        class_names: for messages.
        track: shows progress.

    Raises:
        ValueError: too few rows of a class, too few repeats, or an unknown metric.
    """
    num_classes, counts = int(labels.max()) + 1, np.bincount(labels)
    look_up(METRICS, metric, "metric")
    if repeats < 2:
        raise ValueError(f"Expected 2 repeats or more, for an error of the mean, got {repeats}. 10 is usual.")
    if counts.min() < 5:
        name = class_names[int(counts.argmin())] if class_names else counts.argmin()
        raise ValueError(
            f"Expected 5 rows or more of each class, got {counts.min()} of class {name}. Drop or merge small classes."
        )
    splits = StratifiedShuffleSplit(repeats, test_size=TEST_SHARE, random_state=seed).split(features, labels)
    scores: dict[str, list[float]] = {name: [] for name in METHODS}
    for _ in track(range(repeats)):
        train, test = next(splits)
        scaler = StandardScaler().fit(features[train])
        x, x_test = scaler.transform(features[train]), scaler.transform(features[test])
        for name, method in METHODS.items():
            guess = fit_and_predict(method, x, labels[train], x_test, num_classes, metric, seed)
            scores[name].append(float(METRICS[metric](labels[test], guess)))
    return Comparison(metric, {name: np.array(found) for name, found in scores.items()}, TEST_SHARE)


def fit_and_predict(
    method: Callable[[np.ndarray, np.ndarray, int], Recipe],
    features: np.ndarray,
    labels: np.ndarray,
    test_features: np.ndarray,
    num_classes: int,
    metric: str,
    seed: int,
) -> np.ndarray:
    """Choose a penalty on a fifth of the training rows, fit on all of them, predict the test rows."""
    weights, prior = method(features, labels, num_classes)
    inner, held = next(StratifiedShuffleSplit(1, test_size=TEST_SHARE, random_state=seed).split(features, labels))

    def score(penalty: float) -> float:
        own = weights[inner] / weights[inner].mean()
        theta = fit_head(features[inner], labels[inner], own, prior, penalty)
        return METRICS[metric](labels[held], predict(theta, features[held]))

    penalty = max(PENALTIES, key=score)
    return predict(fit_head(features, labels, weights, prior, penalty), test_features)
