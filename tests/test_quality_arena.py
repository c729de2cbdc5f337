"""The arena of benchmarks/quality: what is drawn, what is held out, and that a method is what its name says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch import Tensor
from torch.func import functional_call, grad
from torch.nn import functional as F

from benchmarks.quality import fine_tuning
from benchmarks.quality.frozen import load
from benchmarks.quality.head import Head, one_by_one, train_heads
from benchmarks.quality.method import Method, meta_loss
from benchmarks.quality.methods import METHODS
from benchmarks.quality.prepared import cleaned, inverse_frequency, uniform, with_meta_rows
from benchmarks.quality.problems import Cell, Frozen, Problem, draw, hold_out
from benchmarks.quality.results import read, write
from benchmarks.quality.run import run_method
from benchmarks.quality.variants import VARIANTS, development, development_cells
from hf_otw.recipe.imbalance import similar_noise

ROOT = Path(__file__).parent.parent
NOISY = Cell("digits", 20, label_noise=0.4)


@pytest.fixture(scope="module")
def problem() -> Problem:
    return draw(load("digits"), NOISY, 0)


def rows_of(features: Tensor) -> set[tuple[float, ...]]:
    return {tuple(row) for row in features.round(decimals=4).tolist()}


@pytest.mark.parametrize("meta", ["clean", "noisy", "split"])
def test_training_meta_and_test_rows_are_disjoint(meta: str) -> None:
    """Kills: a meta set that stays in the training set, or any row of either in the test."""
    found = draw(load("digits"), NOISY._replace(meta=meta), 0)
    train, meta_rows, test = (rows_of(f) for f in (found.features, found.meta_features, found.test_features))
    assert not train & meta_rows
    assert not (train | meta_rows) & test
    assert torch.bincount(found.meta_labels, minlength=10).min() > 0


def test_noise_is_in_the_training_labels_alone(problem: Problem) -> None:
    """Kills: wrong labels in a clean meta set or in the test, another share of them than asked for."""
    right = draw(load("digits"), Cell("digits", 20), 0)
    assert torch.equal(problem.features, right.features)
    assert float((problem.labels != right.labels).float().mean()) == pytest.approx(0.4, abs=0.01)
    assert torch.equal(problem.meta_labels, right.meta_labels)
    assert torch.equal(problem.test_labels, right.test_labels)
    noisy = draw(load("digits"), NOISY._replace(meta="noisy"), 0)
    assert float((noisy.meta_labels != right.meta_labels).float().mean()) == pytest.approx(0.4, abs=0.01)


def test_what_is_held_out_comes_from_training(problem: Problem) -> None:
    """Kills: a choice of settings on the test set."""
    part = hold_out(problem, 0)
    held, kept = rows_of(part.test_features), rows_of(part.features)
    assert held | kept == rows_of(problem.features)
    assert not held & kept
    assert len(held) / len(problem.labels) == pytest.approx(0.2, abs=0.03)


def test_development_never_sees_the_test_split() -> None:
    """Kills: variants of the default that are compared on the rows that judge it."""
    data = load("digits")
    found = development(data)
    test = {tuple(row) for row in data.test_features.tolist()}
    seen = {tuple(row) for part in (found.features, found.test_features) for row in part.tolist()}
    assert seen == {tuple(row) for row in data.features.tolist()}
    assert not seen & test
    assert len({cell.name for cell in development_cells()}) == len(development_cells())


def test_development_of_fine_tuning_never_sees_the_test_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills: variants that are judged by the test, or trained on rows that are held out; other rows for each seed."""
    texts = [f"{kind} {number}" for kind in "abc" for number in range(60)]
    labels = [kind for kind in range(3) for _ in range(60)]
    train = Dataset.from_dict({"text": texts, "label": labels})
    test = Dataset.from_dict({"text": ["unseen"], "label": [0]})
    features = np.random.default_rng(0).normal(size=(180, 4)).astype(np.float32)
    monkeypatch.setitem(fine_tuning.SOURCES, "made", lambda: {"train": train, "test": test})
    monkeypatch.setattr(
        fine_tuning, "load", lambda name: Frozen(features, np.array(labels), features[:1], np.zeros(1))
    )
    cell = Cell("made", counts=(20, 10, 5), label_noise=0.4)
    found = fine_tuning.draw(cell, 100, development=True)
    parts = [set(part["text"]) for part in (found.train, found.meta, found.test)]
    assert [len(part) for part in parts] == [35, 30, 54]
    assert len(set.union(*parts)) == 35 + 30 + 54
    assert set.union(*parts) <= set(texts)
    assert set(fine_tuning.draw(cell, 101, development=True).test["text"]) == parts[2]
    assert fine_tuning.draw(cell, 0).test["text"] == ["unseen"]
    rows = [texts[row] for row in found.rows]
    assert rows == list(found.train["text"])


