"""Features on disk, as a user's embeddings would be: half precision, read through a memory map."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

CLASSES = 100
CHUNK = 50_000


class Files(NamedTuple):
    """Training rows `(n, d)` float16 and their labels `(n,)`; `m` meta examples and theirs."""

    features: np.ndarray
    labels: np.ndarray
    meta_features: np.ndarray
    meta_labels: np.ndarray


def make_files(folder: Path, n: int, m: int, d: int) -> None:
    """Write classes that overlap, a chunk at a time, if they are not there."""
    name = folder / f"features-{n}-{d}.npy"
    if name.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = name.with_suffix(".unfinished")
    out = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.float16, shape=(n, d))
    labels = np.random.default_rng(0).integers(0, CLASSES, n)
    for start in range(0, n, CHUNK):
        stop = min(start + CHUNK, n)
        out[start:stop] = _features(labels[start:stop], d, seed=1 + start)
    out.flush()
    np.save(folder / f"labels-{n}.npy", labels)
    unfinished.replace(name)


def open_files(folder: Path, n: int, m: int, d: int) -> Files:
    """What `make_files` wrote; the features stay in the file."""
    meta_labels = np.arange(m) % CLASSES
    return Files(
        np.load(folder / f"features-{n}-{d}.npy", mmap_mode="r"),
        np.load(folder / f"labels-{n}.npy"),
        _features(meta_labels, d, seed=0),
        meta_labels,
    )


def _features(labels: np.ndarray, d: int, seed: int) -> np.ndarray:
    centres = np.random.default_rng(12345).standard_normal((CLASSES, d), dtype=np.float32)
    noise = np.random.default_rng(seed).standard_normal((len(labels), d), dtype=np.float32)
    return (centres[labels] + 3 * noise).astype(np.float16)
