"""Data sets: row numbers, the meta split, and whether two sets share examples."""

from __future__ import annotations

import copy
import logging
import pickle
from datetime import datetime

import datasets
import numpy as np
import pytest
import torch
from datasets import Dataset, Value

from hf_otw.data.columns import check_dataset, read_labels
from hf_otw.data.index import EXAMPLE_INDEX, IndexCollator, IndexedDataset, take_rows, with_example_index
from hf_otw.data.overlap import count_overlap, remove_overlap, row_hashes
from hf_otw.data.split import copies_of, rows_seen_in, split_meta
from tests.toys import toy_dataset

TEXTS = ["a cat", "a dog", "", "ünï", "a cat "]


def same(left, right):
    np.testing.assert_array_equal(row_hashes(left), row_hashes(right))


@pytest.mark.parametrize(
    "column",
    [TEXTS, [3, -1, 0, 2**40, 7], [0.5, 1e-9, -2.0, 0.0, 3.0], [[1, 2], [2, 1], [], [1, 2, 0], [0, 1, 2]]],
    ids=["strings", "integers", "floats", "lists"],
)
def test_hashes_tell_contents(column):
    """Different contents differ (order inside a list counts, trailing zeros too), equal contents do not, and nothing
    else matters: labels, order of columns, chunks, an indices mapping, a slice.
    """
    data = Dataset.from_dict({"x": column, "y": list(range(5)), "label": [0, 1, 0, 1, 0]})
    plain = row_hashes(data.remove_columns("y"))
    assert len(set(plain.tolist())) == 5
    assert plain.dtype == np.uint64
    relabelled = Dataset.from_dict({"label": [1] * 5, "x": column})
    np.testing.assert_array_equal(row_hashes(relabelled), plain)
    np.testing.assert_array_equal(row_hashes(Dataset.from_dict({"y": list(range(5)), "x": column})), row_hashes(data))
    order = [4, 2, 2, 0]
    for found, rows in (
        (data.select(order), order),
        (data.select(range(1, 4)), [1, 2, 3]),
        (data.select([3, 1]).select([1]), [1]),
        (datasets.concatenate_datasets([data.select([0]), data.select([1, 2])]), [0, 1, 2]),
    ):
        np.testing.assert_array_equal(row_hashes(found), row_hashes(data)[rows])


def test_hashes_do_not_depend_on_the_width_of_a_type():
    data = Dataset.from_dict({"x": [[1, 2], [3]], "n": [1, 2], "s": ["a", "b"]})
    narrow = data.cast_column("x", datasets.Sequence(Value("int32"))).cast_column("n", Value("int8"))
    same(data, narrow.cast_column("s", Value("large_string")))
    same(data, data.with_format("torch"))


def test_hashes_of_two_columns_are_not_interchangeable():
    one = Dataset.from_dict({"premise": ["a", "b"], "hypothesis": ["b", "a"]})
    hashes = row_hashes(one)
    assert hashes[0] != hashes[1]


