"""Per-class recall as a module of `evaluate`. The file stands alone: `evaluate` copies it into its own cache."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import datasets
import evaluate
import numpy as np
from sklearn.metrics import recall_score

_DESCRIPTION = """
Per-class recall: for each class, the fraction of its examples that were predicted to be of it (also called per-class
accuracy). Its mean over the classes that occur in the references is balanced accuracy.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: `(N,)` integers in 0..K-1, the predicted class of each example.
    references: `(N,)` integers in 0..K-1, the true class of each example.
    class_counts: `(K,)`, only its length is used: it says how many classes there are.
    class_names: `(K,)` distinct strings; with them the result is a dict by name. Without either, K is one more than
        the largest class seen.
Returns:
    `{"per_class_recall": list}` of K entries in [0, 1], with None where a class has no example in the references; or,
    with `class_names`, `{"per_class_recall": dict}` without the classes that have none. There is never a NaN.
Raises:
    ValueError: there are no examples, a class is outside 0..K-1, the names are not distinct, or `class_names` and
        `class_counts` differ in length.
Examples:
    >>> metric = evaluate.load("hf_otw/metrics/per_class_recall")
    >>> metric.compute(predictions=[0, 1, 2], references=[0, 0, 2])
    {'per_class_recall': [0.5, None, 1.0]}
    >>> metric.compute(predictions=[0, 1, 2], references=[0, 0, 2], class_names=["cat", "dog", "owl"])
    {'per_class_recall': {'cat': 0.5, 'owl': 1.0}}
"""

_CITATION = """
@article{pedregosa2011scikit,
  title = {Scikit-learn: Machine Learning in {P}ython},
  author = {Pedregosa, F. and Varoquaux, G. and Gramfort, A. and Michel, V. and Thirion, B. and others},
  journal = {Journal of Machine Learning Research},
  volume = {12},
  pages = {2825--2830},
  year = {2011}
}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class PerClassRecall(evaluate.Metric):
    """The recall of each class, by index or by name."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
            ),
            reference_urls=["https://scikit-learn.org/stable/modules/generated/sklearn.metrics.recall_score.html"],
            format="numpy",
        )

    def _compute(
        self,
        *,
        predictions: np.ndarray,
        references: np.ndarray,
        class_counts: Sequence[int] | None = None,
        class_names: Sequence[str] | None = None,
    ) -> dict[str, list[float | None] | dict[str, float]]:
        if len(references) == 0:
            raise ValueError("per_class_recall expects at least one example, but got 0. Add some first.")
        num_classes = _count_classes(class_counts, class_names)
        if num_classes is None:
            num_classes = int(max(predictions.max(), references.max())) + 1
        for name, classes in (("predictions", predictions), ("references", references)):
            if classes.min() < 0 or classes.max() >= num_classes:
                raise ValueError(
                    f"per_class_recall expects {name} in 0..{num_classes - 1}, as there are {num_classes} classes, "
                    f"but got {classes.min()}..{classes.max()}. Name or count every class, and drop ignored positions."
                )
        present = np.unique(references)  # (P,), P <= K
        recall = recall_score(references, predictions, labels=present, average=None)  # (P,)
        by_class = dict(zip(present.tolist(), recall.tolist(), strict=True))
        if class_names is None:
            return {"per_class_recall": [by_class.get(k) for k in range(num_classes)]}
        return {"per_class_recall": {class_names[k]: value for k, value in by_class.items()}}


def _count_classes(class_counts: Sequence[int] | None, class_names: Sequence[str] | None) -> int | None:
    """Return K as the names and the counts agree on it, or None where neither is given."""
    if class_names is None:
        return None if class_counts is None else len(class_counts)
    if class_counts is not None and len(class_counts) != len(class_names):
        raise ValueError(
            f"per_class_recall expects one name per class, but got {len(class_names)} `class_names` for "
            f"{len(class_counts)} `class_counts`. Pass both in the order of the class indices."
        )
    repeated = [name for name, times in Counter(class_names).items() if times > 1]
    if repeated:
        raise ValueError(
            f"per_class_recall expects distinct `class_names`, but got {repeated} more than once. Rename them, or "
            "leave `class_names` out and read the recalls by class index."
        )
    return len(class_names)
