"""A weight for every row of a data set, the rows of the meta set included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from hf_otw.audit.labelled import RIGHT, UNKNOWN, WRONG, Labelled
from hf_otw.config.build import build_class_mass
from hf_otw.learn import learn_weights
from hf_otw.weighting import CleanPosterior, WeightModel
from hf_otw.weighting.models.clean_posterior import FLOOR

#: Share of its rows' worth below which a class is at risk: without trusted examples its doubts are not believed.
LITTLE = 1 / 3


class Weighed(NamedTuple):
    """Weights of `N` rows.

    Attributes:
        weights: `(N,)`, mean 1, scaled to the mass of the classes.
        class_totals: `(K,)`, share of the total weight that each class holds.
        ess: effective sample size.
        quality: `(N,)`, weight before that scaling over the largest: near 1 where nothing speaks against a label, near
            0 where it is surely wrong.
        kept: `(K,)`, mean quality of each class's rows.
        levelled: `(K,)` bool, classes whose rows are weighted alike because little would have been left of them.
    """

    weights: np.ndarray
    class_totals: np.ndarray
    ess: float
    quality: np.ndarray
    kept: np.ndarray
    levelled: np.ndarray


def weigh_rows(rows: Labelled, **options: object) -> Weighed:
    """Weigh loaded rows; options as in `weigh`."""
    trusted = {"meta_features": rows.meta_features, "meta_labels": rows.meta_labels, "known": rows.known}
    return weigh(rows.features, rows.labels, class_names=rows.class_names, **{**trusted, **options})  # type: ignore[arg-type]


def weigh(
    features: np.ndarray,
    labels: np.ndarray,
    meta_features: np.ndarray | None = None,
    meta_labels: np.ndarray | None = None,
    *,
    weighting: str | WeightModel = "clean_posterior",
    target_mass: str = "balanced",
    level: bool = True,
    meta_per_class: int = 10,
    seed: int = 0,
    class_names: Sequence[str] | None = None,
    known: np.ndarray | None = None,
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
        target_mass: how much weight each class gets: `balanced` (the same), `square_root` (of what its rows are
            worth) or `class_prior` (what they are worth).
        level: weigh the rows of a class alike where doubts would leave less than a third of it, unless there are
            trusted examples.
        meta_per_class: rows of each class in a drawn meta set.
        seed: of the draw.
        class_names: for messages.
        known: `(N,)`, labels that are known to be right (1) or wrong (-1); right ones are trusted examples.

    Raises:
        ValueError: a class with fewer than two rows and no trusted examples, or see `learn_weights`.
    """
    num_classes = int(labels.max()) + 1
    class_mass = build_class_mass(target_mass)
    known = np.full(len(labels), UNKNOWN) if known is None else known
    has_trusted = meta_labels is not None or bool((known == RIGHT).any())
    found = np.full(len(labels), np.nan)
    for rows, meta in parts(labels, num_classes, known, meta_labels is None, meta_per_class, seed, class_names):
        own = [features[meta]] if meta_features is None else [meta_features, features[meta]]
        own_labels = [labels[meta]] if meta_labels is None else [meta_labels, labels[meta]]
        absent = ~np.isin(labels[meta], labels[rows])
        rows = np.concatenate([rows, meta[absent]])  # classes whose rows are all trusted
        found[rows] = solve(features[rows], labels[rows], np.concatenate(own), np.concatenate(own_labels), weighting)
    largest = np.nanmax(found) if np.isfinite(found).any() else 1.0
    quality = np.where(known == RIGHT, 1.0, np.where(known == WRONG, FLOOR, found / largest))
    counts = np.bincount(labels, minlength=num_classes)
    kept = np.bincount(labels, quality, minlength=num_classes) / np.maximum(counts, 1)
    levelled = (kept < LITTLE) & (counts > 0) & (level and not has_trusted)
    worth = np.where(levelled[labels], kept[labels], quality)
    totals = np.bincount(labels, worth, minlength=num_classes)
    mass = class_mass(torch.from_numpy(totals)).numpy() * (totals > 0)
    weights = worth * (mass / np.maximum(totals, np.finfo(float).tiny))[labels]
    weights = weights / weights.mean()
    shares = np.bincount(labels, weights, minlength=num_classes) / weights.sum()
    return Weighed(weights, shares, float(weights.sum() ** 2 / (weights**2).sum()), quality, kept, levelled)


def parts(
    labels: np.ndarray,
    num_classes: int,
    known: np.ndarray,
    draws: bool,
    per_class: int,
    seed: int,
    class_names: Sequence[str] | None,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows to weigh and, for each of these, rows that join the meta set."""
    trusted, open_rows = np.flatnonzero(known == RIGHT), np.flatnonzero(known == UNKNOWN)
    if not len(open_rows):
        return []
    enough = np.bincount(labels[trusted], minlength=num_classes) >= per_class
    if not draws or enough[np.unique(labels)].all():
        return [(open_rows, trusted)]
    generator = np.random.default_rng(seed)
    first, second = [], []
    for k in np.unique(labels).tolist():
        rows, own = generator.permutation(open_rows[labels[open_rows] == k]), int((labels[trusted] == k).sum())
        if len(rows) + own < 2:
            name = class_names[k] if class_names else str(k)
            raise ValueError(f"Expected 2 rows or more of every class, got 1 of {name!r}. Drop it, or collect more.")
        take = 0 if enough[k] else min(per_class - own, len(rows) // 2)
        take = max(take, 0 if own else 1)
        first.append(rows[:take])
        second.append(rows[take : 2 * take])
    drawn, other = np.concatenate(first), np.concatenate(second)
    # The first weighs all rows but its own, which the second weighs.
    return [
        (np.setdiff1d(open_rows, other), np.concatenate([trusted, other])),
        (np.setdiff1d(open_rows, drawn), np.concatenate([trusted, drawn])),
    ]


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
    # Class masses are set afterwards, over both parts. The others do not read one.
    mass = "class_prior" if weighting == "clean_posterior" else None
    result = learn_weights(
        features, labels, meta_features, meta_labels, weighting=weighting, target_mass=mass, target_points="examples"
    )
    return np.asarray(result.weights)
