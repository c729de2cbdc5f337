"""Metrics for imbalanced data: modules of `evaluate` that ship with the package and load without a network.

`evaluate` imports transformers, so it is imported when a metric is loaded and not before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from evaluate import EvaluationModule
    from transformers import EvalPrediction

__all__ = ["METRIC_NAMES", "load_metric", "make_compute_metrics", "metric_path"]

METRIC_NAMES = ("balanced_accuracy", "macro_f1", "shot_accuracy", "per_class_recall")


def metric_path(name: str) -> str:
    """Return the local path of a metric of this package, for `evaluate.load` and `evaluate.combine`.

    Args:
        name (`str`): One of `METRIC_NAMES`.

    Returns:
        `str`: The absolute path of the module `<name>.py`.

    Raises:
        ValueError: `name` is not a metric of this package.

    Example:
    ```py
    >>> metrics = evaluate.combine([metric_path("balanced_accuracy"), metric_path("macro_f1")])
    ```
    """
    if name not in METRIC_NAMES:
        raise ValueError(
            f"hf_otw.metrics expects one of {list(METRIC_NAMES)}, but got {name!r}. Load any other metric with "
            "evaluate.load."
        )
    return str(Path(__file__).resolve().parent / name / f"{name}.py")


def load_metric(name: str) -> EvaluationModule:
    """Load a metric of this package, holding its examples in memory.

    By default `evaluate` spools examples to a file that every process of a machine shares; processes that evaluate at
    the same time then wait for each other's lock. In memory there is nothing to collide on. To let several processes
    fill *one* metric together, use `evaluate.load(metric_path(name), num_process=..., experiment_id=...)` instead.

    Args:
        name (`str`): One of `METRIC_NAMES`.

    Returns:
        `evaluate.EvaluationModule`: Its `compute(predictions=, references=)` takes `(N,)` class indices, and the
        keywords `class_counts` `(K,)` and `class_names` `(K,)`.

    Raises:
        ValueError: `name` is not a metric of this package.
    """
    path = metric_path(name)
    import evaluate

    return evaluate.load(path, keep_in_memory=True)


def make_compute_metrics(
    class_counts: Sequence[int],
    class_names: Sequence[str] | None = None,
    *,
    per_class: bool = False,
) -> Callable[[EvalPrediction], dict[str, float]]:
    """Make the function that `Trainer(compute_metrics=...)` expects, for single-label classification.

    Args:
        class_counts (`Sequence[int]`):
            `(K,)`, the number of *training* examples of each class; it decides which classes are few-shot.
        class_names (`Sequence[str]`, *optional*, defaults to the class indices):
            `(K,)`, distinct, in the order of the class indices.
        per_class (`bool`, *optional*, defaults to `False`):
            Whether to add the recall of each class as `recall/<class name>`.

    Returns:
        `Callable[[EvalPrediction], dict[str, float]]`: Takes logits `(N, K)`, or a tuple whose first element is the
        logits, or the classes `(N,)` if `preprocess_logits_for_metrics` has taken the argmax already; and labels
        `(N,)`. Gives `accuracy`, `balanced_accuracy`, `macro_f1`, `many_shot`, `medium_shot`, `few_shot`, all in
        [0, 1]. A group or a class without an example in the labels is left out: there is never a NaN.

    Raises:
        ValueError: `class_counts` is not K counts, or `class_names` is not K distinct names. The returned function
            raises it where predictions or labels do not have the shape, type or range above, or a logit is NaN.

    References:
        - Shot groups: https://huggingface.co/papers/1904.05160. The others: see each module.
    """
    import evaluate

    num_classes = len(class_counts)
    names = [str(k) for k in range(num_classes)] if class_names is None else list(class_names)
    metrics = evaluate.combine([load_metric(name) for name in METRIC_NAMES])
    arguments = {"class_counts": class_counts, "class_names": names}
    # One example through the metrics: their own checks of the counts and names fail here, not after the first epoch.
    metrics.compute(predictions=[0], references=[0], **arguments)

    def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
        predicted = _predicted_classes(prediction.predictions, num_classes)  # (N,)
        labels = _check_labels(prediction.label_ids, len(predicted), num_classes)  # (N,)
        scores = metrics.compute(predictions=predicted, references=labels, **arguments)
        recall = scores.pop("per_class_recall")
        scores = {"accuracy": float((predicted == labels).mean()), **scores}
        return scores | {f"recall/{name}": value for name, value in recall.items()} if per_class else scores

    return compute_metrics


def _predicted_classes(predictions: np.ndarray | tuple[np.ndarray, ...], num_classes: int) -> np.ndarray:
    """Return the class `(N,)` of the largest logit of each row; the lowest such class on a tie."""
    # Models that also return hidden states or attentions reach us as a tuple, with the logits first.
    logits = np.asarray(predictions[0] if isinstance(predictions, tuple) else predictions)
    if logits.ndim == 1 and np.issubdtype(logits.dtype, np.integer):
        if len(logits) and (logits.min() < 0 or logits.max() >= num_classes):
            raise ValueError(
                f"compute_metrics expects predicted classes in 0..{num_classes - 1}, but got "
                f"{logits.min()}..{logits.max()}. Pass make_compute_metrics a count for each of the model's classes."
            )
        return logits
    if logits.ndim != 2 or logits.shape[1] != num_classes:
        raise ValueError(
            f"compute_metrics expects logits (N, {num_classes}), one column per entry of `class_counts`, but got "
            f"shape {logits.shape}. Pass make_compute_metrics a count for each of the model's classes, or return only "
            "the logits from preprocess_logits_for_metrics."
        )
    nan_rows = np.isnan(logits).any(axis=1)  # (N,)
    if nan_rows.any():
        raise ValueError(
            f"compute_metrics expects logits without NaN, but {nan_rows.sum()} of {len(logits)} rows have one, and "
            "argmax would call it a class. The model has diverged: lower the learning rate, or train in a wider dtype."
        )
    return logits.argmax(axis=1)


def _check_labels(label_ids: np.ndarray | tuple[np.ndarray, ...], num_examples: int, num_classes: int) -> np.ndarray:
    """Return the labels as `(N,)` integers in 0..K-1, or raise a ValueError."""
    if isinstance(label_ids, tuple):
        raise ValueError(
            f"compute_metrics expects one array of labels, but got a tuple of {len(label_ids)}. Set "
            "TrainingArguments.label_names to the class labels only."
        )
    labels = np.asarray(label_ids)
    if labels.shape != (num_examples,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"compute_metrics expects labels ({num_examples},) of integers, one class per example, but got shape "
            f"{labels.shape} of {labels.dtype}. Token, multi-label and regression tasks need metrics of their own."
        )
    if num_examples == 0 or labels.min() < 0 or labels.max() >= num_classes:
        received = f"{labels.min()}..{labels.max()}" if num_examples else "no labels"
        raise ValueError(
            f"compute_metrics expects labels in 0..{num_classes - 1}, but got {received}. Drop unlabelled examples "
            "from the evaluation set, and pass make_compute_metrics a count for each class."
        )
    return labels
