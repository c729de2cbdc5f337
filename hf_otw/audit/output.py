"""Files that the commands over rows write: the weights of a data set, as CSV or Parquet by the name of the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from hf_otw.audit.findings import safe
from hf_otw.audit.labelled import SINGLE, Labelled
from hf_otw.audit.weigh import Weighed

OUTPUTS = (".csv", ".parquet")


def check_output(path: Path) -> None:
    """Refuse a name that says nothing of the format, before the work and not after it."""
    if path.suffix.lower() not in OUTPUTS:
        raise ValueError(f"Expected an output file that ends with {' or '.join(OUTPUTS)}, got {path}. Rename it.")


def weights_table(rows: Labelled, found: Weighed) -> pa.Table:
    """The columns `example_index`, `label`, `weight` and `class_total`, in the order of the data.

    A row without a label, or without content, has the weight 0; the only row of its class has the weight 1, the mean.
    """
    index, labels, weights = [rows.index], [rows.class_names[k] for k in rows.labels], [found.weights]
    for part in rows.set_aside:
        index.append(part.rows)
        labels += [label or "" for label in part.labels]
        weights.append(np.full(len(part.rows), 1.0 if part.reason == SINGLE else 0.0))
    totals = [*found.class_totals[rows.labels].tolist(), *[None] * (len(labels) - len(rows.labels))]
    order = np.argsort(np.concatenate(index))
    columns = {
        "example_index": pa.array(np.concatenate(index), pa.int64()),
        "label": pa.array(labels, pa.string()),
        "weight": pa.array(np.concatenate(weights), pa.float64()),
        "class_total": pa.array(totals, pa.float64()),
    }
    return pa.table(columns).take(pa.array(order))


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table in the format of the file's name; in CSV, cells that a spreadsheet would run begin with '."""
    check_output(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".parquet":
        pa.parquet.write_table(table, path)
        return
    for place, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            cells = [None if cell is None else safe(cell) for cell in table.column(place).to_pylist()]
            table = table.set_column(place, field.name, pa.array(cells, pa.string()))
    pa.csv.write_csv(table, path, pa.csv.WriteOptions(quoting_style="needed"))
