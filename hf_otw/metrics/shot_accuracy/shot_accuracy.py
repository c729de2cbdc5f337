"""Many/medium/few-shot accuracy as a module of `evaluate`. The file stands alone: `evaluate` copies it."""

from __future__ import annotations

from collections.abc import Sequence

import datasets
import evaluate
import numpy as np
from sklearn.metrics import recall_score

MANY_SHOT_ABOVE = 100  # training examples; Sec. 4.1 of the paper below: "over 100"
FEW_SHOT_BELOW = 20  # training examples; "under 20". Both bounds themselves are medium-shot.

_DESCRIPTION = """
Shot accuracy: accuracy on the classes with more than 100 training examples (many-shot), 20 to 100 (medium-shot) and
fewer than 20 (few-shot). Within a group it is the mean of the per-class accuracies, so each class counts once.
The groups are those of the paper, https://huggingface.co/papers/1904.05160; its published code counts a class of
exactly 100 as many-shot and one of exactly 20 as few-shot, we follow the text.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: `(N,)` integers in 0..K-1, the predicted class of each example.
    references: `(N,)` integers in 0..K-1, the true class of each example.
    class_counts: `(K,)` integers >= 0, the number of *training* examples of each class. Required.
    class_names: not used here. The modules of hf_otw share one signature, because `evaluate.combine` hands the same
        keywords to every module.
Returns:
    `{"many_shot": float, "medium_shot": float, "few_shot": float}`, in [0, 1]. A group is left out if none of its
    classes occurs in the references: there is never a NaN.
Raises:
    ValueError: `class_counts` is missing or is not K counts, there are no examples, or a class is outside 0..K-1.
Examples:
    >>> metric = evaluate.load("hf_otw/metrics/shot_accuracy")
    >>> metric.compute(predictions=[0, 0, 1, 0], references=[0, 0, 1, 1], class_counts=[500, 3])
    {'many_shot': 1.0, 'few_shot': 0.5}
"""

_CITATION = """
@inproceedings{liu2019large,
  title = {Large-Scale Long-Tailed Recognition in an Open World},
  author = {Liu, Ziwei and Miao, Zhongqi and Zhan, Xiaohang and Wang, Jiayun and Gong, Boqing and Yu, Stella X.},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
  year = {2019}
}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class ShotAccuracy(evaluate.Metric):
    """The mean recall of the many-, medium- and few-shot classes."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
            ),
            codebase_urls=["https://github.com/zhmiao/OpenLongTailRecognition-OLTR"],
            reference_urls=["https://huggingface.co/papers/1904.05160"],
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
        counts = _check_counts(class_counts)  # (K,)
        if len(references) == 0:
            raise ValueError("shot_accuracy expects at least one example, but got 0. Add some first.")
        for name, classes in (("predictions", predictions), ("references", references)):
            if classes.min() < 0 or classes.max() >= len(counts):
                raise ValueError(
                    f"shot_accuracy expects {name} in 0..{len(counts) - 1}, as `class_counts` has {len(counts)} "
                    f"classes, but got {classes.min()}..{classes.max()}. Count the classes with "
                    "np.bincount(train_labels, minlength=num_labels) and drop ignored positions."
                )
        present = np.unique(references)  # (P,), P <= K
        recall = recall_score(references, predictions, labels=present, average=None)  # (P,)
        shots = counts[present]  # (P,)
        groups = {
            "many_shot": shots > MANY_SHOT_ABOVE,
            "medium_shot": (shots >= FEW_SHOT_BELOW) & (shots <= MANY_SHOT_ABOVE),
            "few_shot": shots < FEW_SHOT_BELOW,
        }
        return {name: float(recall[members].mean()) for name, members in groups.items() if members.any()}


def _check_counts(class_counts: Sequence[int] | None) -> np.ndarray:
    """Return `class_counts` as `(K,)` integers, or raise a ValueError that says what is wrong with them."""
    remedy = "Pass class_counts=np.bincount(train_labels, minlength=num_labels)."
    if class_counts is None:
        raise ValueError(f"shot_accuracy expects `class_counts`, training examples per class, but got None. {remedy}")
    counts = np.asarray(class_counts)
    if counts.ndim != 1 or len(counts) == 0 or not np.issubdtype(counts.dtype, np.integer):
        raise ValueError(
            f"shot_accuracy expects `class_counts` to be K >= 1 integers, but got shape {counts.shape} of "
            f"{counts.dtype}. {remedy}"
        )
    if counts.min() < 0:
        raise ValueError(f"shot_accuracy expects `class_counts` >= 0, but got {counts.min()}. {remedy}")
    return counts
