"""The classes that are balanced, among those of the model's head."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

IGNORED = -100


@dataclass(frozen=True)
class HeadClasses:
    """The labels in the numbering of the model's head, where the weighting has another one.

    The weighting balances the classes that have training and meta examples. Others have none, or a single example,
    which is trained on with weight 1.

    Attributes:
        labels: `(U,)`, in `0..K-1`, of all rows as given; -100 for a row without a label.
        trained: `(U,)` bool, which of them are trained on.
        num_classes: `K`.
    """

    labels: Tensor
    trained: Tensor
    num_classes: int

    def prior(self, weights: Tensor) -> Tensor:
        """Each class's share of the weight that is trained on, `(K,)`; one without examples counts as having one.

        Shape:
            - weights: `(U,)`.
        """
        own = (self.trained & (self.labels != IGNORED)).to(weights.device)
        labels = self.labels.to(weights.device)[own]
        totals = weights.new_zeros(self.num_classes).index_add(0, labels, weights[own])
        counts = torch.bincount(labels, minlength=self.num_classes)
        totals = torch.where(counts == 0, torch.ones_like(totals), totals)
        return totals / totals.sum()


def present(classes: Tensor, num_classes: int) -> tuple[Tensor, list[int]]:
    """Number the classes that occur: the new number of each, `(K,)`, -1 for none, and those that are left, in order.

    Shape:
        - classes: `(n,)`, in `0..K-1`.
    """
    occurs = torch.bincount(classes, minlength=num_classes) > 0
    return torch.where(occurs, occurs.cumsum(0) - 1, -1), occurs.nonzero().flatten().tolist()
