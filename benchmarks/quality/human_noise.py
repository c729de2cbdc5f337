"""Data sets whose wrong labels people made: NoisyAG-News and CIFAR-10N, from files in a folder of the user's.

The true labels are known beside those that people gave. CIFAR-10 is read from JPEG copies (quality about 75), so that
accuracies lie a little below those on the lossless images. Both data sets are for research; no model that was trained
on them is published.
"""

from __future__ import annotations

import io
import json
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as parquet
from PIL import Image
from recipes.sources.files import user_file
from recipes.sources.rows import first_copies

#: Rows that are read of the larger splits, as many of each class: encoding takes most of the time of a first run.
NEWS_TRAIN_ROWS, NEWS_TEST_ROWS = 6000, 2000
CIFAR_TRAIN_ROWS = 10_000
CIFAR_TEST_ROWS = 4000
#: Share of the labels of NoisyAG-News that is wrong.
NEWS_NOISE = 0.1975
#: Column of CIFAR-10N's file -> share of labels that are wrong.
CIFAR_LABELS = {"aggre": 0.09, "random1": 0.17, "worse": 0.40}
CIFAR_CONTENTS = "CIFAR-10, columns image {bytes, path} and label 0..9"


class News(NamedTuple):
    """NoisyAG-News.

    Shape:
        - labels: `(N,)`, true; given: `(N,)`, as annotated; test_labels: `(T,)`, true.
    """

    texts: list[str]
    labels: np.ndarray
    given: np.ndarray
    test_texts: list[str]
    test_labels: np.ndarray


class Images(NamedTuple):
    """CIFAR-10.

    Shape:
        - images: `(N, 32, 32, 3)` uint8, labels: `(N,)`, true, test_images: `(T, 32, 32, 3)`, test_labels: `(T,)`.
    """

    images: np.ndarray
    labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def as_many_of_each(labels: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Numbers of `count` random rows, as many of each class, in ascending order."""
    rng = np.random.default_rng(seed)
    names = np.unique(labels)
    each = count // len(names)
    return np.sort(np.concatenate([rng.permutation(np.flatnonzero(labels == k))[:each] for k in names]))


def noisy_ag_news() -> News:
    """News texts of four classes, `NEWS_NOISE` of whose labels people got wrong: `NEWS_TRAIN_ROWS` and
    `NEWS_TEST_ROWS` of them.

    Raises:
        FileNotFoundError: a file is missing.
    """
    contents = 'one {"text": ..., "label": 0..3, "true_label": 0..3} a line'
    train, test = (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in (user_file(f"text/noisy-ag-news-{split}.jsonl", contents) for split in ("train", "test"))
    )
    kept = first_copies([row["text"] for row in train], {row["text"] for row in test})
    true = np.array([train[row]["true_label"] for row in kept])
    train = [train[kept[row]] for row in as_many_of_each(true, NEWS_TRAIN_ROWS)]
    test_labels = np.array([row["true_label"] for row in test])
    chosen = as_many_of_each(test_labels, NEWS_TEST_ROWS)
    return News(
        [row["text"] for row in train],
        np.array([row["true_label"] for row in train]),
        np.array([row["label"] for row in train]),
        [test[row]["text"] for row in chosen],
        test_labels[chosen],
    )


def cifar10() -> Images:
    """Photographs of ten classes: `CIFAR_TRAIN_ROWS` and `CIFAR_TEST_ROWS` of them.

    Raises:
        FileNotFoundError: a file is missing.
    """
    parts: list[np.ndarray] = []
    for split, count in (("train", CIFAR_TRAIN_ROWS), ("test", CIFAR_TEST_ROWS)):
        table = parquet.read_table(user_file(f"cifar10/cifar10-{split}.parquet", CIFAR_CONTENTS))
        labels = table["label"].to_numpy()
        rows = as_many_of_each(labels, count)
        encoded = table["image"].combine_chunks().field("bytes").take(rows).to_pylist()
        pictures = [np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")) for picture in encoded]
        parts += [np.stack(pictures), labels[rows]]
    return Images(*parts)


def cifar10n_labels(column: str, labels: np.ndarray) -> np.ndarray:
    """Labels of the rows of `cifar10` as people gave them (CIFAR-10N, Wei et al. 2022), `(N,)`.

    Args:
        column: out of `CIFAR_LABELS`.
        labels: `(N,)`, true labels of these rows.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it is not in the order of the images.
    """
    contents = f"columns true_label, {', '.join(CIFAR_LABELS)}, in the order of cifar10-train.parquet"
    human = parquet.read_table(user_file("cifar10/cifar10-human-labels.parquet", contents))
    true = human["true_label"].to_numpy()
    rows = as_many_of_each(true, CIFAR_TRAIN_ROWS)
    if not np.array_equal(true[rows], labels):
        raise ValueError(
            "Expected the human labels of CIFAR-10 in the order of the images, got other true labels. Take both files "
            "from the same place."
        )
    return human[column].to_numpy()[rows].astype(np.int64)
