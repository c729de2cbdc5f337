"""Which labels are probably wrong, what they should probably be, and which rows are like no others."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from hf_otw.audit.labelled import RIGHT, WRONG, Labelled
from hf_otw.audit.noise import fit_channel, fit_noise, most_doubted

FOLDS = 5
#: Rows above which three folds do.
MANY = 30_000
#: Inverse penalties of the classifier's mean loss, for standardised features; the labels choose one. With a stronger
#: penalty all probabilities are alike, and wrong labels of few rows pass for vagueness.
INVERSE_PENALTIES = (10.0, 30.0, 100.0, 300.0)
#: Rows that the choice looks at.
CHOICE_ROWS = 6_000
STEPS = 100  # of the classifier's solver
NEIGHBOURS = 10
#: Weight of a row whose label is known to be right, at most.
MOST = 10.0
#: Rows that distances are compared with; more are drawn from.
MAX_REFERENCES = 5_000
#: Share of wrong labels among the doubted ones, by estimate. The estimate is some hundredths too high where the
#: classifier errs in the same way on many rows, and at least 0.8 should be wrong.
PRECISION = 0.85
#: Quartile ranges above the upper quartile of log distance beyond which a row is far from all (Tukey's "far out").
FAR = 3.0


class Verdicts(NamedTuple):
    """One verdict a row.

    Attributes:
        quality: `(N,)`, probability that the row's label is right.
        suggested: `(N,)`, most probable class, given the features and the label.
        probability: `(N,)`, of that class.
        distance: `(N,)`, mean distance to the nearest rows that are not doubted, features being of variance 1.
        is_doubted: `(N,)` bool, among the rows of which `PRECISION` is wrong by estimate.
        is_far: `(N,)` bool, farther from its neighbours than rows usually are.
        rate: share of all labels that is wrong by estimate.
        precision: share of the doubted labels that is wrong by estimate; 1 where none is doubted.
    """

    quality: np.ndarray
    suggested: np.ndarray
    probability: np.ndarray
    distance: np.ndarray
    is_doubted: np.ndarray
    is_far: np.ndarray
    rate: float
    precision: float

    def ranked(self) -> np.ndarray:
        """Row numbers, worst first: doubted labels by quality, then far rows by distance, then the others."""
        kind = np.where(self.is_doubted, 0, np.where(self.is_far, 1, 2))
        return np.lexsort((np.where(self.is_far & ~self.is_doubted, -self.distance, self.quality), kind))


def judge_rows(rows: Labelled, *, seed: int = 0) -> Verdicts:
    """Judge loaded rows."""
    return judge(rows.features, rows.labels, rows.meta_features, rows.meta_labels, known=rows.known, seed=seed)


def judge(
    features: np.ndarray,
    labels: np.ndarray,
    meta_features: np.ndarray | None = None,
    meta_labels: np.ndarray | None = None,
    *,
    known: np.ndarray | None = None,
    seed: int = 0,
) -> Verdicts:
    """Judge every row.

    Args:
        features: `(N, D)`.
        labels: `(N,)`, in `0..K-1`, every class at least twice.
        meta_features, meta_labels: `(m, D)` and `(m,)`, trusted examples.
        known: `(N,)`, labels that are known to be right (1) or wrong (-1).
        seed: of folds and draws.
    """
    scaler = StandardScaler().fit(features)
    x = scaler.transform(features).astype(np.float32)
    known = np.zeros(len(labels), dtype=np.int8) if known is None else known
    if meta_features is not None and meta_labels is not None:
        x = np.concatenate([x, scaler.transform(meta_features).astype(np.float32)])
        labels = np.concatenate([labels, meta_labels])
        known = np.concatenate([known, np.full(len(meta_labels), RIGHT, dtype=known.dtype)])
    probabilities = held_out_probabilities(x, labels, known, choose_penalty(x, labels, known, seed), seed)
    is_wrong = known == WRONG
    fit = fit_noise(probabilities[~is_wrong], labels[~is_wrong], known[~is_wrong] == RIGHT)
    posterior = probabilities  # of a label that is known to be wrong nothing but the features speaks
    posterior[~is_wrong] = fit.posterior
    posterior[is_wrong, labels[is_wrong]] = 0
    own, given = len(features), labels[: len(features)]
    return verdicts(x[:own], given, posterior[:own], known[:own], seed)


def verdicts(x: np.ndarray, labels: np.ndarray, posterior: np.ndarray, known: np.ndarray, seed: int) -> Verdicts:
    """What the posterior says of each row."""
    posterior = posterior / np.maximum(posterior.sum(axis=1, keepdims=True), 1e-12)
    quality = posterior[np.arange(len(labels)), labels]
    suggested = posterior.argmax(axis=1)
    error = 1 - quality
    doubted = most_doubted(error, PRECISION) & (suggested != labels) & (known != RIGHT)
    doubted |= known == WRONG
    distance = neighbour_distance(x, ~doubted, seed)
    log = np.log(distance + 1e-12)
    low, high = np.quantile(log, [0.25, 0.75])
    precision = float(error[doubted].mean()) if doubted.any() else 1.0
    is_far = log > high + FAR * (high - low)
    return Verdicts(
        quality, suggested, posterior.max(axis=1), distance, doubted, is_far, float(error.mean()), precision
    )


def choose_penalty(x: np.ndarray, labels: np.ndarray, known: np.ndarray, seed: int) -> float:
    """The inverse penalty with which the labels are most likely, after calibration, on held-out rows."""
    rows = np.flatnonzero(known != WRONG)
    if len(rows) > CHOICE_ROWS:
        rows = np.random.default_rng(seed).permutation(rows)[:CHOICE_ROWS]
    counts = np.bincount(labels[rows])
    rows = rows[counts[labels[rows]] > 1]
    num_classes = len(np.unique(labels[rows]))
    if len(rows) < 4 * num_classes or num_classes < 2:
        return INVERSE_PENALTIES[-1]
    train, held = next(StratifiedShuffleSplit(1, test_size=1 / 3, random_state=seed).split(rows, labels[rows]))
    train, held = rows[train], rows[held]
    best, least, model = INVERSE_PENALTIES[0], np.inf, None
    for candidate in INVERSE_PENALTIES:
        model = classifier(candidate / len(train), model)
        fit(model, x[train], labels[train], known[train])
        found = np.zeros((len(held), int(labels.max()) + 1))
        found[:, model.classes_] = model.predict_proba(x[held])
        loss = fit_channel(found, labels[held], known[held] == RIGHT, own_rates=False).loss
        if loss < least:
            best, least = candidate, loss
    return best


def folds_for(num_rows: int) -> int:
    """Folds, fewer where rows are many."""
    return FOLDS if num_rows <= MANY else 3


def classifier(inverse_penalty: float, start: LogisticRegression | None = None) -> LogisticRegression:
    """A linear classifier, starting from another's solution."""
    model = start or LogisticRegression(max_iter=STEPS, tol=1e-3, warm_start=True)
    return model.set_params(C=inverse_penalty)


