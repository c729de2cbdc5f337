"""The target of the transport: meta columns, as they are or merged into prototypes, and the mass they carry."""

from __future__ import annotations

import torch
from torch import Tensor

from hf_otw.types import Measure


def balanced_class_mass(class_counts: Tensor) -> Tensor:
    """`1 / K` a class, the paper's target, shape `(K,)`."""
    return torch.full_like(class_counts, 1 / len(class_counts))


def class_prior_mass(class_counts: Tensor) -> Tensor:
    """Each class keeps its share of the training set, shape `(K,)`: transport re-weights inside the classes only."""
    return class_counts / class_counts.sum()


def square_root_mass(class_counts: Tensor) -> Tensor:
    """In proportion to the square root of each class's count, shape `(K,)`: half way between the two, on the scale of
    logarithms. A logit-adjusted loss whose prior is this mass does the other half.
    """
    return class_prior_mass(class_counts.sqrt())


def examples_target(
    features: Tensor, labels: Tensor, class_mass: Tensor, label_vectors: Tensor | None = None
) -> Measure:
    """Every meta example is a column; its class's mass is shared among the class's examples.

    Shape:
        - features: `(m, D)`, labels: `(m,)`, class_mass: `(K,)`, label_vectors: `(m, L)` or None.
    """
    counts = torch.bincount(labels, minlength=len(class_mass))
    return Measure(features, labels, (class_mass / counts)[labels], label_vectors)


def prototypes_target(
    features: Tensor, labels: Tensor, class_mass: Tensor, label_vectors: Tensor | None = None
) -> Measure:
    """One column a class: the mean of its meta examples *in feature space* (the paper's code averages the inputs).

    Shape:
        - features: `(m, D)`, labels: `(m,)`, class_mass: `(K,)`, label_vectors: `(m, L)` or None, averaged as well.
    """
    k = len(class_mass)
    counts = torch.bincount(labels, minlength=k)

    def class_means(values: Tensor) -> Tensor:
        sums = values.new_zeros(k, values.shape[1]).index_add_(0, labels, values)
        return sums / counts[:, None].to(values.dtype)

    vectors = None if label_vectors is None else class_means(label_vectors)
    return Measure(class_means(features), torch.arange(k, device=labels.device), class_mass, vectors)


def check_classes(labels: Tensor, meta_labels: Tensor, num_classes: int, names: list[str] | None = None) -> None:
    """Check that labels lie in `0..K-1` and that every class is in the training rows and in the meta set.

    Shape:
        - labels: `(n,)`, meta_labels: `(m,)`.

    Raises:
        ValueError: a label out of range, or a class absent from one of the two.
    """
    for which, values in (("training set", labels), ("meta set", meta_labels)):
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= num_classes:
            raise ValueError(
                f"Expected labels 0..{num_classes - 1} in the {which}, got {low}..{high}. Encode the classes as "
                f"0..K-1 and load the "
                "model with `num_labels=K`."
            )
        absent = (torch.bincount(values, minlength=num_classes) == 0).nonzero().flatten().tolist()
        if absent:
            shown = ", ".join(names[k] if names else str(k) for k in absent[:5])
            raise ValueError(
                f"Expected every class in the {which}, but {len(absent)} of {num_classes} are absent ({shown}). Add "
                f"examples of "
                "these classes, or remove the classes from both sets and renumber the rest."
            )
