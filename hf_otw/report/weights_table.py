"""The table of weights: one row an example, for any trainer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet


def write_weights(
    path: Path, index: np.ndarray, labels: list[str], weights: np.ndarray, totals: dict[str, float]
) -> None:
    """Write the columns `example_index`, `label`, `weight` and `class_total`.

    Args:
        path: of the Parquet file.
        index: `(n,)`, row number of each example in the training set as given.
        labels: `(n,)`, name of its class.
        weights: `(n,)`, mean 1.
        totals: share of the total weight that each class holds.
    """
    columns = {
        "example_index": pa.array(index, pa.int64()),
        "label": pa.array(labels, pa.string()),
        "weight": pa.array(weights, pa.float64()),
        "class_total": pa.array([totals[label] for label in labels], pa.float64()),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pa.parquet.write_table(pa.table(columns), path)
