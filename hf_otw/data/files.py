"""Rows of a user's: from a file, a folder or the Hub, with classes numbered."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet
from datasets import (
    ClassLabel,
    Dataset,
    DatasetDict,
    Features,
    Image,
    List,
    Sequence,
    Value,
    load_dataset,
    load_from_disk,
)

LABEL = "label"
NUMBERED = "__numbered__"  # while a column takes another's place


def read_csv(path: Path) -> Dataset:
    """Comma or, in a TSV file, tab; values in quotes may hold line ends."""
    parse = pa.csv.ParseOptions(delimiter="\t" if path.suffix.lower() == ".tsv" else ",", newlines_in_values=True)
    return Dataset(pa.csv.read_csv(path, parse_options=parse))


def read_json(path: Path) -> Dataset:
    """A list of objects."""
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, list):
        raise ValueError(f"Expected a list of objects in {path}, got {type(found).__name__}. Use .jsonl for lines.")
    return Dataset.from_list(found)


#: Reader by the end of a file's name. Rows are read into memory: the builders of `datasets` would leave a copy of them
#: in the cache.
READERS: dict[str, Callable[[Path], Dataset]] = {
    ".csv": read_csv,
    ".tsv": read_csv,
    ".json": read_json,
    ".jsonl": lambda path: Dataset(pa.json.read_json(path)),
    ".parquet": lambda path: Dataset(pa.parquet.read_table(path)),
}


def load_rows(place: str, split: str = "train", config: str | None = None) -> Dataset:
    """Load one split.

    Args:
        place: path of a CSV, TSV, JSON, JSON lines or Parquet file, of a folder of `save_to_disk`, of a folder of
            images (one folder a class), or a name on the Hub.
        split: of a name on the Hub, or of a folder that has several.
        config: of a name on the Hub.

    Raises:
        ValueError: a file of another kind, or a split that is not there.
        FileNotFoundError: no such file, and not a name on the Hub.
    """
    path = Path(place).expanduser()
    if path.is_file():
        return load_file(path)
    if path.is_dir():
        saved = (path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file()
        return one_split(load_from_disk(str(path)) if saved else load_images(path), split, place)
    if path.suffix in READERS or place.count("/") > 1 or place.startswith((".", "/", "~")):
        raise FileNotFoundError(f"Expected a file or folder at {place}, found none. Check the path.")
    try:
        found = load_dataset(place, config)
    except (ConnectionError, FileNotFoundError) as error:
        raise FileNotFoundError(
            f"Expected a file, a folder, or a data set of the Hub at {place!r}; there is no such file or folder, and: "
            f"{error}. Check the path, or the name and the network."
        ) from error
    return one_split(found, split, place)


def load_file(path: Path) -> Dataset:
    """Load the rows of one file, into memory."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"Expected a file that ends with {', '.join(READERS)}, got {path}. Convert it to one.")
    try:
        return reader(path)
    except (pa.ArrowInvalid, json.JSONDecodeError) as error:
        raise ValueError(f"Expected rows in {path}, got what does not parse: {error}. Repair the file.") from error


def load_images(folder: Path) -> Dataset:
    """Load `<folder>/<class>/<picture>`."""
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    kinds = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"}
    found = [(str(p), k) for k, name in enumerate(classes) for p in sorted((folder / name).iterdir())]
    found = [(path, k) for path, k in found if Path(path).suffix.lower() in kinds]
    if not found:
        raise ValueError(f"Expected a folder of each class with pictures in {folder}, found none. Check the path.")
    features = Features({"image": Image(), LABEL: ClassLabel(names=classes)})
    return Dataset.from_dict({"image": [path for path, _ in found], LABEL: [k for _, k in found]}, features)


def one_split(found: Dataset | DatasetDict, split: str, place: str) -> Dataset:
    """Choose a split where there are several."""
    if not isinstance(found, dict):
        return found
    if split not in found:
        raise ValueError(f"Expected the split {split!r} of {place}, got {sorted(found)}. Name one of these.")
    return found[split]


def renamed(rows: Dataset, columns: Mapping[str, str]) -> Dataset:
    """Rename columns, `theirs -> ours`.

    Raises:
        ValueError: a column that is not there.
    """
    missing = [name for name in columns if name not in rows.column_names]
    if missing:
        raise ValueError(f"Expected the columns {', '.join(missing)}, got {rows.column_names}. Name existing ones.")
    taken = [ours for theirs, ours in columns.items() if ours != theirs and ours in rows.column_names]
    rows = rows.remove_columns([name for name in taken if name not in columns])
    return rows.rename_columns({theirs: ours for theirs, ours in columns.items() if theirs != ours})


def with_classes(splits: Mapping[str, Dataset], column: str = LABEL, *, called: str | None = None) -> DatasetDict:
    """Make a column of words or numbers the classes: numbered by their names, the same in all splits.

    Args:
        splits: name -> rows.
        column: of the classes.
        called: what the user calls that column, where it was renamed.

    Raises:
        ValueError: no such column, values missing, fractions, or a class that only later splits have.
    """
    first = next(iter(splits.values()))
    for name, rows in splits.items():
        if column not in rows.column_names:
            raise ValueError(
                f"Expected a column {column!r} in {name}, got {rows.column_names}. Name the labels' column."
            )
    if isinstance(first.features[column], ClassLabel):
        return DatasetDict(splits)
    values = {name: rows.with_format(None)[column][:] for name, rows in splits.items()}
    for name, found in values.items():
        if any(value is None or isinstance(value, (float, list, dict)) for value in found):
            wrong = next(value for value in found if value is None or isinstance(value, (float, list, dict)))
            raise ValueError(
                f"Expected one class a row, a word or a whole number, in the column {called or column!r} of {name}, "
                f"got {wrong!r}. Fill in or drop such rows."
            )
    classes = sorted(set(next(iter(values.values()))), key=lambda value: (isinstance(value, str), value))
    number = {value: k for k, value in enumerate(classes)}
    feature = ClassLabel(names=[str(value) for value in classes])
    made = {}
    for name, rows in splits.items():
        unknown = sorted({str(value) for value in values[name] if value not in number})
        if unknown:
            raise ValueError(
                f"Expected the classes {feature.names[:20]} in {name}, got {unknown[:5]} as well. Drop them."
            )
        order = rows.column_names
        codes = [number[value] for value in values[name]]
        coded = rows.add_column(NUMBERED, codes, feature=feature).remove_columns(column)
        made[name] = coded.rename_column(NUMBERED, column).select_columns(order)
    return DatasetDict(made)


def feature_array(rows: Dataset, column: str) -> np.ndarray:
    """A column of lists of numbers, `(N, D)`, float64.

    Raises:
        ValueError: no such column, lists of several lengths, or values that are not finite.
    """
    if column not in rows.column_names:
        raise ValueError(f"Expected a column {column!r} of lists of numbers, got {rows.column_names}. Name yours.")
    feature = rows.features[column]
    if not isinstance(feature, (List, Sequence)) or not isinstance(feature.feature, Value):
        raise ValueError(f"Expected lists of numbers in the column {column!r}, got {feature}. Convert them.")
    values = rows.with_format(None)[column][:]
    widths = {len(value) for value in values}
    if len(widths) != 1:
        raise ValueError(f"Expected lists of one length in the column {column!r}, got {sorted(widths)[:5]}. Pad them.")
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"Expected finite numbers in the column {column!r}, but some are not. Drop those rows.")
    return array
