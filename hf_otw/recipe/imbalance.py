"""Long tails and wrong labels, made from balanced and clean data with a fixed seed."""

from __future__ import annotations

import numpy as np


def long_tail_counts(num_classes: int, largest: int, factor: float) -> list[int]:
    """Exponential profile: class k keeps `largest * factor ** (-k / (K - 1))` rows, at least one.

    Args:
        num_classes: `K`.
        largest: rows of class 0.
        factor: rows of class 0 over those of class K - 1, at least 1.

    Returns:
        `list[int]`: `(K,)`, never rising.

    Raises:
        ValueError: a factor below 1, or no rows.

    References:
        - Cui et al. 2019, https://huggingface.co/papers/1901.05555, the long-tailed CIFAR of the literature.
    """
    if factor < 1 or largest < 1:
        raise ValueError(f"Expected imbalance_factor >= 1 and at least one row, got {factor} and {largest}. Use 100.")
    # A hair is added, as 1000 * 100 ** -1 is 10.000000000000002 or 9.999999999999998 by the machine.
    return [max(1, int(largest * factor ** (-k / max(1, num_classes - 1)) + 1e-9)) for k in range(num_classes)]


def long_tail_rows(
    labels: np.ndarray, num_classes: int, factor: float, *, largest: int | None = None, seed: int = 0
) -> np.ndarray:
    """Rows of a long-tailed subset. A class that has fewer rows than the profile asks for keeps all it has.

    Args:
        labels: `(N,)`, classes in `0..K-1`.
        num_classes: `K`.
        factor: of the profile.
        largest: rows of class 0; those of the most frequent class by default.
        seed: of the draw; the global random state is not touched.

    Returns:
        `np.ndarray`: row numbers, sorted.
    """
    available = np.bincount(labels, minlength=num_classes)
    top = int(available.max()) if largest is None else min(largest, int(available.max()))
    return capped_rows(labels, long_tail_counts(num_classes, top, factor), seed=seed)


def capped_rows(labels: np.ndarray, caps: list[int], *, seed: int = 0) -> np.ndarray:
    """At most `caps[k]` random rows of each class k, sorted."""
    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(np.flatnonzero(labels == k))[:cap] for k, cap in enumerate(caps)]
    return np.sort(np.concatenate(chosen))


def uniform_noise(labels: np.ndarray, num_classes: int, rate: float, *, seed: int = 0) -> np.ndarray:
    """Replace a share of the labels by another class, each other class being as likely.

    Args:
        labels: `(N,)`, classes in `0..K-1`.
        num_classes: `K`, at least 2.
        rate: share that is replaced, in [0, 1]: exactly `round(rate * N)` labels are wrong afterwards.
        seed: of the draw; the global random state is not touched.

    Returns:
        `np.ndarray`: new labels `(N,)`.

    Raises:
        ValueError: a rate outside [0, 1], or fewer than two classes.
    """
    if not 0 <= rate <= 1 or num_classes < 2:
        raise ValueError(f"Expected label_noise in [0, 1] and 2 classes or more, got {rate} and {num_classes}.")
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(labels))[: round(rate * len(labels))]
    noisy = labels.copy()
    noisy[rows] = (labels[rows] + rng.integers(1, num_classes, len(rows))) % num_classes
    return noisy


def similar_noise(
    labels: np.ndarray, features: np.ndarray, num_classes: int, rate: float, *, seed: int = 0
) -> np.ndarray:
    """Replace a share of each class's labels by the class that is easiest to take it for.

    That is the one whose mean feature has the smallest angle to the class's own, all means centred.

    Args:
        labels: `(N,)`, classes in `0..K-1`, each with a row.
        features: `(N, D)`.
        num_classes: `K`, at least 2.
        rate: share of each class that is replaced, in [0, 1].
        seed: of the draw; the global random state is not touched.

    Returns:
        `np.ndarray`: new labels `(N,)`.

    Raises:
        ValueError: a rate outside [0, 1], or fewer than two classes.
    """
    if not 0 <= rate <= 1 or num_classes < 2:
        raise ValueError(f"Expected label_noise in [0, 1] and 2 classes or more, got {rate} and {num_classes}.")
    means = np.stack([features[labels == k].mean(axis=0) for k in range(num_classes)])  # (K, D)
    means = means - means.mean(axis=0)
    unit = means / np.linalg.norm(means, axis=1, keepdims=True).clip(1e-12)
    cosines = unit @ unit.T  # (K, K)
    np.fill_diagonal(cosines, -np.inf)
    nearest = cosines.argmax(axis=1)  # (K,)
    rng = np.random.default_rng(seed)
    noisy = labels.copy()
    for k in range(num_classes):
        own = rng.permutation(np.flatnonzero(labels == k))
        noisy[own[: round(rate * len(own))]] = nearest[k]
    return noisy
