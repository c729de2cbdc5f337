"""Real data and real pretrained models that install by package name: they need no model hub and no account.

`SOURCES` names the loaders of data. Each returns the splits `train` and `test` with fixed columns, the same rows at
every call, and no row of train that is in test too.
"""

from collections.abc import Callable

from datasets import DatasetDict

from recipes.catalogue.sources.diabetes import diabetes
from recipes.catalogue.sources.emoji import emoji, emoji_keyword_names, emoji_keywords
from recipes.catalogue.sources.fashion import fashion_mnist
from recipes.catalogue.sources.files import REMEDY, PackagedFile, locate, sha256
from recipes.catalogue.sources.given import cifar10, sst2, trec
from recipes.catalogue.sources.orange import (
    REUTERS_DIGESTS,
    REUTERS_HEADER,
    ReutersVariant,
    load_reuters,
    newsgroup_language,
    newsgroups,
    read_reuters,
    reuters_r8,
    reuters_r52,
)
from recipes.catalogue.sources.points import fashion_points, modelnet10
from recipes.catalogue.sources.pretrained import MINILM, SMOLLM2, minilm_path, smollm2_path
from recipes.catalogue.sources.reviews import rotten_tomatoes, truecasing
from recipes.catalogue.sources.rows import Row, to_dataset_dict, without_copies
from recipes.catalogue.sources.spam import spam_assassin
from recipes.catalogue.sources.speech import speech_commands_synthetic

SOURCES: dict[str, Callable[..., DatasetDict]] = {
    "cifar10": cifar10,
    "diabetes": diabetes,
    "emoji": emoji,
    "emoji_keywords": emoji_keywords,
    "fashion_mnist": fashion_mnist,
    "fashion_points": fashion_points,
    "modelnet10": modelnet10,
    "newsgroup_language": newsgroup_language,
    "newsgroups": newsgroups,
    "reuters_r8": reuters_r8,
    "reuters_r52": reuters_r52,
    "rotten_tomatoes": rotten_tomatoes,
    "spam_assassin": spam_assassin,
    "speech_commands_synthetic": speech_commands_synthetic,
    "sst2": sst2,
    "trec": trec,
    "truecasing": truecasing,
}

__all__ = [
    "MINILM",
    "REMEDY",
    "REUTERS_DIGESTS",
    "REUTERS_HEADER",
    "SMOLLM2",
    "SOURCES",
    "PackagedFile",
    "ReutersVariant",
    "Row",
    "emoji_keyword_names",
    "load_reuters",
    "locate",
    "minilm_path",
    "read_reuters",
    "sha256",
    "smollm2_path",
    "to_dataset_dict",
    "without_copies",
    *SOURCES,
]