def test_prior_is_taken_off_after_training() -> None:
    """Kills: the wrong sign, or no adjustment at all (Menon et al. 2021, eq. 9)."""
    adjusted = fine_tuning.METHODS["logit_adjustment_post_hoc"].adjust(torch.zeros(1, 3), torch.tensor([90, 9, 1]))
    assert adjusted.argmax() == 2
    torch.testing.assert_close(adjusted.softmax(1), torch.tensor([[1 / 90, 1 / 9, 1.0]]) / (1 / 90 + 1 / 9 + 1))


def test_similar_noise_goes_to_the_nearest_class() -> None:
    """Kills: noise from the class that is farthest, or of another rate in some class."""
    labels = np.repeat(np.arange(3), 50)
    centres = np.array([[1.0, 0.0], [0.9, 0.3], [-1.0, 0.0]])
    noisy = similar_noise(labels, centres[labels], 3, 0.4)
    assert [int((noisy[labels == k] != k).sum()) for k in range(3)] == [20, 20, 20]
    assert set(noisy[labels == 0]) == {0, 1}
    assert set(noisy[labels == 1]) == {0, 1}
    with pytest.raises(ValueError, match="label_noise in .0, 1."):
        similar_noise(labels, centres[labels], 3, 1.5)


def test_heads_learn_by_themselves() -> None:
    """Kills: heads that share a gradient or a penalty. Together and alone they end the same."""
    found = draw(load("digits"), Cell("digits", 20), 1)
    method, settings = METHODS["logit_adjustment"], METHODS["logit_adjustment"].settings
    prepared = method.prepare(found, 0)
    together = train_heads(
        found, method.objectives(prepared, settings, 0), [setting["l2"] for setting in settings], seed=0
    )
    (alone,) = train_heads(found, method.objectives(prepared, settings[2:3], 0), [settings[2]["l2"]], seed=0)
    torch.testing.assert_close(together[2].weight, alone.weight, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(together[1].weight, alone.weight, rtol=0.1)


def test_one_by_one_is_all_at_once(problem: Problem) -> None:
    heads = Head(torch.randn(2, 10, 64), torch.randn(2, 10))
    rows = torch.arange(20)
    method = Method(meta_coefficient=lambda setting: 0.5)
    prepared = inverse_frequency(problem, 0)
    at_once = method.objectives(prepared, method.settings[:2], 3)(heads, rows, 0)
    singles = [method.objectives(prepared, [setting], 3) for setting in method.settings[:2]]
    each = one_by_one(
        [lambda head, rows, step, f=f: f(Head(*(p[None] for p in head)), rows, step)[0] for f in singles]
    )
    torch.testing.assert_close(at_once, each(heads, rows, 0))
    expected = F.cross_entropy(Head(heads.weight[1], heads.bias[1])(problem.meta_features), problem.meta_labels)
    torch.testing.assert_close(meta_loss(heads, problem, torch.arange(len(problem.meta_labels)))[1], expected)


def test_learning_to_reweight_has_the_weights_of_a_meta_gradient(problem: Problem) -> None:
    """Second derivation: autograd through one step of gradient descent with a weight of 0 on every row."""
    torch.manual_seed(0)
    head, rows = Head(torch.randn(10, 64) * 0.1, torch.randn(10) * 0.1), torch.arange(30)
    objective = METHODS["learning_to_reweight"].objectives(uniform(problem), [{"l2": 0.0}], 0)
    found = objective(Head(head.weight[None], head.bias[None]), rows, 0)[0]

    linear = torch.nn.Linear(64, 10)
    x, y = problem.features[rows], problem.labels[rows]

    def after_a_step(epsilon: Tensor) -> Tensor:
        def loss(parameters: dict[str, Tensor]) -> Tensor:
            return (epsilon * F.cross_entropy(functional_call(linear, parameters, (x,)), y, reduction="none")).sum()

        parameters = {"weight": head.weight, "bias": head.bias}
        moved = {name: parameters[name] - step for name, step in grad(loss)(parameters).items()}
        return F.cross_entropy(functional_call(linear, moved, (problem.meta_features,)), problem.meta_labels)

    weights = (-grad(after_a_step)(torch.zeros(30))).clamp_min(0)
    expected = (weights / weights.sum() * F.cross_entropy(head(x), y, reduction="none")).sum()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert 0 < int((weights > 0).sum()) < 30


def test_cleaned_rows_are_mostly_wrong_ones_and_no_class_goes(problem: Problem) -> None:
    right = draw(load("digits"), Cell("digits", 20), 0)
    wrong = problem.labels != right.labels
    weights = cleaned(problem, 0).weights
    assert float(weights[wrong].mean()) < 0.5 * float(weights[~wrong].mean())
    assert torch.zeros(10).index_add_(0, problem.labels, weights).min() > 0


def test_meta_rows_are_added(problem: Problem) -> None:
    found = with_meta_rows(problem, 0)
    assert len(found.problem.labels) == len(problem.labels) + len(problem.meta_labels) == len(found.weights)


@pytest.mark.parametrize("name", [*METHODS, *VARIANTS])
def test_every_method_learns(problem: Problem, name: str) -> None:
    """Kills: a method that breaks, or that learns nothing: chance is 0.1, wrong labels are four in ten."""
    found = run_method(problem, name, 0)
    assert 0.4 < found["balanced_accuracy"] <= 1
    assert found["setting"] in (METHODS | VARIANTS)[name].settings


def test_the_default_beats_its_loss_alone_under_noise(problem: Problem) -> None:
    """Kills: weights that do not reach the loss."""
    ours, alone = (run_method(problem, name, 0) for name in ("default", "logit_adjustment"))
    assert ours["balanced_accuracy"] > alone["balanced_accuracy"] + 0.1


def test_rows_of_another_benchmark_stay(tmp_path: Path) -> None:
    """Kills: a write that loses what another process has written since this one read the file."""
    path = tmp_path / "quality.json"
    row = {"regime": "frozen", "cell": "a", "method": "m", "seed": 0, "balanced_accuracy": 0.5}
    write([row], {"torch": "1"}, path)
    write([row | {"seed": 1}], {"cleanlab": "2"}, path)
    write([row | {"balanced_accuracy": 0.6}], {"torch": "3"}, path)
    assert [(found["seed"], found["balanced_accuracy"]) for found in read(path)] == [(0, 0.6), (1, 0.5)]
    assert json.loads(path.read_text())["versions"] == {"torch": "3", "cleanlab": "2"}
    assert [file.name for file in tmp_path.iterdir()] == ["quality.json"]


@pytest.mark.slow
def test_the_command_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "quality.json"
    command = [sys.executable, "-m", "benchmarks.quality.run", "--smoke", "--processes", "1", "--results", str(path)]
    subprocess.run([*command, "--methods", "cross_entropy"], cwd=ROOT, check=True, capture_output=True)
    rows = read(path)
    assert len(rows) == 3
    rows[0]["seconds"] = -1.0
    write(rows, {}, path)
    subprocess.run([*command, "--methods", "cross_entropy", "default"], cwd=ROOT, check=True, capture_output=True)
    again = read(path)
    assert len(again) == 6
    assert sum(row["seconds"] == -1.0 for row in again) == 1
