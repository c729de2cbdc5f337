"""What a method is judged by."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import f1_score, recall_score
from torch import Tensor

FEW = 20
NUM_BINS = 15


def scores(logits: Tensor, labels: Tensor, groups: Tensor, class_counts: Tensor) -> dict[str, float]:
    """Accuracy, balanced accuracy, macro F1, recall of classes with fewer than 20 training rows, recall of the worst
    class and of the worst subgroup, and expected calibration error in 15 bins (Guo et al. 2017).

    Args:
        logits: `(T, K)`.
        labels: `(T,)`.
        groups: `(T,)`, finer than the labels, or the labels again.
        class_counts: `(K,)`, of the training labels as given.
    """
    found, true = logits.argmax(1).numpy(), labels.numpy()
    present = np.unique(true)
    recalls = recall_score(true, found, labels=present, average=None)  # (P,)
    few = class_counts.numpy()[present] < FEW
    result = {
        "accuracy": float((found == true).mean()),
        "balanced_accuracy": float(recalls.mean()),
        "macro_f1": float(f1_score(true, found, labels=present, average="macro", zero_division=0)),
        "worst_class": float(recalls.min()),
        "worst_group": float(min((found == true)[groups.numpy() == g].mean() for g in groups.unique().tolist())),
        "expected_calibration_error": calibration_error(logits, labels),
    }
    return result | ({"few_shot": float(recalls[few].mean())} if few.any() else {})


def balanced_accuracy(logits: Tensor, labels: Tensor) -> float:
    """Mean of the recalls of the classes that are there. Shape: logits `(T, K)`, labels `(T,)`."""
    right = (logits.argmax(dim=1) == labels).double()
    counts = labels.bincount().double()
    recalls = labels.bincount(weights=right)[counts > 0] / counts[counts > 0]
    return float(recalls.mean())


def calibration_error(logits: Tensor, labels: Tensor) -> float:
    """Mean over the bins of |confidence - accuracy|, weighted by the rows in them."""
    confidence, found = logits.softmax(1).max(1)
    right = (found == labels).double().numpy()
    bins = np.minimum((confidence.numpy() * NUM_BINS).astype(int), NUM_BINS - 1)
    gaps = [
        (bins == b).mean() * abs(confidence.double().numpy()[bins == b].mean() - right[bins == b].mean())
        for b in np.unique(bins)
    ]
    return float(np.sum(gaps))
