"""Texts of one class each, by their words alone: TF-IDF, its main directions, and a small network over these."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, Features, List, Value
from safetensors.numpy import load_file, save_file
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from hf_otw.audit.features import fitted_words
from hf_otw.recipe.base import Facts, Prepared, Splits
from hf_otw.recipe.features import FEATURES, collate
from hf_otw.recipe.metrics import single_label
from hf_otw.recipe.splits import LABEL, class_names

WORDS, NUMBERS = "words.json", "words.safetensors"


class WordFeatures:
    """Texts to features `(N, D)`, standardised by the texts of `fit`; saved as JSON and safetensors."""

    def __init__(self) -> None:
        self.counter: Any = None
        self.numbers: dict[str, np.ndarray] = {}

    def fit(self, texts: Sequence[str]) -> WordFeatures:
        """Fix the words, their weights and the directions."""
        self.counter, directions = fitted_words(texts)
        self.numbers = {"directions": np.ascontiguousarray(directions, dtype=np.float32)}
        made = self.reduced(texts)
        self.numbers |= {"centre": made.mean(axis=0), "spread": made.std(axis=0) + 1e-6}
        return self

    def reduced(self, texts: Sequence[str]) -> np.ndarray:
        """Before standardising; a text without a known word is 0."""
        return np.asarray(normalize(self.counter.transform(texts) @ self.numbers["directions"]), dtype=np.float32)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Features, `(N, D)`, float32."""
        return (self.reduced(texts) - self.numbers["centre"]) / self.numbers["spread"]

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the two files."""
        words = [str(word) for word in self.counter.get_feature_names_out()]
        Path(folder, WORDS).write_text(json.dumps(words, ensure_ascii=False), encoding="utf-8")
        save_file(self.numbers | {"idf": self.counter.idf_.astype(np.float32)}, Path(folder, NUMBERS))

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> WordFeatures:
        """Read what `save_pretrained` wrote."""
        made = cls()
        made.numbers = load_file(Path(folder, NUMBERS))
        words = json.loads(Path(folder, WORDS).read_text(encoding="utf-8"))
        idf = made.numbers.pop("idf")
        made.counter = TfidfVectorizer(
            sublinear_tf=True,
            ngram_range=(1, 2),
            dtype=np.float32,
            vocabulary={word: k for k, word in enumerate(words)},
        )
        made.counter.idf_ = idf
        return made


def word_features() -> WordFeatures:
    """To be fitted on the training rows."""
    return WordFeatures()


def prepare_words(splits: Splits, processor: Any) -> Prepared:
    """Columns `text` and `label`; `processor` is fitted on the training rows.

    Raises:
        ValueError: rows without texts.
    """
    if "text" not in splits.train.column_names:
        raise ValueError(f"Expected a column 'text', got {splits.train.column_names}. Name yours in `source.columns`.")
    names = class_names(splits.train)
    processor.fit(splits.train["text"][:])

    def encode(rows: Dataset) -> Dataset:
        kept = {FEATURES: processor(rows["text"][:]).tolist(), LABEL: rows[LABEL][:]}
        return Dataset.from_dict(kept, Features({FEATURES: List(Value("float32")), LABEL: rows.features[LABEL]}))

    return Prepared(
        splits=splits.map(encode),
        facts=Facts(len(names), tuple(names), (processor.numbers["directions"].shape[1],)),
        collate=collate,
        compute_metrics=single_label(splits.train),
        metric="balanced_accuracy",
    )
