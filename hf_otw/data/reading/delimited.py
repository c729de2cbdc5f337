"""Read CSV and its relatives: the delimiter is found, and no value loses a character."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

DELIMITERS = ",;\t|"
#: Characters that the delimiter is found in. Below the longest field that the module csv takes.
SAMPLE = 100_000
#: Bytes that pyarrow reads at once; a row must fit into them.
BLOCK = 1 << 26
LARGEST_BLOCK = (1 << 31) - 1
#: A number as programs write it. A code such as 007 or +1 is none: it would come back as another text.
NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$"
WHOLE = r"^-?(0|[1-9][0-9]*)$"


class Delimited(NamedTuple):
    """A table.

    Attributes:
        table: one text a cell.
        delimiter: found in the file.
    """

    table: pa.Table
    delimiter: str


def read_delimited(content: bytes, delimiter: str | None = None) -> Delimited:
    """Read a table with a header; values in quotes may hold line ends.

    Args:
        content: UTF-8.
        delimiter: found by default.

    Raises:
        ValueError: no header, two columns of one name, or rows of several lengths.
    """
    content, told = without_hint(content)
    delimiter = delimiter or told or find_delimiter(content)
    names = header(content, delimiter)
    options = pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    parse = pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    for block in (BLOCK, LARGEST_BLOCK):
        read = pa.csv.ReadOptions(block_size=min(block, max(len(content) + 1, 1 << 16)))
        try:
            table = pa.csv.read_csv(pa.BufferReader(content), read, parse, options)
        except pa.ArrowInvalid as error:
            if "straddling" in str(error) and block != LARGEST_BLOCK:
                continue
            raise ValueError(f"Expected {len(names)} values in every row, as in the header; {plain(error)}") from error
        break
    return Delimited(table.rename_columns([name or f"column {k + 1}" for k, name in enumerate(names)]), delimiter)


def plain(error: pa.ArrowInvalid) -> str:
    """The message of pyarrow, without its name."""
    return str(error).removeprefix("CSV parse error: ").split("\n")[0][:300]


def without_hint(content: bytes) -> tuple[bytes, str | None]:
    """Take off the line `sep=;`, with which spreadsheet programs are told the delimiter."""
    first, _, rest = content.partition(b"\n")
    line = first.strip().lower()
    return (rest, chr(line[4])) if len(line) == 5 and line.startswith(b"sep=") else (content, None)


def header(content: bytes, delimiter: str) -> list[str]:
    """Names of the columns.

    Raises:
        ValueError: no row at all, or two columns of one name.
    """
    rows = csv.reader(io.TextIOWrapper(io.BytesIO(content), "utf-8", newline=""), delimiter=delimiter)
    names = next((row for row in rows if row), None)
    if names is None:
        raise ValueError("Expected a row with the names of the columns, got an empty file.")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"Expected a name of its own for every column, got {twice[0]!r} several times. Rename one.")
    return names


def find_delimiter(content: bytes) -> str:
    """The delimiter that divides most rows like the header, and the header into most columns."""
    text = content[:SAMPLE].decode("utf-8", errors="ignore")

    def score(delimiter: str) -> tuple[float, int]:
        widths = row_widths(text, delimiter, whole=len(content) <= SAMPLE)
        if not widths or widths[0] < 2:
            return 0.0, 0
        return sum(width == widths[0] for width in widths) / len(widths), widths[0]

    return max(DELIMITERS, key=score)  # the first of equals, a comma where none divides anything


def row_widths(text: str, delimiter: str, *, whole: bool) -> Sequence[int]:
    """Values in each row; the last row of a part of a file is cut off and does not count."""
    try:
        widths = [len(row) for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row]
    except csv.Error:
        return []
    return widths if whole or len(widths) < 2 else widths[:-1]


def with_numbers(table: pa.Table) -> pa.Table:
    """Make numbers of the columns that hold nothing else; empty cells of these are null."""
    columns = [as_numbers(table.column(k)) for k in range(table.num_columns)]
    return pa.table(columns, names=table.column_names)


def as_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as whole numbers or floats where every cell is one, else as it is."""
    filled = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
    if filled.null_count == len(filled) or not pc.all(pc.match_substring_regex(filled, NUMBER)).as_py():
        return column
    kind = pa.int64() if pc.all(pc.match_substring_regex(filled, WHOLE)).as_py() else pa.float64()
    try:
        return pc.cast(filled, kind)
    except pa.ArrowInvalid:  # beyond 64 bits
        return column
