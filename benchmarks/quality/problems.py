"""What the methods are compared on: a data set, how long its tail is, and what is wrong with its labels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hf_otw.recipe.imbalance import capped_rows, long_tail_counts, similar_noise, uniform_noise

META_PER_CLASS = 10
#: A class needs rows to train on, to hold out, and for the meta set.
FEWEST_ROWS = 6


class Frozen(NamedTuple):
    """A data set as features of a pretrained model.

    Shape:
        - features: `(N, D)`, labels: `(N,)`, test_features: `(T, D)`, test_labels: `(T,)`.
    """

    features: np.ndarray
    labels: np.ndarray
    test_features: np.ndarray
    test_labels: np.ndarray


class Cell(NamedTuple):
    """One setting of the comparison.

    Attributes:
        dataset: a name of `benchmarks.quality.frozen.DATASETS`.
        imbalance_factor: rows of the most frequent class over those of the rarest; 0 leaves the data as they are.
        label_noise: share of the training labels that is wrong.
        noise_kind: `uniform`, or `similar`: the class whose mean feature is nearest.
        meta: `clean`; `noisy`, as the training set; `split`, off the training set with the labels found there.
        counts: training rows a class, in place of an imbalance factor.
        merged: class -> class that is learned. The tail is one of the classes before, which training does not know:
            hidden subgroups. The meta set and the test set hold as many of each.
    """

    dataset: str
    imbalance_factor: float = 0
    label_noise: float = 0.0
    noise_kind: str = "uniform"
    meta: str = "clean"
    counts: tuple[int, ...] = ()
    merged: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        tail = "-".join(str(count) for count in self.counts) or f"if{self.imbalance_factor:g}"
        noise = f"{self.noise_kind}{self.label_noise:g}" if self.label_noise else "clean"
        return f"{self.dataset}{'-merged' * bool(self.merged)}/{tail}/{noise}/{self.meta}"


class Problem(NamedTuple):
    """What a method sees of a cell, and the test set, which it does not.

    Shape:
        - features: `(n, D)`, labels: `(n,)`, meta_features: `(m, D)`, meta_labels: `(m,)`, test_features: `(T, D)`,
          test_labels: `(T,)`, test_groups: `(T,)`, subgroups, or the labels again.
    """

    features: Tensor
    labels: Tensor
    meta_features: Tensor
    meta_labels: Tensor
    test_features: Tensor
    test_labels: Tensor
    test_groups: Tensor
    num_classes: int

    @property
    def class_counts(self) -> Tensor:
        return torch.bincount(self.labels, minlength=self.num_classes)


def draw(data: Frozen, cell: Cell, seed: int) -> Problem:
    """Draw training and meta rows, make labels wrong, and standardise all features as the training rows are.

    Raises:
        ValueError: a kind of noise or of meta set that is unknown.
    """
    if cell.meta not in ("clean", "noisy", "split"):
        raise ValueError(f"Expected a meta set out of clean, noisy and split, got {cell.meta!r}.")
    groups, num_classes, pool = frequent_classes(data.labels)
    names = np.unique(data.labels[pool])
    keep_test = np.isin(data.test_labels, names)
    test_groups = np.searchsorted(names, data.test_labels[keep_test])
    rng = np.random.default_rng(seed)
    meta, rest = split_off(groups, META_PER_CLASS, rng)
    train = rest[subset(groups[rest], num_classes, cell, seed)]
    class_of = np.array(cell.merged or range(num_classes))
    labels, num_classes = class_of[groups], int(class_of.max()) + 1
    z = data.features[pool]
    given = corrupt(labels[train], z[train], num_classes, cell, seed)
    meta_given = labels[meta]
    if cell.meta == "noisy":
        meta_given = corrupt(labels[meta], z[meta], num_classes, cell, seed + 1)
    if cell.meta == "split":
        chosen, left = split_off(given, META_PER_CLASS, rng)
        meta, meta_given = train[chosen], given[chosen]
        train, given = train[left], given[left]
    mean, scale = z[train].mean(0), z[train].std(0) + 1e-6

    def tensors(features: np.ndarray, classes: np.ndarray) -> tuple[Tensor, Tensor]:
        return torch.tensor((features - mean) / scale, dtype=torch.float32), torch.tensor(classes)

    return Problem(
        *tensors(z[train], given),
        *tensors(z[meta], meta_given),
        *tensors(data.test_features[keep_test], class_of[test_groups]),
        torch.tensor(test_groups),
        num_classes,
    )


def hold_out(problem: Problem, seed: int, share: float = 0.2) -> Problem:
    """Put a share of each class's *training* rows, labels as given, in the place of the test set."""
    rng = np.random.default_rng(seed)
    labels = problem.labels.numpy()
    held = np.zeros(len(labels), dtype=bool)
    for k in range(problem.num_classes):
        own = rng.permutation(np.flatnonzero(labels == k))
        held[own[: round(share * len(own))]] = True
    out = torch.from_numpy(held)
    return problem._replace(
        features=problem.features[~out],
        labels=problem.labels[~out],
        test_features=problem.features[out],
        test_labels=problem.labels[out],
        test_groups=problem.labels[out],
    )


def frequent_classes(labels: np.ndarray) -> tuple[np.ndarray, int, np.ndarray]:
    """Labels `0..K-1` of the classes with enough rows, K, and the rows that have them."""
    names = np.flatnonzero(np.bincount(labels) >= FEWEST_ROWS)
    pool = np.flatnonzero(np.isin(labels, names))
    return np.searchsorted(names, labels[pool]), len(names), pool


def split_off(labels: np.ndarray, per_class: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """`per_class` random rows of each class, at most a third of it and at least one, and the other rows."""
    chosen = np.zeros(len(labels), dtype=bool)
    for k in np.unique(labels):
        own = rng.permutation(np.flatnonzero(labels == k))
        chosen[own[: max(1, min(per_class, len(own) // 3))]] = True
    return np.flatnonzero(chosen), np.flatnonzero(~chosen)


def subset(labels: np.ndarray, num_classes: int, cell: Cell, seed: int) -> np.ndarray:
    """Rows of the long tail that the cell asks for."""
    if cell.counts:
        return capped_rows(labels, list(cell.counts), seed=seed)
    if not cell.imbalance_factor:
        return np.arange(len(labels))
    largest = int(np.bincount(labels, minlength=num_classes).max())
    caps = long_tail_counts(num_classes, largest, cell.imbalance_factor)
    return capped_rows(labels, caps, seed=seed)


def corrupt(labels: np.ndarray, features: np.ndarray, num_classes: int, cell: Cell, seed: int) -> np.ndarray:
    """Labels with the cell's noise; every class keeps a row."""
    if not cell.label_noise:
        return labels
    if cell.noise_kind == "uniform":
        noisy = uniform_noise(labels, num_classes, cell.label_noise, seed=seed)
    elif cell.noise_kind == "similar":
        noisy = similar_noise(labels, features, num_classes, cell.label_noise, seed=seed)
    else:
        raise ValueError(f"Expected noise out of uniform and similar, got {cell.noise_kind!r}.")
    for k in np.setdiff1d(labels, noisy):  # gone altogether: one row stays as it was
        noisy[np.flatnonzero(labels == k)[0]] = k
    return noisy
