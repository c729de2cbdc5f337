"""The images of CIFAR-10, decoded once, and the labels that people gave them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet
import torch
from torch import Tensor
from torch.utils.data import Dataset

from recipes.catalogue.sources import SOURCES
from recipes.catalogue.sources.files import build_once, user_file
from recipes.catalogue.sources.rows import first_copies

#: Of the lossless training images, a channel (the usual constants of the literature).
MEAN = torch.tensor([0.4914, 0.4822, 0.4465])[:, None, None]
SCALE = torch.tensor([0.2470, 0.2435, 0.2616])[:, None, None]


class Split(NamedTuple):
    """Pixels `(N, 3, 32, 32)`, uint8, mapped from a file, and labels `(N,)`."""

    pixels: np.ndarray
    labels: np.ndarray


class Pictures(Dataset[dict[str, object]]):
    """Rows of a split as the model takes them, standardised on access.

    Args:
        split: whose rows are served.
        rows: which ones.
        labels: of these rows, in place of the split's own.
    """

    def __init__(self, split: Split, rows: np.ndarray, labels: np.ndarray | None = None) -> None:
        self.pixels = torch.from_numpy(split.pixels[rows])
        self.labels = (split.labels[rows] if labels is None else labels).tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> dict[str, object]:
        return {"pixel_values": standardised(self.pixels[row]), "labels": self.labels[row]}


def standardised(pixels: Tensor) -> Tensor:
    """Pixels `(3, 32, 32)`, uint8, as floats with mean 0 and variance 1 a channel."""
    return (pixels / 255 - MEAN) / SCALE


def cifar10() -> dict[str, Split]:
    """Both splits of `recipes.catalogue.sources.cifar10`; decoding takes a minute the first time.

    Raises:
        FileNotFoundError: a file of CIFAR-10 is missing; the message names it.
    """
    folder = build_once("cifar10-pixels", _decode)
    return {
        name: Split(np.load(folder / f"{name}.npy", mmap_mode="r"), np.load(folder / f"{name}-labels.npy"))
        for name in ("train", "test")
    }


def human_labels(column: str) -> np.ndarray:
    """Labels that people gave the training images of `cifar10`, `(N,)`: CIFAR-10N of Wei et al. 2022
    (https://arxiv.org/abs/2110.12088).

    Args:
        column: `aggre`, `random1` or `worse`.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the rows are not those of the images.
    """
    contents = "the columns true_label, aggre, random1 and worse for the 50,000 training images"
    labels = pyarrow.parquet.read_table(user_file("cifar10/cifar10-human-labels.parquet", contents))
    images = {name: _table(name) for name in ("train", "test")}
    if not np.array_equal(labels["true_label"].to_numpy(), images["train"]["label"].to_numpy()):
        raise ValueError("Expected the human labels in the order of cifar10-train.parquet, but true_label differs.")
    encoded = {name: table["image"].combine_chunks().field("bytes").to_pylist() for name, table in images.items()}
    # The source leaves these rows out too.
    return labels[column].to_numpy()[first_copies(encoded["train"], set(encoded["test"]))]


def _table(split: str) -> pyarrow.Table:
    return pyarrow.parquet.read_table(user_file(f"cifar10/cifar10-{split}.parquet", "the images of CIFAR-10"))


def _decode(folder: Path) -> None:
    for name, rows in SOURCES["cifar10"]().items():
        pixels = np.stack([np.asarray(picture.convert("RGB")) for picture in rows["image"]])  # (N, 32, 32, 3)
        np.save(folder / f"{name}.npy", np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
        np.save(folder / f"{name}-labels.npy", np.array(rows["label"]))
