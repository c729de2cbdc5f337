"""Fashion-MNIST: photographs of clothes (Xiao, Rasul, Vollgraf 2017, MIT licence)."""

import gzip
from pathlib import Path

import numpy as np
from datasets import DatasetDict

from recipes.catalogue.sources.arrays import array_dataset
from recipes.catalogue.sources.fetched import FASHION_MNIST, fetched
from recipes.catalogue.sources.rows import first_copies

FASHION_CLASSES = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
]
SIDE = 28


def fashion_mnist() -> DatasetDict:
    """Fashion-MNIST from the Debian package dataset-fashion-mnist, brought by `python -m tools.fetch`.

    | | classes | train | test | a class |
    |---|---|---|---|---|
    | published and returned | 10 | 60000 | 10000 | 6000 and 1000 |

    Balanced: a long tail is drawn from it where one is needed. No image is there twice, in either split or across.

    Returns:
        `DatasetDict`: splits `train` and `test` with the columns `pixels` (uint8, (28, 28), 0 is the background) and
        `label` (`ClassLabel`). Ask for `with_format("numpy")` or `with_format("torch")`: Python lists are slow (and
        the integers of the formats are 64 bits wide).
    """
    return DatasetDict(
        {
            split: array_dataset("pixels", pixels, labels, FASHION_CLASSES)
            for split, (pixels, labels) in read_fashion_mnist().items()
        }
    )


def read_fashion_mnist() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images (N, 28, 28) uint8 and classes (N,) int64 of each split, without copies in train."""
    splits = {}
    for split, stem in (("test", "t10k"), ("train", "train")):
        pixels = read_idx(fetched(FASHION_MNIST, f"{stem}-images-idx3-ubyte.gz"))
        labels = read_idx(fetched(FASHION_MNIST, f"{stem}-labels-idx1-ubyte.gz")).astype(np.int64)
        splits[split] = pixels, labels
    in_test = {image.tobytes() for image in splits["test"][0]}
    kept = first_copies([image.tobytes() for image in splits["train"][0]], in_test)
    return {"train": tuple(array[kept] for array in splits["train"]), "test": splits["test"]}


def read_idx(path: Path) -> np.ndarray:
    """Read a compressed array of bytes in the format IDX: its number of axes, their lengths, the values."""
    raw = gzip.decompress(path.read_bytes())
    if raw[:3] != b"\x00\x00\x08" or len(raw) < 4:
        raise ValueError(f"Expected {path} to be an IDX file of bytes (00 00 08 ...), got {raw[:4].hex(' ')}.")
    num_axes = raw[3]
    shape = np.frombuffer(raw, ">u4", count=num_axes, offset=4)
    values = np.frombuffer(raw, np.uint8, offset=4 + 4 * num_axes)
    if values.size != shape.prod(dtype=np.int64):
        raise ValueError(f"Expected {path} to hold {shape.tolist()} bytes, got {values.size}. Please fetch it again.")
    return values.reshape(shape)
