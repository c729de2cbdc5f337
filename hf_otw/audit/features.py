"""Features of texts and pictures: from a pretrained model, or from the words alone where no model is at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

#: Name that stands for a model: weighted counts of words and pairs of words, reduced to `WORD_WIDTH` numbers.
TFIDF = "tfidf"
WORD_WIDTH = 256
MAX_WORDS = 50_000
FEW = 20
ROWS_A_NUMBER = 10
#: Rows that fix the directions, and passes over them. More of either change little and take long.
DIRECTION_ROWS = 20_000
PASSES = 2

#: Shows progress over an iterable of batches; the identity by default.
Track = Callable[[Sequence[Any]], Iterable[Any]]


def word_features(texts: Sequence[str], more: Sequence[str] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Features without a model: TF-IDF, a truncated singular value decomposition (latent semantic analysis), length 1.

    The length of a row before that says how many of its words are frequent, not what it is about.

    Args:
        texts: fix the words and the directions.
        more: are put into the same space.

    Returns:
        `(N, D)` and `(M, D)`, `D` at most `WORD_WIDTH`.

    Raises:
        ValueError: texts without a word.
    """
    from sklearn.preprocessing import normalize

    counter, directions = fitted_words(texts)

    def reduced(part: Sequence[str]) -> np.ndarray:
        return np.asarray(normalize((counter.transform(part) @ directions).astype(np.float64)))

    return reduced(texts), reduced(more) if len(more) else np.zeros((0, directions.shape[1]))


def fitted_words(texts: Sequence[str]) -> tuple[Any, np.ndarray]:
    """The counter of the words of texts, fitted, and their main directions, `(V, D)`.

    Raises:
        ValueError: texts without a word.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.utils.extmath import randomized_svd

    # A word of one text says nothing of others, and no more directions than rows tell apart.
    once = 2 if len(texts) >= FEW else 1
    counter = TfidfVectorizer(
        sublinear_tf=True, ngram_range=(1, 2), max_features=MAX_WORDS, min_df=once, dtype=np.float32
    )
    try:
        words = counter.fit_transform(texts)
    except ValueError as error:
        raise ValueError(f"Expected texts with words in them, got none ({error}). Name another column.") from error
    width = min(WORD_WIDTH, max(2, len(texts) // ROWS_A_NUMBER), min(words.shape) - 1)
    if width < 1:
        raise ValueError(f"Expected several texts with several words, got {words.shape[0]} with {words.shape[1]}.")
    rows = np.random.default_rng(0).permutation(words.shape[0])[:DIRECTION_ROWS]
    return counter, randomized_svd(words[np.sort(rows)], width, n_iter=PASSES, random_state=0)[2].T


def text_features(
    texts: Sequence[str], model: str, *, max_tokens: int = 128, batch_size: int = 32, track: Track = iter
) -> np.ndarray:
    """The last hidden state of a model, a mean over the tokens of each text; `(N, D)`."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    from hf_otw.recipe.pretrained import load_pretrained

    tokenizer = load_pretrained(AutoTokenizer, model)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    network = load_pretrained(AutoModel, model).to(device()).eval()
    found = []
    with torch.inference_mode():
        for start in track(range(0, len(texts), batch_size)):
            batch = list(texts[start : start + batch_size])
            made = tokenizer(batch, truncation=True, max_length=max_tokens, padding=True, return_tensors="pt")
            made = made.to(network.device)
            hidden = network(**made).last_hidden_state.float()  # (B, T, D)
            mask = made["attention_mask"][..., None].float()
            found.append(((hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp_min(1)).cpu().numpy())
    return np.concatenate(found)


def image_features(images: Sequence[Any], model: str, *, batch_size: int = 32, track: Track = iter) -> np.ndarray:
    """What a model makes of each picture before its head, `(N, D)`."""
    import torch
    from transformers import AutoImageProcessor, AutoModel

    from hf_otw.recipe.pretrained import load_pretrained

    processor = load_pretrained(AutoImageProcessor, model)
    network = load_pretrained(AutoModel, model).to(device()).eval()
    found = []
    with torch.inference_mode():
        for start in track(range(0, len(images), batch_size)):
            batch = [image.convert("RGB") for image in images[start : start + batch_size]]
            made = processor(batch, return_tensors="pt").to(network.device)
            hidden = network(**made).last_hidden_state.float()  # (B, T, D), or (B, D, H, W) of a convolutional network
            found.append(hidden.mean(dim=(2, 3) if hidden.ndim == 4 else 1).cpu().numpy())
    return np.concatenate(found)


def device() -> str:
    """The fastest device there is."""
    import torch

    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
