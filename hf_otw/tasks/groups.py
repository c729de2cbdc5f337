"""Classes from a column of groups: domains, languages, sources, sites."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hf_otw.data.columns import column_names, read_column
from hf_otw.tasks.base import LabelReader, Labels


def fit_groups(dataset: Any, column: str) -> LabelReader:
    """The distinct values of a column, sorted, are the classes.

    Raises:
        ValueError: no such column, or a group that the training set does not have.
    """
    if column not in column_names(dataset):
        raise ValueError(
            f"Expected train_dataset to have the column {column!r} (`group_column`), got {column_names(dataset)}. "
            "Name a column that holds each example's group, such as its domain or language."
        )
    names = sorted({str(value) for value in _values(dataset, "train_dataset", column)})
    number = {name: k for k, name in enumerate(names)}

    def read(other: Any, name: str) -> Labels:
        values = [str(value) for value in _values(other, name, column)]
        unknown = sorted(set(values) - set(number))
        if unknown:
            raise ValueError(
                f"Expected the groups of {name} to occur in train_dataset, but {unknown[:5]} do not. Add examples of "
                "these groups to train_dataset, or remove them."
            )
        return Labels(torch.tensor([number[value] for value in values]))

    return LabelReader(names, read)


def _values(dataset: Any, name: str, column: str) -> list[Any]:
    return np.asarray(read_column(dataset, name, (column,))[1]).tolist()
