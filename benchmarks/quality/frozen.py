"""Features of pretrained models, computed once and kept in the folder of the data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from benchmarks.quality.problems import Frozen
from recipes.catalogue.sources import SOURCES, minilm_path
from recipes.catalogue.sources.files import data_cache

MAX_TOKENS = 64
BATCH_SIZE = 64
NUM_COMPONENTS = 64


def text_features(dataset: Dataset, text: str = "text") -> np.ndarray:
    """Mean of MiniLM's last hidden states over the tokens of each text, `(N, 384)`."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(minilm_path()), AutoModel.from_pretrained(minilm_path()).eval()
    texts = list(dataset[text])
    order = np.argsort([len(found) for found in texts])  # texts of like length together: little padding
    found = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
    for start in range(0, len(texts), BATCH_SIZE):
        rows = order[start : start + BATCH_SIZE]
        batch = tokenizer(
            [texts[row] for row in rows], truncation=True, max_length=MAX_TOKENS, padding=True, return_tensors="pt"
        )
        with torch.inference_mode():
            hidden = model(**batch).last_hidden_state  # (B, L, 384)
        mask = batch["attention_mask"][..., None]
        found[rows] = ((hidden * mask).sum(1) / mask.sum(1)).numpy()
    return found


def text_source(name: str) -> Callable[[], Frozen]:
    """Frozen features of a source of texts."""

    def build() -> Frozen:
        data = SOURCES[name]()
        train, test = data["train"], data["test"]
        return Frozen(text_features(train), np.array(train["label"]), text_features(test), np.array(test["label"]))

    return build


def fashion() -> Frozen:
    """Principal components of Fashion-MNIST's pixels, `(N, 64)`: no pretrained image model is at hand."""
    from sklearn.decomposition import PCA

    data: Any = SOURCES["fashion_mnist"]().with_format("numpy")
    pixels = {split: data[split]["pixels"][:].reshape(len(data[split]), -1) / np.float32(255) for split in data}
    components = PCA(NUM_COMPONENTS, random_state=0).fit(pixels["train"][::6])
    return Frozen(
        components.transform(pixels["train"]).astype(np.float32),
        np.array(data["train"]["label"]),
        components.transform(pixels["test"]).astype(np.float32),
        np.array(data["test"]["label"]),
    )


def digits() -> Frozen:
    """The 8 x 8 pixels of scikit-learn's digits, `(N, 64)`, a third of each class for the test: needs no download."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        (pixels / 16).astype(np.float32), labels, test_size=1 / 3, stratify=labels, random_state=0
    )
    return Frozen(x_train, y_train, x_test, y_test)


DATASETS: dict[str, Callable[[], Frozen]] = {
    "trec": text_source("trec"),
    "sst2": text_source("sst2"),
    "reuters_r8": text_source("reuters_r8"),
    "reuters_r52": text_source("reuters_r52"),
    "rotten_tomatoes": text_source("rotten_tomatoes"),
    "spam_assassin": text_source("spam_assassin"),
    "emoji_names": text_source("emoji"),
    "fashion_mnist": fashion,
    "digits": digits,
}


def load(name: str) -> Frozen:
    """A data set's features, from the file of an earlier call if there is one."""
    if name == "digits":
        return digits()
    path: Path = data_cache() / "frozen-features" / f"{name}.npz"
    if not path.exists():
        built = DATASETS[name]()
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished.npz")
        np.savez(unfinished, **built._asdict())
        unfinished.replace(path)
    with np.load(path) as found:
        return Frozen(**{field: found[field] for field in Frozen._fields})
