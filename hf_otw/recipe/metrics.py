"""Metrics of one class an example, as `Trainer(compute_metrics=...)` takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from datasets import Dataset

from hf_otw.metrics import make_compute_metrics
from hf_otw.recipe.splits import class_labels, class_names

Metrics = Callable[[Any], dict[str, float]]


def single_label(train: Dataset) -> Metrics:
    """Accuracies, shot groups by the training counts, and recall of each class."""
    names = class_names(train)
    counts = np.bincount(class_labels(train), minlength=len(names)).tolist()
    return make_compute_metrics(counts, names, per_class=True)
