"""Content of the report page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_otw.report.formatting import (
    check_fractions,
    check_metrics,
)

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, eq=False)
class ReportData:
    """Content of the report on a run over `n` training examples in `K` classes.

    Args:
        title (`str`): heading of the page.
        class_names (`list[str]`): name of each class.
        class_counts (`list[int]`): training examples of each class.
        class_totals (`list[float]`): share of the total weight that each class holds.
        weights (`np.ndarray`): learned weight of each training example.
        labels (`np.ndarray`): class of each training example.
        texts (`list[str]`, *optional*): text of each training example.
        plain (`dict[str, list[float]]`, *optional*): metrics of plain training, a value a seed; fractions in [0, 1].
        ot (`dict[str, list[float]]`): the same with the learned weights. See `hf_otw.summary.METRICS` for the names.
        plain_recall (`list[float]`, *optional*): recall of each class on the test set after plain training.
        ot_recall (`list[float]`): the same with the learned weights; NaN for a class that the test set lacks.
        settings (`dict[str, str]`): model, data, steps, seeds, preset, versions and so on, in the order to show.

    Shape:
        - class_names, class_counts, class_totals, plain_recall, ot_recall: `K` entries; class_totals sums to 1.
        - weights: `(n,)`, finite, non-negative, mean 1.
        - labels: `(n,)`, integers in `0..K-1`. texts: `n` entries.

    Raises:
        ValueError: lengths that do not fit, no example, or values outside the ranges above.
    """

    title: str
    class_names: list[str]
    class_counts: list[int]
    class_totals: list[float]
    weights: np.ndarray
    labels: np.ndarray
    texts: list[str] | None
    plain: dict[str, list[float]] | None
    ot: dict[str, list[float]]
    plain_recall: list[float] | None
    ot_recall: list[float]
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        num_classes, n = len(self.class_names), len(self.weights)
        if num_classes == 0 or n == 0:
            raise ValueError(f"Expected at least one class and one training example, got {num_classes} and {n}.")
        for name in ("class_counts", "class_totals", "plain_recall", "ot_recall"):
            _check_length(name, self.__dict__[name], num_classes, "class")
        for name in ("labels", "texts"):
            _check_length(name, self.__dict__[name], n, "row of `weights`")
        if not (np.isfinite(self.weights).all() and self.weights.min() >= 0 and abs(self.weights.mean() - 1) < 0.01):
            low, mean = self.weights.min(), self.weights.mean()
            raise ValueError(
                f"Expected finite `weights` >= 0 with mean 1, got minimum {low:.4g} and mean {mean:.4g}. "
                "Please divide them by their mean."
            )
        if self.labels.min() < 0 or self.labels.max() >= num_classes:
            low, high = self.labels.min(), self.labels.max()
            raise ValueError(
                f"Expected `labels` in 0..{num_classes - 1}, as many as `class_names`, got {low}..{high}."
            )
        if min(self.class_totals) < 0 or abs(sum(self.class_totals) - 1) > 0.01:
            raise ValueError(
                f"Expected `class_totals` >= 0 that sum to 1, got {self.class_totals}, which sum to "
                f"{sum(self.class_totals):.4g}. Please divide them by their sum."
            )
        if min(self.class_counts) < 0 or sum(self.class_counts) == 0:
            raise ValueError(f"Expected `class_counts` >= 0, not all 0, got {self.class_counts}.")
        check_metrics(self.ot, "ot")
        check_metrics(self.plain, "plain")
        check_fractions(self.ot_recall, "ot_recall")
        check_fractions(self.plain_recall, "plain_recall")


def _check_length(name: str, values: Any, expected: int, what: str) -> None:
    if values is not None and len(values) != expected:
        raise ValueError(f"Expected `{name}` to have {expected} values, one a {what}, got {len(values)}.")
