"""Read one file of rows, by the end of its name."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json
import pyarrow.parquet

from hf_otw.data.reading.delimited import read_delimited, with_numbers
from hf_otw.data.reading.encoding import decoded

logger = logging.getLogger(__name__)

#: Takes a sentence that a person should read.
Tell = Callable[[str], None]
DELIMITED = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
KINDS = (*DELIMITED, ".json", ".jsonl", ".parquet")
NAMED = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}


def read_file(path: Path, *, encoding: str | None = None, tell: Tell = logger.info, typed: bool = True) -> pa.Table:
    """Read the rows of a file into memory.

    Args:
        path: ends with one of `KINDS`.
        encoding: of a text file; detected by default.
        tell: is given what was detected.
        typed: make numbers of columns of numbers in CSV files, in place of the texts that the file has.

    Raises:
        ValueError: a file of another kind, or one that does not parse.
    """
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise ValueError(f"Expected a file that ends with {', '.join(KINDS)}, got {path}. Convert it to one.")
    try:
        if kind == ".parquet":
            return plain_columns(pa.parquet.read_table(path))
        text = decoded(path.read_bytes(), encoding)
        if text.note:
            tell(f"{path.name}: {text.note}")
        if kind in DELIMITED:
            return read_table(path, text.content, tell, typed)
        return read_lines(text.content) if kind == ".jsonl" else read_list(text.content)
    except (pa.ArrowException, ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else error
        raise ValueError(f"Expected rows in {path}, got what does not parse: {reason} Repair the file.") from error


def read_table(path: Path, content: bytes, tell: Tell, typed: bool) -> pa.Table:
    """Read CSV, and say so where the delimiter is not that of the file's name."""
    found = read_delimited(content)
    if found.delimiter != DELIMITED[path.suffix.lower()] and found.table.num_columns > 1:
        tell(f"{path.name}: columns are separated by {NAMED.get(found.delimiter, found.delimiter)}.")
    return with_numbers(found.table) if typed else found.table


def read_lines(content: bytes) -> pa.Table:
    """Read one JSON object a line."""
    options = pa.json.ReadOptions(block_size=min(max(len(content) + 1, 1 << 16), (1 << 31) - 1))
    return pa.json.read_json(pa.BufferReader(content), options)


def read_list(content: bytes) -> pa.Table:
    """Read a JSON list of objects."""
    found: Any = json.loads(content)
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise ValueError("expected a list of objects; a file with an object a line is called .jsonl.")
    return pa.Table.from_pylist(found)


def plain_columns(table: pa.Table) -> pa.Table:
    """Replace dictionary-encoded columns, which other libraries write for categories, by their values."""
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(place, field.name, table.column(place).cast(field.type.value_type))
    return table
