"""`sample_weight`: weights of training rows, from what a scikit-learn pipeline takes."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.utils.class_weight import compute_sample_weight

from hf_otw.audit.features import word_features
from hf_otw.audit.weigh import weigh

#: Numbers that a sparse matrix is reduced to.
WIDTH = 256


def sample_weight(
    X: Any,
    y: Any,
    *,
    trusted: tuple[Any, Any] | None = None,
    target_mass: str = "balanced",
    weighting: str = "clean_posterior",
    meta_per_class: int = 10,
    seed: int = 0,
) -> np.ndarray:
    """Learn a weight for every row, `(N,)`, mean 1: little where a label is doubtful, with equal class totals.

    Classes with a single row keep the mean weight of a row, 1. Give the weights to `fit` alone: with a
    `class_weight` beside them the classes would be balanced twice.

    Args:
        X: `(N, D)`, dense or sparse, or `(N,)` texts.
        y: `(N,)`, classes of any type that scikit-learn takes.
        trusted: a pair `(X, y)` of examples whose labels are right, of every class; else some rows are set aside.
        target_mass: `balanced`, `square_root` or `class_prior`.
        weighting: `clean_posterior` or `agreement`.
        meta_per_class: rows of each class to set aside where nothing is trusted.
        seed: of the draw.

    Raises:
        ValueError: as many labels as there are not rows, or trusted examples that lack a class or have another.

    Example:
        >>> pipeline.fit(texts, y, logisticregression__sample_weight=sample_weight(texts, y))
    """
    classes, codes = np.unique(np.asarray(y), return_inverse=True)
    features, trusted_features = shared_features(X, None if trusted is None else trusted[0])
    if len(features) != len(codes):
        raise ValueError(f"Expected {len(features)} labels, one a row, got {len(codes)}.")
    counts = np.bincount(codes)
    usable = counts[codes] > 1
    num_usable = int((counts > 1).sum())
    if num_usable < 2 or not (features != features[:1]).any():
        # One class, or nothing that tells rows apart.
        return np.asarray(compute_sample_weight("balanced" if target_mass == "balanced" else None, codes))
    known, number = np.flatnonzero(counts > 1), np.full(len(classes), -1)
    number[known] = np.arange(num_usable)
    meta_labels = None
    if trusted is not None:
        meta_labels = number[encoded(classes, trusted[1])]
        if (meta_labels < 0).any() or len(np.unique(meta_labels)) < num_usable:
            raise ValueError("Expected trusted examples of every class with two rows or more, and of no other.")
    found = weigh(
        features[usable],
        number[codes[usable]],
        trusted_features,
        meta_labels,
        weighting=weighting,
        target_mass=target_mass,
        meta_per_class=meta_per_class,
        seed=seed,
        class_names=[str(name) for name in classes[known]],
    )
    weights = np.ones(len(codes))
    weights[usable] = found.weights
    return weights


def encoded(classes: np.ndarray, y: Any) -> np.ndarray:
    """Numbers of the classes of trusted examples.

    Raises:
        ValueError: a class that the rows do not have.
    """
    values = np.asarray(y)
    unknown = np.setdiff1d(values, classes)
    if len(unknown):
        raise ValueError(
            f"Expected trusted examples of the classes {classes[:20].tolist()}, got {unknown[:5].tolist()}."
        )
    return np.searchsorted(classes, values)


def shared_features(X: Any, other: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Dense features of both sets, in one space."""
    if sparse.issparse(X):
        if min(X.shape) <= WIDTH:
            return X.toarray().astype(np.float64), None if other is None else other.toarray().astype(np.float64)
        directions = TruncatedSVD(WIDTH, random_state=0).fit(X)
        return directions.transform(X), None if other is None else directions.transform(other)
    values = X if hasattr(X, "shape") else np.asarray(X, dtype=object if isinstance(next(iter(X)), str) else None)
    if values.ndim == 1:
        first, second = word_features(list(values), () if other is None else list(other))
        return first, None if other is None else second
    return np.asarray(values, dtype=np.float64), None if other is None else np.asarray(other, dtype=np.float64)
