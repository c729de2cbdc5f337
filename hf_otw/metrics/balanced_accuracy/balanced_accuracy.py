"""Balanced accuracy as a module of `evaluate`. The file stands alone: `evaluate` copies it into its own cache."""

from __future__ import annotations

from collections.abc import Sequence

import datasets
import evaluate
import numpy as np
from sklearn.metrics import recall_score

_DESCRIPTION = """
Balanced accuracy: the recall of every class that occurs in the references, averaged with equal weight per class. On a
class-balanced test set it equals accuracy; a classifier that ignores its input scores 1/K whatever the imbalance.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: `(N,)` integers, the predicted class of each example.
    references: `(N,)` integers >= 0, the true class of each example.
    class_counts, class_names: not used here. The modules of hf_otw share one signature, because `evaluate.combine`
        hands the same keywords to every module.
Returns:
    `{"balanced_accuracy": float}`, in [0, 1]. Classes that are predicted but never referenced lower the recall of the
    classes they were mistaken for; they have no recall of their own.
Raises:
    ValueError: there are no examples, or a reference is negative.
Examples:
    >>> metric = evaluate.load("hf_otw/metrics/balanced_accuracy")
    >>> metric.compute(predictions=[0, 0, 0, 0], references=[0, 0, 0, 1])
    {'balanced_accuracy': 0.5}
"""

_CITATION = """
@inproceedings{brodersen2010balanced,
  title = {The Balanced Accuracy and Its Posterior Distribution},
  author = {Brodersen, Kay Henning and Ong, Cheng Soon and Stephan, Klaas Enno and Buhmann, Joachim M.},
  booktitle = {International Conference on Pattern Recognition},
  year = {2010},
  doi = {10.1109/ICPR.2010.764}
}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class BalancedAccuracy(evaluate.Metric):
    """The mean recall of the referenced classes."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
            ),
            reference_urls=["https://doi.org/10.1109/ICPR.2010.764"],
            format="numpy",
        )

    def _compute(
        self,
        *,
        predictions: np.ndarray,
        references: np.ndarray,
        class_counts: Sequence[int] | None = None,
        class_names: Sequence[str] | None = None,
    ) -> dict[str, float]:
        if len(references) == 0:
            raise ValueError("balanced_accuracy expects at least one example, but got 0. Add some first.")
        if references.min() < 0:
            raise ValueError(
                f"balanced_accuracy expects references >= 0, but got {references.min()}. Drop ignored positions first."
            )
        # sklearn's balanced_accuracy_score is the same number, but it warns on a class that is predicted and never
        # referenced, and on a single class. Naming the referenced classes asks for exactly what is defined.
        present = np.unique(references)  # (P,), P <= K
        score = recall_score(references, predictions, labels=present, average="macro")
        return {"balanced_accuracy": float(score)}
