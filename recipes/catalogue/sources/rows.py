"""Labelled rows to a `DatasetDict`: no copies across the splits, classes numbered, splits drawn with a fixed seed."""

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

# One seed for every split that this package draws itself: sources with an official split keep that one.
SPLIT_SEED = 0


class Row(NamedTuple):
    """One labelled document, as read from a file."""

    text: str
    label: str


class HasText(Protocol):
    """Anything with a text."""

    @property
    def text(self) -> str:
        """What the row says."""


AnyRow = TypeVar("AnyRow", bound=HasText)


def without_copies(rows: list[AnyRow], exclude: set[str]) -> list[AnyRow]:
    """Rows in their order, less those with a text in `exclude` and those with the text of an earlier row."""
    kept = first_copies([row.text for row in rows], exclude)
    return [rows[index] for index in kept]


def first_copies(keys: Sequence[Hashable], exclude: set) -> list[int]:
    """Indices of the keys that are neither in `exclude` nor seen before."""
    seen = set(exclude)
    kept = []
    for index, key in enumerate(keys):
        if key not in seen:
            seen.add(key)
            kept.append(index)
    return kept


def to_dataset_dict(train: list[Row], test: list[Row]) -> DatasetDict:
    """Number the classes of `train` by falling frequency; drop the rows of `test` that belong to none of them."""
    names = by_frequency([row.label for row in train])
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    known_test = [row for row in test if row.label in names]
    splits = {"train": train, "test": known_test}
    return DatasetDict(
        {
            split: Dataset.from_dict(
                {"text": [row.text for row in rows], "label": [names.index(row.label) for row in rows]}, features
            )
            for split, rows in splits.items()
        }
    )


def by_frequency(labels: Sequence[str]) -> list[str]:
    """The distinct labels, the most frequent one first; ties in alphabetical order."""
    counts = Counter(labels)
    return sorted(counts, key=lambda name: (-counts[name], name))


def stratified_split(
    strata: Sequence[Hashable], test_fraction: float = 0.3, seed: int = SPLIT_SEED
) -> tuple[list[int], list[int]]:
    """Indices of a train and a test part that hold the same share of every stratum.

    Args:
        strata (`Sequence[Hashable]`):
            The stratum of each of the N rows.
        test_fraction (`float`, *optional*, defaults to `0.3`):
            Share of each stratum that goes to test, rounded to a whole number of rows.
        seed (`int`, *optional*, defaults to `SPLIT_SEED`):
            Which rows those are.

    Returns:
        `tuple[list[int], list[int]]`: both parts, each in ascending order; together they are `range(N)`.
    """
    rng = np.random.default_rng(seed)
    members: dict[Hashable, list[int]] = {}
    for index, stratum in enumerate(strata):
        members.setdefault(stratum, []).append(index)
    test: list[int] = []
    for indices in members.values():
        test += rng.permutation(indices)[: round(test_fraction * len(indices))].tolist()
    in_test = set(test)
    return [index for index in range(len(strata)) if index not in in_test], sorted(test)
