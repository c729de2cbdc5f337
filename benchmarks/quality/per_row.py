"""Which test rows a run got right, in a few bytes, so that a report can tell what the test set's sampling does."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
from torch import Tensor

Row = dict[str, Any]


def pack(logits: Tensor, labels: Tensor) -> Row:
    """Test rows of each class, and a bit a row, whether it is right, in the order of the classes.

    Args:
        logits: `(T, K)`.
        labels: `(T,)`.
    """
    order = labels.argsort(stable=True)
    right = (logits.argmax(dim=1) == labels)[order].numpy()
    packed = zlib.compress(np.packbits(right).tobytes(), 9)
    return {"test_counts": labels.bincount().tolist(), "right": base64.b85encode(packed).decode("ascii")}


def unpack(row: Row) -> list[np.ndarray]:
    """Of each class of the test set, whether its rows are right, `(T_k,)` bool; classes without rows are left out."""
    counts = [count for count in row["test_counts"] if count]
    packed = np.frombuffer(zlib.decompress(base64.b85decode(row["right"])), dtype=np.uint8)
    right = np.unpackbits(packed, count=sum(counts)).astype(bool)
    return np.split(right, np.cumsum(counts)[:-1])


def sampling_variance(first: list[Row], second: list[Row]) -> float:
    """Variance, over bootstrap samples of each class's test rows, of the difference between two methods' balanced
    accuracy, mean over the seeds that both have.

    A sample of a class draws as many of its rows with replacement; its mean then has the variance of the rows over
    their number, so that nothing needs to be drawn. A class with a single row adds nothing, which is too little.

    Args:
        first: a row a seed.
        second: rows of the same seeds, in the same order.
    """
    differences = [
        [one.astype(float) - other for one, other in zip(unpack(a), unpack(b), strict=True)]
        for a, b in zip(first, second, strict=True)
    ]
    of_classes = [np.mean(same_class, axis=0) for same_class in zip(*differences, strict=True)]  # (T_k,) each
    return float(sum(rows.var() / len(rows) for rows in of_classes) / len(of_classes) ** 2)