def test_no_collision_among_near_neighbours():
    """All lists of length 1 to 3 over 30 tokens: 27,930 rows. Kills: a sum that ignores the place or the length."""
    rng = range(30)
    rows = [[i] for i in rng] + [[i, j] for i in rng for j in rng] + [[i, j, k] for i in rng for j in rng for k in rng]
    data = Dataset.from_dict({"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]})
    assert len(np.unique(row_hashes(data))) == len(rows) == 27_930


def test_images_spectra_and_maps_are_told_apart():
    """Bytes, floats in lists, lists in lists. Kills: a column that is left out, so that the rest decides."""
    columns = {
        "image": [{"bytes": b"ab", "path": None}, {"bytes": b"ac", "path": None}],
        "audio": [[0.5, 0.25], [0.5, 0.125]],
        "pixels": [[[1, 2], [3, 4]], [[1, 2], [4, 3]]],
    }
    for values in columns.values():
        data = Dataset.from_dict({"x": values, "prompt": ["same", "same"]})
        assert len(set(row_hashes(data).tolist())) == 2
        assert count_overlap(data, data) == 2
    fixed = Dataset.from_dict({"x": columns["pixels"]}, datasets.Features({"x": datasets.Array2D((2, 2), "uint8")}))
    assert len(set(row_hashes(fixed).tolist())) == 2


def test_unreadable_columns():
    """A column that cannot be hashed leaves no answer, and no error: the others alone may call rows equal."""
    moments = [datetime(2026, 1, 1), datetime(2026, 1, 2)]
    data = Dataset.from_dict({"x": moments, "prompt": ["same", "same"], "label": [0, 1]})
    assert row_hashes(data) is None
    assert count_overlap(data, data) == 0
    assert remove_overlap(data, data) is data
    assert row_hashes([{"x": 1}]) is None
    assert not rows_seen_in(data, [data]).any()
    assert not rows_seen_in([{"x": 1}], []).any()
    assert copies_of([{"x": 1}]) is None


def test_overlap_is_on_the_columns_that_both_have():
    """A running number or a column more must not hide that texts are the same."""
    left = Dataset.from_dict({"text": ["a", "b", "c", "a"], "idx": [0, 1, 2, 3], "label": [0, 0, 1, 1]})
    right = Dataset.from_dict({"text": ["c", "d"], "idx": [0, 1], "source": ["x", "y"], "label": [0, 0]})
    assert count_overlap(left, right) == 1
    assert count_overlap(right, left) == 1
    assert remove_overlap(left, right)["text"] == ["a", "b", "a"]
    assert rows_seen_in(left, [right]).tolist() == [False, False, True, False]
    more = left.add_column("n", [1.0, 2.0, 3.0, 1.0])
    assert rows_seen_in(more, [right]).tolist() == [False, False, True, False]
    assert not rows_seen_in(left, []).any()
    assert copies_of(left).tolist() == [copies_of(left)[3], *copies_of(left)[1:3], copies_of(left)[0]]
    assert len(set(copies_of(left).tolist())) == 3


def test_indexed_dataset():
    base = [{"x": 10}, {"x": 11}, {"x": 12}]
    assert [IndexedDataset(base)[i] for i in range(3)] == [{"x": 10 + i, EXAMPLE_INDEX: i} for i in range(3)]
    part = IndexedDataset(base, np.array([2, 0]))
    assert len(part) == 2
    assert [part[i][EXAMPLE_INDEX] for i in range(2)] == [2, 0]
    assert [part[i]["x"] for i in range(2)] == [12, 10]
    assert base[0] == {"x": 10}


def test_with_example_index():
    """Row numbers of the data set as given, also for a part, over an indices mapping, a format, a transform, and an
    older column of that name.
    """
    data = toy_dataset().select([5, 3, 8, 1])
    for given in (data, data.with_format("torch"), data.add_column(EXAMPLE_INDEX, [9, 9, 9, 9])):
        found = with_example_index(given, np.array([1, 3]))
        assert [int(found[i][EXAMPLE_INDEX]) for i in range(2)] == [1, 3]
        assert [list(map(int, found[i]["input_ids"])) for i in range(2)] == [data[i]["input_ids"] for i in (1, 3)]
    assert isinstance(with_example_index(data.with_format("torch"))[0]["input_ids"], torch.Tensor)
    data.set_transform(lambda rows: {"z": [len(ids) for ids in rows["input_ids"]]})
    assert with_example_index(data, np.array([2]))[0] == {"z": data[2]["z"], EXAMPLE_INDEX: 2}


def test_index_collator():
    seen = []

    def collate(items):
        seen.append(items)
        return {"x": [item["x"] for item in items]}

    batch = IndexCollator(collate)([{"x": 1, EXAMPLE_INDEX: 7}, {"x": 2, EXAMPLE_INDEX: 3}])
    assert batch["x"] == [1, 2]
    assert batch[EXAMPLE_INDEX].tolist() == [7, 3]
    assert seen[-1] == [{"x": 1}, {"x": 2}]  # after a look whether it carries one more key
    assert IndexCollator(collate)([{"x": 1}]) == {"x": [1]}


def test_take_rows():
    data = toy_dataset()
    assert take_rows(data, np.array([4, 2]))["label"] == [data[4]["label"], data[2]["label"]]
    assert list(take_rows([10, 11, 12], np.array([2, 0]))) == [12, 10]


def test_read_labels():
    data = Dataset.from_dict({"labels": [1, 0], "label": [5, 5]})
    assert read_labels(data, "train").tolist() == [1, 0]
    assert read_labels(data.with_format("torch"), "train").dtype == torch.int64
    data.set_transform(lambda rows: {"labels": [9 for _ in rows["labels"]]})
    assert read_labels(data, "train").tolist() == [1, 0]  # of the column, not of the transform
    assert read_labels([{"label": torch.tensor(2)}, {"label": 1}], "train").tolist() == [2, 1]
    with pytest.raises(ValueError, match=r"label column \(labels or label\), got the columns \['x'\]"):
        read_labels([{"x": 1}], "train")
    for bad in ([0.5, 1.0], [[0, 1], [1, 0]], ["a", "b"]):
        with pytest.raises(ValueError, match="one integer label per example in column 'label' of meta"):
            read_labels(Dataset.from_dict({"label": bad}), "meta")


def test_check_dataset_accepts_what_has_rows():
    check_dataset(toy_dataset(), "train_dataset")
    check_dataset([{"x": 1}], "train_dataset")
    with pytest.raises(TypeError, match=r"dict with the splits \['validation'\].*dataset\['validation'\]"):
        check_dataset({"validation": toy_dataset()}, "meta_dataset")


def test_split_meta(caplog):
    labels = torch.tensor([0] * 20 + [1] * 8 + [2] * 3)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    with caplog.at_level(logging.WARNING, logger="hf_otw.data.split"):
        split = split_meta(labels, 3, 4, seed=0, class_names=["a", "b", "c"])
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert labels[split.meta_rows].bincount().tolist() == [4, 4, 1]
    assert "(c: 1)" in caplog.text
    assert sorted([*split.train_rows, *split.meta_rows]) == list(range(31))
    assert (np.diff(split.meta_rows) > 0).all()
    assert (np.diff(split.train_rows) > 0).all()
    again = [split_meta(labels, 3, 4, seed=seed).meta_rows.tolist() for seed in (0, 1)]
    assert again[0] == split.meta_rows.tolist()
    assert again[1] != again[0]


def test_split_meta_avoids(caplog):
    labels = torch.tensor([0] * 10 + [1] * 6)
    avoid = np.zeros(16, dtype=bool)
    avoid[:8] = True
    for seed in range(5):
        split = split_meta(labels, 2, 2, seed=seed, avoid=avoid)
        assert set(split.meta_rows[:2]) == {8, 9}
    avoid[:] = True
    with caplog.at_level(logging.WARNING, logger="hf_otw.data.split"):
        assert labels[split_meta(labels, 2, 2, seed=0, avoid=avoid).meta_rows].tolist() == [0, 0, 1, 1]
    assert "4 examples of the meta set are in an evaluation set too" in caplog.text


def test_copies_of_a_meta_row_leave_the_training_set():
    """Kills: a copy of a meta example that is trained on."""
    labels = torch.tensor([0] * 10 + [1] * 6)
    content = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 3, 4, 5, 6, 7, 8])
    for seed in range(5):
        split = split_meta(labels, 2, 2, seed=seed, copies=content)
        assert len(set(content[split.meta_rows])) == len(split.meta_rows) == 3  # one of three contents, two of six
        assert not set(content[split.meta_rows]) & set(content[split.train_rows])
        assert sorted({*content[split.train_rows], *content[split.meta_rows]}) == list(range(9))


