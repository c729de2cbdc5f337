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
    """Row numbers of the two parts of a training set, disjoint, both sorted."""

    train_rows: np.ndarray
    meta_rows: np.ndarray


def split_meta(
    labels: torch.Tensor,
    num_classes: int,
    per_class: int,
    *,
    seed: int,
    avoid: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
) -> MetaSplit:
    """Draw a class-balanced meta set from the training rows.

    A class with fewer than `2 * per_class` usable rows gives half of them, with a warning.

    Args:
        labels: `(N,)`.
        num_classes: `K`.
        per_class: meta examples of each class.
        seed: of the draw; the global random state is not touched.
        avoid: `(N,)` bool, rows that must stay in training (texts that also occur elsewhere).
        class_names: for messages.

    Raises:
        ValueError: a class with fewer than two usable rows: it cannot be both trained on and in the meta set.
    """
    generator = np.random.default_rng(seed)
    y = labels.numpy()
    usable = np.ones(len(y), dtype=bool) if avoid is None else ~avoid
    chosen, short = [], []
    for k in range(num_classes):
        rows = np.flatnonzero((y == k) & usable)
        total = int((y == k).sum())
        if total == 0:  # a class of tokens, of which every sequence also has a rarer one
            continue
        take = min(per_class, len(rows), total // 2)
        name = class_names[k] if class_names else str(k)
        if take == 0:
            raise ValueError(
                f"Expected at least 2 distinct training examples of every class, to train on and to split off the "
                f"meta set, but class {name} "
                f"has {total}. Pass a `meta_dataset` of your own, or remove the class."
            )
        if take < per_class:
            short.append(f"{name}: {take}")
        chosen.append(generator.permutation(rows)[:take])
    if short:
        logger.warning(
            "The meta set has fewer than %d examples of %d classes (%s): they have too few training examples. "
            "Collect more, or lower "
            "`meta_examples_per_class`.",
            per_class,
            len(short),
            ", ".join(short[:10]),
        )
    meta_rows = np.sort(np.concatenate(chosen))
    return MetaSplit(np.setdiff1d(np.arange(len(y)), meta_rows), meta_rows)


def rows_seen_elsewhere(dataset: Any, others: Sequence[Any]) -> np.ndarray:
    """`(N,)` bool: rows whose inputs occur twice in `dataset`, or in one of `others`; all False where contents cannot
    be compared.
    """
    own = row_hashes(dataset)
    if own is None:
        return np.zeros(len(dataset), dtype=bool)
    values, inverse, counts = np.unique(own, return_inverse=True, return_counts=True)
    seen = counts[inverse] > 1
    for other in others:
        # On the columns that both have: one more column in either would make every row look new.
        own, hashes = row_hashes(dataset, like=other), row_hashes(other, like=dataset)
        if own is not None and hashes is not None:
            seen |= np.isin(own, hashes)
    return seen
