"""Long tails, wrong labels and splits: what a recipe does to its rows."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_otw.recipe.imbalance import long_tail_counts, long_tail_rows, uniform_noise
from hf_otw.recipe.schema import DataConfig
from hf_otw.recipe.splits import class_labels, make_splits, with_meta_in_train

CLASSES = 4


def raw(size: int = 200) -> DatasetDict:
    """Rows that know where they came from."""
    features = Features({"row": Value("int64"), "label": ClassLabel(names=list("abcd"))})
    splits = {}
    for start, split in ((0, "train"), (10_000, "test")):
        rows = list(range(start, start + size))
        splits[split] = Dataset.from_dict({"row": rows, "label": [row % CLASSES for row in rows]}, features)
    return DatasetDict(splits)


def test_long_tail_is_that_of_the_literature() -> None:
    """CIFAR-10-LT with imbalance 100, as in Cui et al. and the code of the paper: 12,406 images."""
    counts = long_tail_counts(10, 5000, 100)
    assert counts == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    assert sum(counts) == 12_406


@given(st.integers(2, 20), st.integers(1, 5000), st.floats(1, 1000))
def test_long_tail_falls_from_the_largest_to_the_factor(classes: int, largest: int, factor: float) -> None:
    counts = long_tail_counts(classes, largest, factor)
    assert counts[0] == largest
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == max(1, int(largest / factor + 1e-9))


@pytest.mark.parametrize("bad", [(3, 10, 0.5), (3, 0, 2)])
def test_bad_long_tails_are_refused(bad: tuple[int, int, float]) -> None:
    with pytest.raises(ValueError, match="Expected imbalance_factor >= 1"):
        long_tail_counts(*bad)


@settings(max_examples=30)
@given(st.integers(0, 100), st.integers(2, 6), st.integers(1, 40), st.floats(1, 50))
def test_long_tail_rows(seed: int, classes: int, largest: int, factor: float) -> None:
    labels = np.random.default_rng(seed).integers(0, classes, 150)
    before = labels.copy()
    rows = long_tail_rows(labels, classes, factor, largest=largest, seed=seed)
    available = np.bincount(labels, minlength=classes)
    wanted = long_tail_counts(classes, min(largest, available.max()), factor)
    assert np.bincount(labels[rows], minlength=classes).tolist() == np.minimum(wanted, available).tolist()
    assert (np.diff(rows) > 0).all()
    assert (labels == before).all()
    assert (rows == long_tail_rows(labels, classes, factor, largest=largest, seed=seed)).all()


@settings(max_examples=30)
@given(st.integers(0, 100), st.integers(2, 6), st.floats(0, 1))
def test_uniform_noise_is_wrong_exactly_as_often_as_asked(seed: int, classes: int, rate: float) -> None:
    labels = np.random.default_rng(seed).integers(0, classes, 90)
    before = labels.copy()
    noisy = uniform_noise(labels, classes, rate, seed=seed)
    assert (noisy != labels).sum() == round(rate * 90)
    assert noisy.min() >= 0
    assert noisy.max() < classes
    assert (labels == before).all()
    assert (noisy == uniform_noise(labels, classes, rate, seed=seed)).all()


def test_uniform_noise_reaches_every_other_class_alike() -> None:
    noisy = uniform_noise(np.zeros(30_000, dtype=np.int64), 4, 0.9)
    counts = np.bincount(noisy, minlength=4)
    assert counts[0] == 3000
    assert abs(counts[1:] - 9000).max() < 350  # 4.5 standard deviations


def test_randomness_of_others_is_left_alone() -> None:
    np.random.seed(0)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    uniform_noise(np.zeros(9, dtype=np.int64), 2, 0.5, seed=1)
    long_tail_rows(np.zeros(9, dtype=np.int64), 1, 2, seed=1)
    assert np.random.random() == expected  # noqa: NPY002


@pytest.mark.parametrize("bad", [(1.5, 2), (-0.1, 2), (0.5, 1)])
def test_bad_noise_is_refused(bad: tuple[float, int]) -> None:
    with pytest.raises(ValueError, match="Expected label_noise in"):
        uniform_noise(np.zeros(3, dtype=np.int64), bad[1], bad[0])


@pytest.mark.parametrize("select", [False, True])
@pytest.mark.parametrize(
    "data",
    [
        DataConfig(),
        DataConfig(imbalance_factor=10, max_train_per_class=20, max_test=30),
        DataConfig(label_noise=0.5, max_train=100),
        DataConfig(imbalance_factor=2, label_noise=0.3),
    ],
)
def test_splits_are_disjoint(data: DataConfig, select: bool) -> None:
    found = make_splits(raw(), data, select=select, meta_per_class=3)
    parts = [set(part["row"]) for part in (found.train, found.test, found.meta) if part is not None]
    assert len(set.union(*parts)) == sum(map(len, parts))
    assert all(parts)
    assert (found.meta is not None) == bool(data.label_noise)
    # The test rows are touched for choosing settings only by their absence.
    assert min(found.test["row"]) < 10_000 if select else min(found.test["row"]) >= 10_000
    assert max(found.train["row"]) < 10_000


def test_selection_and_test_differ_only_in_what_is_tested() -> None:
    data = DataConfig(imbalance_factor=10)
    chosen = make_splits(raw(), data, select=True)
    assert np.bincount(class_labels(chosen.test)).tolist() == [10] * CLASSES
    assert np.bincount(class_labels(chosen.train)).tolist() == long_tail_counts(CLASSES, 40, 10)


def test_meta_rows_stay_clean_and_others_do_not() -> None:
    found = make_splits(raw(), DataConfig(label_noise=0.5), meta_per_class=5)
    truth = [np.asarray(part["row"]) % CLASSES for part in (found.train, found.meta)]
    assert (class_labels(found.train) != truth[0]).sum() == round(0.5 * len(truth[0]))
    assert (class_labels(found.meta) == truth[1]).all()
    assert np.bincount(truth[1]).tolist() == [5] * CLASSES
    assert found.train.features == raw()["train"].features


def test_a_run_without_a_meta_set_trains_on_its_rows() -> None:
    found = make_splits(raw(), DataConfig(label_noise=0.5), meta_per_class=5)
    plain = with_meta_in_train(found)
    assert plain.meta is None
    assert sorted(plain.train["row"]) == sorted([*found.train["row"], *found.meta["row"]])
    assert plain.test["row"][:] == found.test["row"][:]
    clean = make_splits(raw(), DataConfig())
    assert with_meta_in_train(clean) is clean


def test_rows_do_not_change_between_runs() -> None:
    data = DataConfig(imbalance_factor=10, label_noise=0.4, max_test=50)
    first, second = (make_splits(raw(), data) for _ in range(2))
    for name in ("train", "test", "meta"):
        assert getattr(first, name).to_dict() == getattr(second, name).to_dict()


def test_a_long_tail_needs_classes() -> None:
    rows = Dataset.from_dict({"labels": [0.5, 0.1]})
    with pytest.raises(ValueError, match="Expected a ClassLabel column"):
        make_splits(DatasetDict(train=rows, test=rows), DataConfig(imbalance_factor=2))
