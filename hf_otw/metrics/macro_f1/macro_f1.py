"""Macro F1 as a module of `evaluate`. The file stands alone: `evaluate` copies it into its own cache."""

from __future__ import annotations

from collections.abc import Sequence

import datasets
import evaluate
import numpy as np
from sklearn.metrics import f1_score

_DESCRIPTION = """
Macro F1: the F1 score of every class, averaged with equal weight per class. The average runs over the classes that
occur in the references or in the predictions (the convention of scikit-learn), and is the mean of the F1 scores, not
the F1 of the mean precision and recall: the two differ, see https://huggingface.co/papers/1911.03347.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: `(N,)` integers, the predicted class of each example.
    references: `(N,)` integers >= 0, the true class of each example.
    class_counts, class_names: not used here. The modules of hf_otw share one signature, because `evaluate.combine`
        hands the same keywords to every module.
Returns:
    `{"macro_f1": float}`, in [0, 1]. A class that is predicted but never referenced, or the reverse, has an F1 of 0.
Raises:
    ValueError: there are no examples, or a reference is negative.
Examples:
    >>> metric = evaluate.load("hf_otw/metrics/macro_f1")
    >>> metric.compute(predictions=[0, 0, 1, 2], references=[0, 1, 1, 2])
    {'macro_f1': 0.7777777777777777}
"""

_CITATION = """
@article{opitz2019macro,
  title = {Macro {F1} and Macro {F1}},
  author = {Opitz, Juri and Burst, Sebastian},
  journal = {arXiv preprint arXiv:1911.03347},
  year = {2019}
}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class MacroF1(evaluate.Metric):
    """The mean F1 of the referenced and the predicted classes."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
            ),
            reference_urls=["https://huggingface.co/papers/1911.03347"],
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
            raise ValueError("macro_f1 expects at least one example, but got 0. Add some first.")
        if references.min() < 0:
            raise ValueError(
                f"macro_f1 expects references >= 0, but got {references.min()}. Drop ignored positions first."
            )
        return {"macro_f1": float(f1_score(references, predictions, average="macro"))}
