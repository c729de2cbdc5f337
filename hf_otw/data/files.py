"""Rows of a user's: from a file, a folder or the Hub."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
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

from hf_otw.data.frame import Frame, check_columns, frame_of
from hf_otw.data.reading.files import KINDS, Tell, read_file
from hf_otw.data.words import LABEL
from hf_otw.data.words import with_classes as with_classes

logger = logging.getLogger(__name__)
PATH = "path"
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")


def load_rows(
    place: str,
    split: str = "train",
    config: str | None = None,
    *,
    encoding: str | None = None,
    tell: Tell = logger.info,
) -> Dataset:
    """Load one split.

    Args:
        place: path of a CSV, TSV, JSON, JSON lines or Parquet file, of a folder of `save_to_disk`, of a folder of
            images (one folder a class), or a name on the Hub.
        split: of a name on the Hub, or of a folder that has several.
        config: of a name on the Hub.
        encoding: of a text file; detected by default.
        tell: is given what was detected in a file.

    Raises:
        ValueError: a file of another kind, or a split that is not there.
        FileNotFoundError: no such file, and not a name on the Hub.
    """
    path = Path(place).expanduser()
    # Rows are read into memory: the builders of `datasets` would leave a copy of them in the cache.
    return (
        Dataset(read_file(path, encoding=encoding, tell=tell)) if path.is_file() else elsewhere(place, split, config)
    )


def load_frame(place: str, split: str = "train", *, encoding: str | None = None, tell: Tell = logger.info) -> Frame:
    """Load one split with all its columns, as `load_rows` does; the cells of a CSV file stay texts."""
    path = Path(place).expanduser()
    if path.is_file():
        return Frame(read_file(path, encoding=encoding, tell=tell, typed=False))
    return frame_of(elsewhere(place, split))


def elsewhere(place: str, split: str, config: str | None = None) -> Dataset:
    """Load what is no file."""
    path = Path(place).expanduser()
    if path.is_dir():
        saved = (path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file()
        return one_split(load_from_disk(str(path)) if saved else load_images(path), split, place)
    if path.suffix in KINDS or place.count("/") > 1 or place.startswith((".", "/", "~")):
        raise FileNotFoundError(f"Expected a file or folder at {place}, found none. Check the path.")
    try:
        found = load_dataset(place, config)
    except (ConnectionError, FileNotFoundError) as error:
        raise FileNotFoundError(
            f"Expected a file, a folder, or a data set of the Hub at {place!r}; there is no such file or folder, and: "
            f"{error}. Check the path, or the name and the network."
        ) from error
    return one_split(found, split, place)


def load_images(folder: Path) -> Dataset:
    """Load `<folder>/<class>/<picture>`: the columns `path`, within the folder, `image` and `label`."""
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    found = [(p, k) for k, name in enumerate(classes) for p in sorted((folder / name).iterdir())]
    found = [(path, k) for path, k in found if path.suffix.lower() in PICTURES]
    if not found:
        raise ValueError(f"Expected a folder of each class with pictures in {folder}, found none. Check the path.")
    features = Features({PATH: Value("string"), "image": Image(), LABEL: ClassLabel(names=classes)})
    columns = {
        PATH: [str(path.relative_to(folder)) for path, _ in found],
        "image": [str(path) for path, _ in found],
        LABEL: [k for _, k in found],
    }
    return Dataset.from_dict(columns, features)


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
    check_columns(columns, rows.column_names)
    taken = [ours for theirs, ours in columns.items() if ours != theirs and ours in rows.column_names]
    rows = rows.remove_columns([name for name in taken if name not in columns])
    return rows.rename_columns({theirs: ours for theirs, ours in columns.items() if theirs != ours})


def feature_array(rows: Dataset, column: str) -> np.ndarray:
    """A column of lists of numbers, `(N, D)`, float64.

    Raises:
        ValueError: no such column, lists of several lengths, or values that are not finite.
    """
    check_columns([column], rows.column_names)
    feature = rows.features[column]
    if not isinstance(feature, (List, Sequence)) or not isinstance(feature.feature, Value):
        raise ValueError(f"Expected lists of numbers in the column {column!r}, got {feature}. Convert them.")
    return list_array(rows.select_columns([column]).with_format("arrow")[:].column(column), column)


def list_array(column: pa.ChunkedArray, called: str) -> np.ndarray:
    """Lists of numbers, all of one length, as an array `(N, D)`, float64.

    Raises:
        ValueError: lists of several lengths, missing ones, or values that are not finite.
    """
    lists = column.combine_chunks()
    lists = pa.concat_arrays(lists.chunks) if isinstance(lists, pa.ChunkedArray) else lists
    widths = sorted(
        set(pa.compute.list_value_length(lists).to_pylist()), key=lambda width: -1 if width is None else width
    )
    if len(widths) != 1 or not widths[0]:
        raise ValueError(f"Expected lists of one length in the column {called!r}, got {widths[:5]}. Pad them.")
    values = pa.compute.list_flatten(lists)
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        raise ValueError(f"Expected lists of numbers in the column {called!r}, got {lists.type}. Convert them.")
    array = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).reshape(len(lists), widths[0])
    if not np.isfinite(array).all():
        raise ValueError(f"Expected finite numbers in the column {called!r}, but some are not. Drop those rows.")
    return array
