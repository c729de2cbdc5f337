"""Weights, verdicts and comparisons for labelled rows: found where they were hidden, and nowhere else."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from sklearn.linear_model import LogisticRegression

from hf_otw.audit.columns import Columns, Content, find_content
from hf_otw.audit.compare import METHODS, PLAIN, Comparison, compare
from hf_otw.audit.features import image_features, text_features, word_features
from hf_otw.audit.heads import fit_head, predict
from hf_otw.audit.judge import judge
from hf_otw.audit.labelled import load_labelled
from hf_otw.audit.weigh import weigh
from hf_otw.data.files import load_rows, renamed
from hf_otw.data.frame import frame_of
from hf_otw.data.words import with_classes

torch.set_num_threads(1)


def blobs(counts: tuple[int, ...] = (160, 80, 40), apart: float = 5.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    centres = apart * np.eye(len(counts), 6)
    return centres[labels] + rng.normal(size=(len(labels), 6)), labels


def with_errors(labels: np.ndarray, share: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    wrong = rng.permutation(len(labels))[: round(share * len(labels))]
    given = labels.copy()
    given[wrong] = (given[wrong] + rng.integers(1, labels.max() + 1, len(wrong))) % (labels.max() + 1)
    return given, np.isin(np.arange(len(labels)), wrong)


def test_every_row_gets_a_weight_and_wrong_labels_little_of_it() -> None:
    """Kills: rows of the drawn meta set left at 1 or unset, and weights that are not of mean 1."""
    features, labels = blobs()
    given, is_wrong = with_errors(labels, 0.15)
    found = weigh(features, given, seed=3, target_mass="class_prior")
    assert found.weights.shape == labels.shape
    assert found.weights.mean() == pytest.approx(1)
    # Drawn meta sets hold wrong labels too, so that doubts stay: most wrong labels are below all but a few right ones.
    assert np.median(found.weights[is_wrong]) < min(0.2, np.quantile(found.weights[~is_wrong], 0.02))
    assert np.quantile(found.weights[~is_wrong], 0.1) > 0.9
    shares = [found.weights[given == k].sum() / found.weights.sum() for k in range(3)]
    np.testing.assert_allclose(found.class_totals, shares)
    assert found.ess == pytest.approx(found.weights.sum() ** 2 / (found.weights**2).sum())
    clean = weigh(features, labels, target_mass="class_prior")
    balanced = weigh(features, given, seed=3)
    np.testing.assert_allclose(balanced.class_totals, 1 / 3)
    np.testing.assert_allclose(balanced.quality, found.quality)
    assert clean.weights.min() > 0.5, "clean rows keep their weight, rare classes too"


def test_trusted_examples_are_used() -> None:
    """Kills: a meta set that is loaded and ignored: here most labels are wrong, and only it knows."""
    features, labels = blobs((100, 100))
    given = np.where(np.random.default_rng(0).random(200) < 0.6, 1 - labels, labels)
    meta, meta_labels = blobs((20, 20), seed=9)
    right = labels == given
    trusted = weigh(features, given, meta, meta_labels, weighting="agreement")
    assert trusted.weights[right].mean() > 3 * trusted.weights[~right].mean()


def test_the_judge_finds_wrong_labels_their_classes_and_odd_rows() -> None:
    """Kills: ranks the wrong way round, a suggestion by a model that saw the row, odd rows among the doubted."""
    features, labels = blobs()
    features = np.concatenate([features, [[30.0, -30, 30, -30, 30, -30]]])
    labels = np.append(labels, 0)
    given, is_wrong = with_errors(labels, 0.1)
    given[-1], is_wrong[-1] = labels[-1], False
    found = judge(features, given)
    assert (found.is_doubted == is_wrong)[:-1].mean() > 0.97
    assert (found.suggested[is_wrong] == labels[is_wrong]).mean() > 0.95
    assert found.is_far[-1]
    assert found.distance.argmax() == len(labels) - 1
    assert found.is_far.sum() <= 3
    ranked = found.ranked()
    assert sorted(ranked) == list(range(len(labels)))
    doubted = int(found.is_doubted.sum())
    assert is_wrong[ranked[:doubted]].mean() > 0.9
    if not found.is_doubted[-1]:
        assert ranked[doubted] == len(labels) - 1
    assert ((found.quality > 0) & (found.quality <= 1)).all()


def test_a_row_is_not_its_own_neighbour() -> None:
    """Kills: distances of 0 for rows that have no twin, and nonzero ones for rows that have ten."""
    features, labels = blobs((30, 30))
    found = judge(features, labels)
    assert found.distance.min() > 1e-4
    copies = np.concatenate([np.repeat(features[:1], 12, axis=0), features])
    twins = judge(copies, np.append(np.zeros(12, dtype=int), labels))
    np.testing.assert_allclose(twins.distance[:12], 0, atol=1e-2)


def test_heads_are_those_of_scikit_learn() -> None:
    """Kills: a penalised intercept, a wrong weight, a prior that is added in prediction too."""
    features, labels = blobs((60, 30, 20), apart=1.0)
    weights = np.random.default_rng(0).uniform(0.1, 2, len(labels))
    weights /= weights.mean()
    theta = fit_head(features, labels, weights, np.zeros(3), 0.01)
    theirs = LogisticRegression(C=1 / (0.01 * len(labels)), max_iter=2000, tol=1e-10)
    theirs.fit(features, labels, sample_weight=weights)
    coefficients = theta[:-1] - theta[:-1].mean(axis=1, keepdims=True)
    np.testing.assert_allclose(coefficients, theirs.coef_.T - theirs.coef_.T.mean(axis=1, keepdims=True), atol=2e-4)
    assert (predict(theta, features) == theirs.predict(features)).all()
    prior = np.log([0.9, 0.05, 0.05])
    adjusted = fit_head(features, labels, np.ones(len(labels)), prior, 0.01)
    plain = fit_head(features, labels, np.ones(len(labels)), np.zeros(3), 0.01)
    np.testing.assert_allclose(
        adjusted[-1] + prior - (adjusted[-1] + prior).mean(), plain[-1] - plain[-1].mean(), atol=1e-3
    )


def test_methods_give_what_they_are_called() -> None:
    """Kills: two methods that are one."""
    features, labels = blobs((80, 40, 20))
    made = {name: method(features, labels, 3) for name, method in METHODS.items()}
    assert (made[PLAIN][0] == 1).all()
    assert (made[PLAIN][1] == 0).all()
    weights = made["class weights"][0]
    totals = np.bincount(labels, weights)
    np.testing.assert_allclose(totals, totals[0])
    assert weights.mean() == pytest.approx(1)
    np.testing.assert_allclose(np.exp(made["logit adjustment"][1]), [80 / 140, 40 / 140, 20 / 140])
    assert made["optimal transport"][0].std() > 0


def test_the_comparison_prefers_what_helps_imbalanced_rows() -> None:
    """Kills: test rows that were trained on, and scores of another metric."""
    features, labels = blobs((120, 15), apart=0.9)
    found = compare(features, labels, repeats=3)
    assert found.scores["logit adjustment"].mean() > found.scores[PLAIN].mean() + 0.1
    assert found.best != PLAIN
    by_accuracy = compare(features, labels, metric="accuracy", repeats=3)
    assert by_accuracy.scores[PLAIN].mean() > found.scores[PLAIN].mean()
    chance = compare(np.random.default_rng(0).normal(size=(60, 5)), np.arange(60) % 2, repeats=3)
    assert abs(chance.scores[PLAIN].mean() - 0.5) < 0.25, "labels that follow from nothing are not predicted"


def comparison(**gains: tuple[float, ...]) -> Comparison:
    base = np.array([0.5, 0.6, 0.55, 0.65])
    scores = {PLAIN: base, **{name.replace("_", " "): base + np.array(gain) for name, gain in gains.items()}}
    return Comparison("accuracy", scores, 0.2)


def test_the_recommendation_says_how_sure_it_is() -> None:
    """Kills: a winner by chance called one; an interval without the correction for shared rows."""
    sure = comparison(class_weights=(0.1, 0.11, 0.09, 0.1), optimal_transport=(0.2, 0.21, 0.19, 0.2))
    gap, half = sure.difference("optimal transport")
    spread = np.std([0.2, 0.21, 0.19, 0.2], ddof=1) * math.sqrt(1 / 4 + 0.25)
    assert gap == pytest.approx(0.2)
    assert half == pytest.approx(3.18245 * spread, rel=1e-4)
    assert sure.recommendation().startswith("Use optimal transport: +20.0 points of accuracy over cross-entropy, 95 %")
    assert "cannot be told" not in sure.recommendation()
    close = comparison(class_weights=(0.2, 0.21, 0.19, 0.199), optimal_transport=(0.2, 0.21, 0.19, 0.2))
    assert close.recommendation().endswith("class weights cannot be told from it.")
    unsure = comparison(class_weights=(0.2, -0.15, 0.1, 0.0))
    assert unsure.recommendation().startswith("No clear winner: class weights is ahead by")
    worse = comparison(class_weights=(-0.1, -0.1, -0.1, -0.2))
    assert worse.recommendation().startswith("Stay with cross-entropy")


@pytest.mark.parametrize(
    ("bad", "sizes", "message"),
    [
        ({"repeats": 1}, (30, 30), "Expected 2 repeats or more, .* got 1"),
        ({"metric": "balanced"}, (30, 30), "Expected metric to be one of .*Did you mean `balanced_accuracy`"),
        ({}, (30, 4), "Expected 5 rows or more of each class, got 4 of class 1"),
    ],
)
def test_comparisons_that_say_nothing_are_refused(bad: dict, sizes: tuple[int, int], message: str) -> None:
    """Kills: advice that is about another mistake than the one that was made."""
    features, labels = blobs(sizes)
    with pytest.raises(ValueError, match=message):
        compare(features, labels, **bad)


def test_words_become_features_of_one_space() -> None:
    """Kills: a second vocabulary for the meta set."""
    texts = ["the cat sat", "a cat ran", "stocks fell today", "stocks rose again", "the cat slept", "stocks were flat"]
    first, other = word_features(texts, texts[:2])
    np.testing.assert_allclose(first[:2], other, atol=1e-10)
    unit = first / np.linalg.norm(first, axis=1, keepdims=True)
    near = unit @ unit.T
    assert near[0, 1] > near[0, 2]
    assert near[2, 3] > near[1, 3]
    with pytest.raises(ValueError, match="Expected texts with words"):
        word_features(["!", "?"])


def test_columns_are_found_by_their_type() -> None:
    features = Features({"id": Value("int64"), "said": Value("string"), "label": ClassLabel(names=["a", "b"])})
    rows = Dataset.from_dict({"id": [1], "said": ["x"], "label": [0]}, features)
    told: list[str] = []

    def found(rows: Dataset, **columns: object) -> Content:
        return find_content(frame_of(rows), Columns(**columns), told.append)

    assert found(rows) == Content("text", ("said",))
    both = rows.add_column("vector", [[1.0, 2.0]])
    assert found(both) == Content("features", ("vector",))
    assert found(both, text=("said",)) == Content("text", ("said",))
    assert told == []
    two = rows.add_column("more", ["yyy"])
    assert found(two) == Content("text", ("more",)), "the longest texts"
    assert "the column 'more'" in told[0]
    with pytest.raises(ValueError, match="Choose one"):
        found(both, text=("said",), features=("vector",))
    with pytest.raises(ValueError, match="Expected a column 'sad'.*Did you mean 'said'"):
        found(rows, text=("sad",))


def test_classes_are_numbered_alike_in_all_parts() -> None:
    """Kills: a meta set whose classes are numbered by itself."""
    rows = Dataset.from_dict({"label": ["b", "a", "c"]})
    other = Dataset.from_dict({"label": ["c", "c", "b"]})
    found = with_classes({"rows": rows, "meta": other})
    assert found["rows"]["label"][:] == [1, 0, 2]
    assert found["meta"]["label"][:] == [2, 2, 1]
    with pytest.raises(ValueError, match=r"got .*as well"):
        with_classes({"rows": rows, "meta": Dataset.from_dict({"label": ["d"]})})
    numbers = with_classes({"rows": Dataset.from_dict({"label": [10, 2, 10]})})["rows"]
    assert numbers.features["label"].names == ["2", "10"]
    with pytest.raises(ValueError, match="Expected a column 'x'"):
        renamed(rows, {"x": "label"})


def test_one_class_is_refused(tmp_path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\na,x\nb,x\n", encoding="utf-8")
    with pytest.raises(ValueError, match="Expected two classes or more"):
        load_labelled(str(path), Columns())
    Dataset.from_dict({"a": [1]}).save_to_disk(tmp_path / "one")
    DatasetDict(train=Dataset.from_dict({"a": [1]})).save_to_disk(tmp_path / "set")
    with pytest.raises(ValueError, match="Expected the split 'dev'"):
        load_rows(str(tmp_path / "set"), "dev")
    assert load_rows(str(tmp_path / "one"))["a"][:] == [1]


def test_features_of_models_do_not_depend_on_the_batch(tmp_path) -> None:
    """Kills: padding that is averaged in, dropout that is on, and channels of a picture taken for patches."""
    from PIL import Image
    from transformers import ResNetConfig, ResNetModel, ViTConfig, ViTImageProcessor, ViTModel

    from tests.test_cli_train import bert

    texts = ["w1 w2 w3 w4", "w5", "w6 w7"]
    path = str(bert(tmp_path / "bert"))
    together, alone = (text_features(texts, path, batch_size=size) for size in (3, 1))
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert together.shape == (3, 16)
    pictures = [Image.new("L", (9, 7), value) for value in (0, 100, 200)]
    size = {"image_size": 8, "patch_size": 4, "hidden_size": 16, "intermediate_size": 16}
    for name, model, width in (
        ("vit", ViTModel(ViTConfig(num_hidden_layers=1, num_attention_heads=2, **size)), 16),
        ("resnet", ResNetModel(ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1])), 8),
    ):
        model.save_pretrained(tmp_path / name)
        ViTImageProcessor(size={"height": 8, "width": 8}).save_pretrained(tmp_path / name)
        found = [image_features(pictures, str(tmp_path / name), batch_size=size) for size in (3, 1)]
        np.testing.assert_allclose(*found, atol=1e-5)
        assert found[0].shape == (3, width)
