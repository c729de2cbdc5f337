"""Emoji: small drawings with names, categories and keywords. The only images with text that a package brings.

The drawings are Google's Noto Emoji (Apache-2.0) as npm's emoji-datasource-google (code MIT) has them; the keywords
are those of npm's emojilib (MIT). They are drawings, not photographs, and a name nearly gives the category away:
results on them show that a multimodal model trains, not how well it sees.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from datasets import Dataset, DatasetDict, Features, List, Value

from recipes.catalogue.sources.arrays import array_dataset
from recipes.catalogue.sources.fetched import EMOJI, EMOJILIB, fetched
from recipes.catalogue.sources.rows import by_frequency, first_copies, stratified_split

NUM_KEYWORDS = 20


class Emoji(NamedTuple):
    """One emoji without its variants of skin tone."""

    character: str
    name: str
    category: str
    image: str


def emoji() -> DatasetDict:
    """Emoji with a picture, a name and a category: image and text, imbalanced by nature.

    | | People | Objects | Flags | Symbols | Travel | Smileys | Animals | Food | Activities | all |
    |---|---|---|---|---|---|---|---|---|---|---|
    | train | 264 | 185 | 180 | 157 | 153 | 118 | 111 | 92 | 59 | 1319 |
    | test | 116 | 79 | 81 | 67 | 65 | 51 | 48 | 39 | 26 | 572 |

    Variants of skin tone are left out, and the five components that are no emoji. The split is drawn with a fixed
    seed, 30 per cent of each category; an emoji is on one side only, but relatives ("man running", "woman running")
    may be on both.

    Returns:
        `DatasetDict`: splits `train` and `test` with the columns `image` (uint8, (64, 64, 3), RGB on white), `text`
        (`str`, the name in lower case) and `label` (`ClassLabel`, by falling frequency). Ask for
        `with_format("numpy")` or `with_format("torch")`: Python lists are slow (and
        the integers of the formats are 64 bits wide).
    """
    items = read_emoji(fetched(EMOJI, "emoji.json"))
    folder = fetched(EMOJI, "64")
    images = np.stack([read_image(folder / item.image) for item in items])
    train, test = split_emoji(items)
    # Some flags share one drawing.
    in_test = {images[index].tobytes() for index in test}
    train = [train[kept] for kept in first_copies([images[index].tobytes() for index in train], in_test)]
    names = by_frequency([items[index].category for index in train])
    return DatasetDict(
        {
            split: array_dataset(
                "image",
                images[part],
                [names.index(items[index].category) for index in part],
                names,
                texts=[items[index].name for index in part],
            )
            for split, part in (("train", train), ("test", test))
        }
    )


def emoji_keywords() -> DatasetDict:
    """Names of emoji with their keywords: several labels a text, and imbalanced by nature.

    | | flag | banner | country | face | nature | animal | female | women | male | food |
    |---|---|---|---|---|---|---|---|---|---|---|
    | train | 179 | 176 | 174 | 112 | 106 | 92 | 90 | 78 | 77 | 76 |
    | test | 80 | 76 | 74 | 51 | 36 | 34 | 31 | 30 | 36 | 27 |

    | | men | human | woman | blue-square | sign | man | entertainment | sports | symbol | vehicle |
    |---|---|---|---|---|---|---|---|---|---|---|
    | train | 69 | 67 | 55 | 51 | 51 | 42 | 41 | 41 | 41 | 39 |
    | test | 34 | 20 | 20 | 23 | 26 | 17 | 14 | 17 | 25 | 14 |

    These are the 20 most frequent keywords of train (of several that always come together, one), of 1333 names in
    train and 572 in test; 38 per cent of the names of train have none of them. A keyword that is a word of the name
    ("flag", "face") is easy; one that never is ("country", "nature") has to be inferred. The split is that of
    [`emoji`].

    Returns:
        `DatasetDict`: splits `train` and `test` with the columns `text` (`str`) and `labels` (`list` of K floats, 1.0
        for each keyword that applies), the keywords as in [`emoji_keyword_names`].
    """
    items, keywords, names = read_keywords()
    labels = np.array([[float(name in found) for name in names] for found in keywords], dtype=np.float32)  # (N, K)
    features = Features({"text": Value("string"), "labels": List(Value("float32"), length=len(names))})
    train, test = split_emoji(items)
    return DatasetDict(
        {
            split: Dataset.from_dict(
                {"text": [items[index].name for index in part], "labels": labels[part].tolist()}, features
            )
            for split, part in (("train", train), ("test", test))
        }
    )


def emoji_keyword_names() -> list[str]:
    """The K keywords of [`emoji_keywords`], in the order of its labels: the most frequent one of train first."""
    return read_keywords()[2]


def read_keywords() -> tuple[list[Emoji], list[set[str]], list[str]]:
    """The emoji, the keywords of each, and the most frequent keywords of the train split."""
    items = read_emoji(fetched(EMOJI, "emoji.json"))
    table = json.loads(fetched(EMOJILIB, "emoji-en-US.json").read_text(encoding="utf-8"))
    # The first entry of each is its name.
    keywords = [set(table.get(item.character, [""])[1:]) for item in items]
    train, _ = split_emoji(items)
    return items, keywords, frequent_keywords([keywords[index] for index in train], NUM_KEYWORDS)


def frequent_keywords(keywords: list[set[str]], limit: int) -> list[str]:
    """The `limit` most frequent keywords; of several with exactly the same rows, the first of the alphabet."""
    ranked = by_frequency([word for found in keywords for word in sorted(found)])
    chosen: dict[tuple[int, ...], str] = {}
    for word in ranked:
        rows = tuple(index for index, found in enumerate(keywords) if word in found)
        chosen.setdefault(rows, word)
        if len(chosen) == limit:
            break
    return list(chosen.values())


def split_emoji(items: list[Emoji]) -> tuple[list[int], list[int]]:
    """The one split of the emoji: indices of train and test, no name twice in train or in both."""
    train, test = stratified_split([item.category for item in items])
    kept = first_copies([items[index].name for index in train], {items[index].name for index in test})
    return [train[index] for index in kept], test


def read_emoji(path: Path) -> list[Emoji]:
    """Read `emoji.json`, without components."""
    found = []
    for entry in json.loads(path.read_text(encoding="utf-8")):
        if entry["category"] != "Component":
            character = "".join(chr(int(code, 16)) for code in entry["unified"].split("-"))
            found.append(Emoji(character, entry["name"].lower(), entry["category"], entry["image"]))
    return found


def read_image(path: Path) -> np.ndarray:
    """A picture (64, 64, 3) uint8, its transparent parts white."""
    from PIL import Image

    with Image.open(path) as picture:
        colours = picture.convert("RGBA")
    white = Image.new("RGBA", colours.size, "white")
    return np.asarray(Image.alpha_composite(white, colours).convert("RGB"))
