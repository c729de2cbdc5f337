"""Arrays of numbers as columns of a dataset, without what makes `Dataset.from_dict` slow for 60,000 images."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from datasets import Array2D, Array3D, ClassLabel, Dataset, DatasetInfo, Features, Value

ARRAYS = {2: Array2D, 3: Array3D}


def array_dataset(
    name: str,
    values: np.ndarray,
    labels: Sequence[int] | np.ndarray,
    classes: list[str],
    texts: list[str] | None = None,
) -> Dataset:
    """A dataset of arrays with classes, and with texts if there are any.

    Args:
        name (`str`):
            Name of the column with the arrays.
        values (`np.ndarray` of shape `(N, A, B)` or `(N, A, B, C)`):
            The arrays.
        labels (`Sequence[int]` or `np.ndarray` of shape `(N,)`):
            The class of each.
        classes (`list[str]`):
            Names of the classes.
        texts (`list[str]`, *optional*):
            The text of each.

    Returns:
        `Dataset`: the columns `name`, `text` if there are texts, and `label`.
    """
    shape = values.shape[1:]
    array = ARRAYS[len(shape)](shape=shape, dtype=str(values.dtype))
    storage = pa.array(values.reshape(-1))
    for length in reversed(shape):
        offsets = np.arange(0, len(storage) + 1, length, dtype=np.int32)
        storage = pa.ListArray.from_arrays(offsets, storage)
    columns = {name: pa.ExtensionArray.from_storage(array(), storage)}
    features = {name: array}
    if texts is not None:
        columns["text"] = pa.array(texts, pa.string())
        features["text"] = Value("string")
    columns["label"] = pa.array(np.asarray(labels), pa.int64())
    features["label"] = ClassLabel(names=classes)
    return Dataset(pa.table(columns), info=DatasetInfo(features=Features(features)))