def fit(model: LogisticRegression, x: np.ndarray, labels: np.ndarray, known: np.ndarray) -> None:
    """Fit; the number of steps is meant as a cap. Labels that are known to be right count as much as all others do."""
    is_right = known == RIGHT
    weights = None
    if is_right.any() and not is_right.all():
        weights = np.where(is_right, min(MOST, max(1.0, (~is_right).sum() / is_right.sum())), 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, labels, sample_weight=weights)


def held_out_probabilities(
    x: np.ndarray, labels: np.ndarray, known: np.ndarray, inverse_penalty: float, seed: int
) -> np.ndarray:
    """Class probabilities of each row by a classifier that has not seen it, `(N, K)`.

    A class with fewer rows than folds is in some folds' training rows only. Labels that are known to be wrong train
    nothing.
    """
    num_classes = int(labels.max()) + 1
    found = np.full((len(labels), num_classes), 1e-9)
    smallest = int(np.bincount(labels)[np.unique(labels)].min())
    folds = StratifiedKFold(min(folds_for(len(labels)), max(2, smallest)), shuffle=True, random_state=seed)
    model = None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        divided = list(folds.split(x, labels))
    for train, test in divided:
        train = train[known[train] != WRONG]
        model = classifier(inverse_penalty / len(train))
        fit(model, x[train], labels[train], known[train])
        found[np.ix_(test, model.classes_)] += model.predict_proba(x[test])
    return found


def neighbour_distance(features: np.ndarray, is_trusted: np.ndarray, seed: int) -> np.ndarray:
    """Mean distance of each row to its nearest trusted ones, itself left out; `(N,)`."""
    trusted = np.flatnonzero(is_trusted)
    if len(trusted) <= NEIGHBOURS:
        trusted = np.arange(len(features))
    if len(trusted) > MAX_REFERENCES:
        trusted = np.sort(np.random.default_rng(seed).permutation(trusted)[:MAX_REFERENCES])
    count = min(NEIGHBOURS + 1, len(trusted))
    search = NearestNeighbors(n_neighbors=count, metric="euclidean", algorithm="brute").fit(features[trusted])
    distances, nearest = search.kneighbors(features)
    itself = trusted[nearest] == np.arange(len(features))[:, None]
    keep = ~itself
    # A row that is not among the references has one neighbour too many: the farthest goes.
    keep[~itself.any(axis=1), -1] = False
    return (distances * keep).sum(axis=1) / np.maximum(keep.sum(axis=1), 1)
