"""Split a class-balanced meta set off the training rows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from hf_otw.data.overlap import row_hashes

logger = logging.getLogger(__name__)


class MetaSplit(NamedTuple):
    """Row numbers of the parts of a training set, disjoint, each sorted.

    Attributes:
        train_rows: trained on, with weights that are learned.
        meta_rows: the meta set.
        unweighted_rows: trained on with weight 1: of classes that have no meta examples.
    """

    train_rows: np.ndarray
    meta_rows: np.ndarray
    unweighted_rows: np.ndarray


def split_meta(
    labels: torch.Tensor,
    num_classes: int,
    per_class: int,
    *,
    seed: int,
    copies: np.ndarray | None = None,
    avoid: np.ndarray | None = None,
    labelled: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
    keep_single_rows: bool = False,
) -> MetaSplit:
    """Draw a class-balanced meta set from the training rows.

    A class with fewer than `2 * per_class` distinct rows gives half of them, with a warning. Copies of a meta row
    leave the training set with it.

    Args:
        labels: `(N,)`.
        num_classes: `K`.
        per_class: meta examples of each class.
        seed: of the draw; the global random state is not touched.
        copies: `(N,)`, equal numbers for rows of equal content; all distinct by default.
        avoid: `(N,)` bool, rows whose content an evaluation set has too: taken only where a class has no others.
        labelled: `(N,)` bool, rows that have a class; all by default. The others are trained on with weight 1.
        class_names: for messages.
        keep_single_rows: a class with a single distinct row gives none and is trained on with weight 1.

    Raises:
        ValueError: a class with a single distinct row; with `keep_single_rows`, all classes have one.
    """
    generator = np.random.default_rng(seed)
    y = labels.numpy()
    content = np.arange(len(y)) if copies is None else copies
    avoid = np.zeros(len(y), dtype=bool) if avoid is None else avoid
    weighed = np.ones(len(y), dtype=bool) if labelled is None else labelled.copy()
    chosen, short, alone, shared = [], {}, [], 0
    for k in range(num_classes):
        rows = np.flatnonzero((y == k) & weighed)
        if not len(rows):  # nothing to train on, or a class of tokens of which every sequence has a rarer one
            continue
        _, first = np.unique(content[rows], return_index=True)
        distinct = rows[np.sort(first)]
        take = min(per_class, len(distinct) // 2)
        name = class_names[k] if class_names else str(k)
        if take == 0:
            if not keep_single_rows:
                raise ValueError(
                    f"Expected at least 2 distinct training examples of every class, to train on and to split off the "
                    f"meta set, but class {name} has {len(distinct)}. Pass a `meta_dataset`, or remove the "
                    "class."
                )
            alone.append(name)
            weighed[rows] = False
            continue
        if take < per_class:
            short[name] = take
        drawn = generator.permutation(distinct[~avoid[distinct]])[:take]
        if len(drawn) < take:
            more = generator.permutation(distinct[avoid[distinct]])[: take - len(drawn)]
            drawn, shared = np.concatenate([drawn, more]), shared + len(more)
        chosen.append(drawn)
    _tell(per_class, short, alone, shared)
    if not chosen:
        raise ValueError(
            "Expected a class with at least 2 distinct training examples, to train on and to split off the meta set, "
            f"but all {len(alone)} classes have one. Pass a `meta_dataset` of your own, or use weighting='none'."
        )
    meta_rows = np.sort(np.concatenate(chosen))
    left = ~np.isin(content, content[meta_rows])
    return MetaSplit(np.flatnonzero(left & weighed), meta_rows, np.flatnonzero(left & ~weighed))


def _tell(per_class: int, short: dict[str, int], alone: list[str], shared: int) -> None:
    if short:
        logger.warning(
            "The meta set has fewer than %d examples of %d classes (%s): they have too few training examples. "
            "Collect more, or lower `meta_examples_per_class`.",
            per_class,
            len(short),
            ", ".join(f"{name}: {take}" for name, take in list(short.items())[:10]),
        )
    if alone:
        logger.warning(
            "%d classes have one distinct training example each (%s): they have no meta examples, and their examples "
            "are trained on with weight 1.",
            len(alone),
            ", ".join(alone[:10]),
        )
    if shared:
        logger.warning(
            "%d examples of the meta set are in an evaluation set too, as training and evaluation sets share rows: "
            "its metrics are not those of unseen examples. Evaluate on other rows, or pass a `meta_dataset`.",
            shared,
        )


def copies_of(dataset: Any) -> np.ndarray | None:
    """Equal numbers for rows of equal inputs, `(N,)`; None where contents cannot be compared."""
    own = row_hashes(dataset)
    return None if own is None else np.unique(own, return_inverse=True)[1]


def rows_seen_in(dataset: Any, others: Sequence[Any]) -> np.ndarray:
    """`(N,)` bool: rows whose inputs occur in one of `others`; False where contents cannot be compared."""
    seen = np.zeros(len(dataset), dtype=bool)
    for other in others:
        # On the columns that both have: one more column in either would make every row look new.
        own, hashes = row_hashes(dataset, like=other), row_hashes(other, like=dataset)
        if own is not None and hashes is not None:
            seen |= np.isin(own, hashes)
    return seen
