"""Public research data that no package brings: read from files in a folder of the user's, `$HF_OTW_DATA`."""

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
from datasets import ClassLabel, Dataset, DatasetDict, DatasetInfo, Features, Image, Value

from recipes.catalogue.sources.files import user_file
from recipes.catalogue.sources.rows import first_copies

CIFAR10_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
TREC_CLASSES = ["description", "entity", "abbreviation", "human", "location", "number"]


def cifar10() -> DatasetDict:
    """CIFAR-10, photographs of ten kinds of things (Krizhevsky 2009), from `cifar10/cifar10-{train,test}.parquet`.

    | | classes | train | test | a class |
    |---|---|---|---|---|
    | published and returned | 10 | 50000 | 10000 | 5000 and 1000 |

    The files that this project was measured with hold JPEG copies (quality about 75): accuracies on them sit a little
    below those on the lossless images, which has to be said wherever one is quoted.

    Returns:
        `DatasetDict`: splits `train` and `test` with the columns `image` (`datasets.Image`, 32x32 RGB, decoded by
        Pillow on access) and `label` (`ClassLabel`). An image whose bytes test holds too is not in train.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: it holds other columns.
    """
    tables = {}
    for split, count in (("train", "50,000"), ("test", "10,000")):
        contents = f"the {count} images of CIFAR-10, columns image {{bytes, path}} and label 0..9"
        path = user_file(f"cifar10/cifar10-{split}.parquet", contents)
        table = pa.parquet.read_table(path)
        if not {"image", "label"} <= set(table.column_names):
            raise ValueError(f"Expected {path} with {contents}, got the columns {table.column_names}. Please convert.")
        tables[split] = table.select(["image", "label"])
    encoded = {split: table["image"].combine_chunks().field("bytes").to_pylist() for split, table in tables.items()}
    tables["train"] = tables["train"].take(first_copies(encoded["train"], set(encoded["test"])))
    features = Features({"image": Image(), "label": ClassLabel(names=CIFAR10_CLASSES)})
    return DatasetDict(
        {
            split: Dataset(table.cast(features.arrow_schema), info=DatasetInfo(features=features))
            for split, table in tables.items()
        }
    )


def sst2() -> DatasetDict:
    """Stanford Sentiment Treebank, whole sentences, two classes (Socher et al. 2013), from `text/sst2-*.jsonl`.

    | | classes | train | test | negative : positive in train |
    |---|---|---|---|---|
    | published | 2 | 6920 | 1821 | 3310 : 3610 |
    | returned | 2 | 6909 | 1821 | 3304 : 3605 |

    Lower case, tokens apart; accented letters are garbled ("crÃ¨me") in the files that this project was measured with.
    The file of 872 sentences for development is not read.

    Returns:
        `DatasetDict`: splits `train` and `test` with the columns `text` (`str`) and `label` (`ClassLabel`). A text
        that test holds too, and a further copy of one, is not in train.
    """
    return load_jsonl("sst2", ["negative", "positive"])


def trec() -> DatasetDict:
    """TREC, what a question asks for (Li and Roth 2002), from `text/trec-{train,test}.jsonl`: imbalanced by nature.

    | | entity | human | description | number | location | abbreviation | all |
    |---|---|---|---|---|---|---|---|
    | train, published | 1250 | 1223 | 1162 | 896 | 835 | 86 | 5452 |
    | train, returned | 1245 | 1215 | 1148 | 856 | 823 | 84 | 5371 |
    | test | 94 | 65 | 138 | 113 | 81 | 9 | 500 |

    Returns:
        `DatasetDict`: splits `train` and `test` with the columns `text` (`str`) and `label` (`ClassLabel`, in the
        order of the file). A text that test holds too, and a further copy of one, is not in train.
    """
    return load_jsonl("trec", TREC_CLASSES)


def load_jsonl(name: str, classes: list[str]) -> DatasetDict:
    """Both splits of a text data set in files of one `{"text": ..., "label": number}` a line."""
    contents = f'one {{"text": ..., "label": 0..{len(classes) - 1}}} a line ({", ".join(classes)})'
    rows = {split: read_jsonl(user_file(f"text/{name}-{split}.jsonl", contents)) for split in ("train", "test")}
    for split, found in rows.items():
        counts = Counter(row["label"] for row in found)
        if set(counts) != set(range(len(classes))):
            raise ValueError(f"Expected {name}-{split}.jsonl with {contents}, got the labels {dict(counts)}.")
    in_test = {row["text"] for row in rows["test"]}
    kept = first_copies([row["text"] for row in rows["train"]], in_test)
    rows["train"] = [rows["train"][index] for index in kept]
    features = Features({"text": Value("string"), "label": ClassLabel(names=classes)})
    return DatasetDict({split: Dataset.from_list(found, features) for split, found in rows.items()})


def read_jsonl(path: Path) -> list[dict]:
    """Text and label of each line."""
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        row = json.loads(line)
        if not isinstance(row, dict) or not {"text", "label"} <= set(row):
            raise ValueError(f"Expected an object with text and label in line {number} of {path}, got {line[:80]!r}.")
        rows.append({"text": row["text"].strip(), "label": row["label"]})
    return rows