def test_a_row_alone_in_its_class(caplog):
    """Refused, or trained on with weight 1. Kills: a row that is lost, or a class in both sets with one row."""
    labels = torch.tensor([0] * 10 + [1] + [-100])
    labelled = (labels >= 0).numpy()
    options = {"seed": 0, "labelled": labelled, "class_names": ["many", "one"]}
    with pytest.raises(ValueError, match="at least 2 distinct training examples of every class.* class one has 1"):
        split_meta(labels.clamp_min(0), 2, 2, **options)
    with caplog.at_level(logging.WARNING, logger="hf_otw.data.split"):
        split = split_meta(labels.clamp_min(0), 2, 2, keep_single_rows=True, **options)
    assert split.unweighted_rows.tolist() == [10, 11]
    assert "(one): they have no meta examples" in caplog.text
    with pytest.raises(ValueError, match="a class with at least 2 distinct training examples"):
        split_meta(torch.tensor([0, 1]), 2, 2, seed=0, keep_single_rows=True)


class WithTokenizer:
    tokenizer = "tokenizer"

    def __call__(self, items):
        return {}


def test_the_collator_has_what_the_users_has():
    """The Trainer saves the collator's tokenizer beside the model. Kills: a wrapper that hides it, or cannot be copied
    to the workers of a loader.
    """
    collator = pickle.loads(pickle.dumps(copy.deepcopy(IndexCollator(WithTokenizer()))))
    assert collator.tokenizer == "tokenizer"
    assert not hasattr(collator, "other")


@pytest.mark.parametrize("dtype", [torch.float16, torch.uint8])
def test_row_numbers_are_not_cast_to_the_dtype_of_a_format(dtype):
    """Kills: row 2999 in half precision, which is row 3000, or in a byte."""
    dataset = Dataset.from_dict({"x": [0] * 3000}).with_format("torch", dtype=dtype)
    rows = with_example_index(dataset, np.arange(1, 3000))
    assert rows[2998][EXAMPLE_INDEX] == 2999
    assert rows[0]["x"].dtype == dtype
