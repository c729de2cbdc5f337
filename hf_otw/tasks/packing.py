"""Batches without padding: a collator puts all rows one after the other into a single long one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def packed_lengths(inputs: Mapping[str, Any], labels: Any, num_rows: int) -> list[int] | None:
    """Lengths of the rows that were packed into one, by the position ids, which begin anew in each; None for a batch
    of another kind.

    Args:
        inputs: of the model.
        labels: of the batch.
        num_rows: items that the batch was made of.
    """
    positions = inputs.get("position_ids")
    packed = isinstance(labels, Tensor) and labels.ndim == 2 and len(labels) == 1 and num_rows > 1
    if not packed or not isinstance(positions, Tensor) or positions.shape != labels.shape:
        return None
    starts = (positions[0] == positions[0, 0]).nonzero().flatten().tolist()
    if len(starts) != num_rows:
        return None
    return [stop - start for start, stop in zip(starts, [*starts[1:], labels.shape[1]], strict=True)]


def unpack(values: Tensor, lengths: list[int] | None, fill: float = 0) -> Tensor:
    """One row for each that was packed, filled up at the end. Shape: `(1, T, ...) -> (B, T', ...)`."""
    if lengths is None or values.ndim < 2 or values.shape[:2] != torch.Size([1, sum(lengths)]):
        return values
    return pad_sequence(list(values[0].split(lengths)), batch_first=True, padding_value=fill)
