"""The file of results: a row a run, one line each, so that a stopped benchmark goes on where it was."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from benchmarks.quality.problems import Cell

RESULTS = Path(__file__).parents[1] / "results" / "quality.json"
KEY = ("regime", "cell", "method", "seed")
Row = dict[str, Any]


def read(path: Path = RESULTS) -> list[Row]:
    """Rows of earlier runs."""
    return json.loads(path.read_text())["rows"] if path.exists() else []


def write(rows: list[Row], versions: dict[str, str], path: Path = RESULTS) -> None:
    """Rows, and those of the file that they do not replace (another benchmark may write beside this one), in the order
    of their keys. A write that breaks off leaves the old file.
    """
    old = json.loads(path.read_text()) if path.exists() else {"versions": {}, "rows": []}
    versions = old["versions"] | versions
    merged = {key(row): row for row in [*old["rows"], *rows]}
    ordered = [merged[name] for name in sorted(merged)]
    lines = ",\n".join(json.dumps(row) for row in ordered)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".unfinished{os.getpid()}")
    unfinished.write_text(f'{{"versions": {json.dumps(versions)},\n"rows": [\n{lines}\n]}}\n')
    unfinished.replace(path)


def key(row: Row) -> tuple[str, str, str, int]:
    """What a row is the result of."""
    return row["regime"], row["cell"], row["method"], row["seed"]


def describe(cell: Cell) -> Row:
    """The columns that tell cells apart."""
    return {
        "cell": cell.name,
        "dataset": cell.dataset + "-merged" * bool(cell.merged),
        "imbalance_factor": cell.imbalance_factor or (max(cell.counts) / min(cell.counts) if cell.counts else None),
        "label_noise": cell.label_noise,
        "noise_kind": cell.noise_kind if cell.label_noise else None,
        "meta": cell.meta,
    }
