"""Which row of a batch belongs to which item, where a collator does not say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def rows_by_content(batch: Mapping[str, Any], items: Sequence[Any], collate: Callable[..., Any]) -> list[int] | None:
    """The item that each row of a collated batch was made of, or None where that cannot be told.

    Each item is collated alone and compared with the rows, up to padding on either side. A collator that draws at
    random, masks or packs makes rows that are equal to none.
    """
    singles = [collate([item]) for item in items]
    size = _rows(batch)
    if size is None or not all(isinstance(single, Mapping) and _rows(single) == 1 for single in singles):
        return None
    if size == 1 < len(items):  # packed: the beginning of a long row says nothing of the rest
        return None
    found: list[int] = []
    for row in range(size):
        # The item at the same place first: equal items are told apart by their order.
        order = [row, *(k for k in range(len(items)) if k != row)] if row < len(items) else range(len(items))
        match = next((k for k in order if _is_row(batch, row, singles[k])), None)
        if match is None:
            return None
        found.append(match)
    return found


def _tensors(batch: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: value for name, value in batch.items() if isinstance(value, Tensor) and value.ndim}


def _rows(batch: Mapping[str, Any]) -> int | None:
    sizes = {len(value) for value in _tensors(batch).values()}
    return sizes.pop() if len(sizes) == 1 else None


def _is_row(batch: Mapping[str, Any], row: int, single: Mapping[str, Any]) -> bool:
    ours, other = _tensors(batch), _tensors(single)
    return ours.keys() == other.keys() and all(_padded(ours[name][row], other[name][0]) for name in other)


def _padded(long: Tensor, short: Tensor) -> bool:
    if long.ndim != short.ndim or any(a < b for a, b in zip(long.shape, short.shape, strict=True)):
        return False
    left = long[tuple(slice(0, n) for n in short.shape)]
    right = long[tuple(slice(a - b, a) for a, b in zip(long.shape, short.shape, strict=True))]
    return torch.equal(left, short) or torch.equal(right, short)
