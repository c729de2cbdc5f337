"""Metrics of the tasks that `hf_otw.metrics` does not cover, as `Trainer(compute_metrics=...)` takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.metrics import average_precision_score, f1_score

from hf_otw.recipe.metrics import Metrics

IGNORED = -100


def multi_label(names: Sequence[str]) -> Metrics:
    """Average precision and F1, a mean over labels; labels that no test row has are left out."""

    def compute(prediction: Any) -> dict[str, float]:
        scores, truth = first(prediction.predictions), np.asarray(prediction.label_ids) > 0.5  # (N, K), (N, K)
        present = truth.any(axis=0)
        precision = average_precision_score(truth[:, present], scores[:, present], average=None)
        guess = scores > 0
        recall = (guess & truth).sum(axis=0) / truth.sum(axis=0).clip(1)
        found = {
            "macro_average_precision": float(np.mean(precision)),
            "macro_f1": float(f1_score(truth[:, present], guess[:, present], average="macro", zero_division=0)),
            "micro_f1": float(f1_score(truth[:, present], guess[:, present], average="micro", zero_division=0)),
        }
        return found | {f"recall/{name}": float(recall[k]) for k, name in enumerate(names) if present[k]}

    return compute


def tokens(names: Sequence[str]) -> Metrics:
    """Accuracy over tokens, and as a mean over classes; tokens with the label -100 do not count."""

    def compute(prediction: Any) -> dict[str, float]:
        labels = np.asarray(prediction.label_ids)
        keep = labels != IGNORED  # (N, T)
        guess, truth = first(prediction.predictions).argmax(axis=-1)[keep], labels[keep]
        recall = {name: float((guess[truth == k] == k).mean()) for k, name in enumerate(names) if (truth == k).any()}
        found = {
            "accuracy": float((guess == truth).mean()),
            "balanced_accuracy": float(np.mean(list(recall.values()))),
            "macro_f1": float(f1_score(truth, guess, average="macro", zero_division=0)),
        }
        return found | {f"recall/{name}": value for name, value in recall.items()}

    return compute


def token_losses(logits: Any, labels: torch.Tensor) -> torch.Tensor:
    """Sum of the token losses of each row and their number, `(B, 2)`: logits `(B, T, V)` are too many to keep."""
    logits = logits[0] if isinstance(logits, tuple) else logits
    after = labels[:, 1:]
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].float().flatten(0, 1), after.flatten(), ignore_index=IGNORED, reduction="none"
    )
    return torch.stack([losses.view_as(after).sum(dim=1), (after != IGNORED).sum(dim=1).to(losses)], dim=1)


def perplexities(groups: Sequence[int], names: Sequence[str]) -> Metrics:
    """Token loss and perplexity: over all tokens, as a mean over groups, and of the worst group.

    Args:
        groups: `(N,)`, of the test rows in their order.
        names: of the groups.
    """
    group = np.asarray(groups)

    def compute(prediction: Any) -> dict[str, float]:
        sums = np.asarray(first(prediction.predictions), dtype=np.float64)  # (N, 2)
        if sums.shape != (len(group), 2):
            raise ValueError(
                f"Expected one row of (loss, tokens) for each of the {len(group)} test rows, got shape {sums.shape}. "
                "Evaluate the test split as a whole, in its order."
            )
        loss = {name: _mean_loss(sums[group == k]) for k, name in enumerate(names) if (group == k).any()}
        mean = float(np.mean(list(loss.values())))
        found = {
            "token_loss": _mean_loss(sums),
            "group_loss": mean,
            "worst_group_loss": max(loss.values()),
            "perplexity": float(np.exp(_mean_loss(sums))),
            "group_perplexity": float(np.exp(mean)),
            "worst_group_perplexity": float(np.exp(max(loss.values()))),
        }
        return found | {f"perplexity/{name}": float(np.exp(value)) for name, value in loss.items()}

    return compute


def errors_by_bin(train_targets: np.ndarray, scale: float, bins: int = 5) -> Metrics:
    """Mean absolute error, over all rows and as a mean over bins of the target, in the target's own unit.

    Args:
        train_targets: `(N,)`, standardised; the bins are equally wide between their lowest and highest.
        scale: of one standardised unit.
        bins: how many; those without a test row are left out.
    """
    edges = np.linspace(train_targets.min(), train_targets.max(), bins + 1)[1:-1]

    def compute(prediction: Any) -> dict[str, float]:
        truth = np.asarray(prediction.label_ids).reshape(-1)
        error = scale * np.abs(first(prediction.predictions).reshape(-1) - truth)
        place = np.digitize(truth, edges)
        found = [float(error[place == k].mean()) for k in range(bins) if (place == k).any()]
        return {"mae": float(error.mean()), "balanced_mae": float(np.mean(found)), "worst_bin_mae": max(found)}

    return compute


def first(predictions: Any) -> np.ndarray:
    """The logits of a model that may return more."""
    return np.asarray(predictions[0] if isinstance(predictions, tuple) else predictions)


def _mean_loss(sums: np.ndarray) -> float:
    return float(sums[:, 0].sum() / max(sums[:, 1].sum(), 1))
