"""A recipe for a user's file: the usable rows are copied beside the run, and a recipe says how to train on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import yaml

from hf_otw.audit.columns import Columns
from hf_otw.audit.labelled import usable_rows
from hf_otw.data.files import load_frame
from hf_otw.data.reading.files import Tell
from hf_otw.recipe.schema import FILE

INPUTS, ROWS = "inputs.json", "rows.parquet"
#: What training takes, unless the command line says something else.
WORDS_ARGUMENTS = {"num_train_epochs": 20, "per_device_train_batch_size": 32, "learning_rate": 1e-2}
TUNED_ARGUMENTS = {"num_train_epochs": 3, "per_device_train_batch_size": 16, "learning_rate": 5e-5}
LOGGING = {"logging_steps": 20, "save_strategy": "epoch", "save_total_limit": 1}


def write_recipe(
    data: str, output: Path, columns: Columns, model: str | None, *, encoding: str | None, tell: Tell
) -> Path:
    """Write `rows.parquet`, `inputs.json` and `recipe.yaml` into the folder of a run, and return the recipe's path.

    Args:
        data: file of rows, or a folder with a folder of pictures a class.
        output: folder of the run.
        columns: of the data.
        model: name or path of a pretrained model; texts are taken by their words by default.
        encoding: of a text file.
        tell: is given what was detected and set aside.

    Raises:
        ValueError: see `usable_rows`; pictures without a model; or lists of numbers with one.
    """
    rows = usable_rows(load_frame(data, encoding=encoding, tell=tell), columns, tell)
    kind = rows.content.kind
    if kind == "image" and model is None:
        raise ValueError("Expected --model for pictures, such as facebook/dinov2-small, got none. Name one.")
    if kind == "features" and model is not None:
        raise ValueError(f"Expected no --model for columns of numbers, got {model}. Leave it out.")
    output.mkdir(parents=True, exist_ok=True)
    files = data
    if kind != "image":
        content = pa.array(rows.texts, pa.string()) if rows.texts is not None else rows.vectors()
        table = pa.table({"text" if kind == "text" else kind: content, "label": rows.words, "row": rows.index})
        pa.parquet.write_table(table, output / ROWS)
        files = str(output / ROWS)
    name = {"text": "words" if model is None else "text", "image": "image", "features": "features"}[kind]
    recipe: dict[str, Any] = {
        "shows": f"Classes of the column {columns.label!r} of {Path(data).name}.",
        "source": {"files": {"train": files}},
        "model": {"name": name, "options": {} if model is None else {"checkpoint": model}},
        "arguments": (WORDS_ARGUMENTS if model is None else TUNED_ARGUMENTS) | LOGGING,
    }
    told = {"kind": kind, "columns": list(rows.content.names), "label": columns.label, "rows": len(rows.index)}
    (output / INPUTS).write_text(json.dumps(told, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    path = output / FILE
    path.write_text(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, width=110), encoding="utf-8")
    return path
