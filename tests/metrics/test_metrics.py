from __future__ import annotations

import doctest
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_EVALUATE_OFFLINE", "1")

import evaluate
import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, EvalPrediction, Trainer, TrainingArguments

from hf_otw.metrics import METRIC_NAMES, load_metric, make_compute_metrics, metric_path

ROOT = Path(__file__).resolve().parents[2]

# Recalls 3/4, 1/4, 1/2, 1 and F1 scores 2*3/(6+4), 2*1/(2+4), 2*1/(1+2), 2*2/(3+2): all different, so that a wrong
# average shows. The training counts sit on both sides of both bounds of the shot groups.
COUNTS = [101, 100, 20, 19]
NAMES = ["ant", "bee", "cat", "dog"]
REFERENCES = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3]
PREDICTIONS = [0, 0, 0, 1, 1, 0, 0, 0, 2, 3, 3, 3]
SHOTS = {"many_shot": 0.75, "medium_shot": 0.375, "few_shot": 1.0}  # medium: mean of 1/4 and 1/2, not 2 of 6 examples
SCORES = {"accuracy": 7 / 12, "balanced_accuracy": 0.625, "macro_f1": 0.6, **SHOTS}
RECALLS = {"recall/ant": 0.75, "recall/bee": 0.25, "recall/cat": 0.5, "recall/dog": 1.0}


@pytest.fixture(autouse=True)
def _no_network_and_own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*args: object) -> NoReturn:
        raise AssertionError(f"a metric reached for the network: {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", tmp_path / "metrics")


def compute(name: str, predictions: list[int], references: list[int], **arguments: object) -> dict[str, object]:
    return load_metric(name).compute(predictions=predictions, references=references, **arguments)


def slow_scores(predictions: list[int], references: list[int], counts: list[int]) -> dict[str, float]:
    """All metrics from their definitions, one example at a time, without numpy or scikit-learn."""
    pairs = list(zip(predictions, references, strict=True))
    recalls, f1_scores, groups = {}, [], {"many_shot": [], "medium_shot": [], "few_shot": []}
    for k, count in enumerate(counts):
        hits = sum(p == k and r == k for p, r in pairs)
        predicted = sum(p == k for p, _ in pairs)
        referenced = sum(r == k for _, r in pairs)
        if predicted or referenced:
            f1_scores.append(2 * hits / (predicted + referenced))
        if referenced:
            recalls[k] = hits / referenced
            groups["many_shot" if count > 100 else "few_shot" if count < 20 else "medium_shot"].append(recalls[k])
    return {
        "accuracy": sum(p == r for p, r in pairs) / len(pairs),
        "balanced_accuracy": sum(recalls.values()) / len(recalls),
        "macro_f1": sum(f1_scores) / len(f1_scores),
        **{name: sum(values) / len(values) for name, values in groups.items() if values},
        **{f"recall/{k}": recall for k, recall in recalls.items()},
    }


def test_values_computed_by_hand() -> None:
    assert compute("balanced_accuracy", PREDICTIONS, REFERENCES) == pytest.approx({"balanced_accuracy": 0.625})
    assert compute("macro_f1", PREDICTIONS, REFERENCES) == pytest.approx({"macro_f1": 0.6})
    assert compute("per_class_recall", PREDICTIONS, REFERENCES) == {"per_class_recall": [0.75, 0.25, 0.5, 1.0]}
    assert compute("shot_accuracy", PREDICTIONS, REFERENCES, class_counts=COUNTS) == pytest.approx(SHOTS)
    prediction = EvalPrediction(predictions=np.eye(4)[PREDICTIONS], label_ids=np.array(REFERENCES))
    assert make_compute_metrics(COUNTS)(prediction) == pytest.approx(SCORES)
    assert make_compute_metrics(COUNTS, NAMES, per_class=True)(prediction) == pytest.approx(SCORES | RECALLS)


def test_the_slow_oracle_agrees_with_the_hand_and_rejects_a_changed_prediction() -> None:
    expected = SCORES | {f"recall/{k}": value for k, value in enumerate(RECALLS.values())}
    assert slow_scores(PREDICTIONS, REFERENCES, COUNTS) == pytest.approx(expected)
    assert slow_scores([1, *PREDICTIONS[1:]], REFERENCES, COUNTS) != pytest.approx(expected)


@pytest.mark.parametrize("seed", range(16))
def test_agrees_with_the_slow_oracle_on_random_data(seed: int) -> None:
    rng = np.random.default_rng(seed)
    num_classes = int(rng.integers(1, 9))
    num_examples = int(rng.integers(1, 40))  # often fewer than classes: some are never referenced or never predicted
    counts = rng.integers(0, 150, num_classes).tolist()
    references = rng.integers(0, num_classes, num_examples)  # (N,)
    logits = rng.normal(size=(num_examples, num_classes)) + 1.5 * np.eye(num_classes)[references]  # (N, K)
    predictions = [max(range(num_classes), key=row.__getitem__) for row in logits.tolist()]

    scores = make_compute_metrics(counts, per_class=True)(EvalPrediction(predictions=logits, label_ids=references))
    assert scores == pytest.approx(slow_scores(predictions, references.tolist(), counts))
    assert all(type(value) is float for value in scores.values())  # the Trainer writes them to JSON


def test_class_missing_from_the_references_counts_nowhere_but_lowers_the_others() -> None:
    # Class 1 is predicted once and never referenced: sklearn's balanced_accuracy_score would warn.
    predictions, references = [0, 1, 2], [0, 0, 2]
    assert compute("balanced_accuracy", predictions, references) == {"balanced_accuracy": 0.75}
    assert compute("macro_f1", predictions, references)["macro_f1"] == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert compute("per_class_recall", predictions, references) == {"per_class_recall": [0.5, None, 1.0]}
    named = compute("per_class_recall", predictions, references, class_names=["cat", "dog", "owl"])
    assert named == {"per_class_recall": {"cat": 0.5, "owl": 1.0}}
    assert compute("per_class_recall", [0], [0], class_counts=[9, 9, 9]) == {"per_class_recall": [1.0, None, None]}
    assert compute("per_class_recall", [0, 2], [0, 0]) == {"per_class_recall": [0.5, None, None]}
    # The medium-shot group has class 1 only, so it is left out rather than NaN.
    shots = compute("shot_accuracy", predictions, references, class_counts=[500, 50, 5])
    assert shots == {"many_shot": 0.5, "few_shot": 1.0}
    assert compute("shot_accuracy", [1], [1], class_counts=[500, 0]) == {"few_shot": 1.0}  # no training example at all


def test_class_never_predicted_has_recall_zero() -> None:
    predictions, references = [0, 0, 0], [0, 0, 1]
    assert compute("balanced_accuracy", predictions, references) == {"balanced_accuracy": 0.5}
    assert compute("macro_f1", predictions, references)["macro_f1"] == pytest.approx((0.8 + 0) / 2)
    assert compute("per_class_recall", predictions, references) == {"per_class_recall": [1.0, 0.0]}
    assert compute("shot_accuracy", predictions, references, class_counts=[500, 5]) == {"many_shot": 1, "few_shot": 0}


@pytest.mark.parametrize("num_classes", [1, 5])
def test_a_single_class_in_the_references(num_classes: int) -> None:
    prediction = EvalPrediction(predictions=np.eye(num_classes)[[0, 0]], label_ids=np.array([0, 0]))
    scores = make_compute_metrics([7] * num_classes, per_class=True)(prediction)
    assert scores == {"accuracy": 1, "balanced_accuracy": 1, "macro_f1": 1, "few_shot": 1, "recall/0": 1}


def test_more_classes_than_examples_of_any_does_not_warn() -> None:
    # sklearn may take many distinct integers for a regression target and warn; here a warning is an error.
    prediction = EvalPrediction(predictions=np.roll(np.arange(60), 1), label_ids=np.arange(60))
    scores = make_compute_metrics([5] * 60)(prediction)
    assert scores == {"accuracy": 0, "balanced_accuracy": 0, "macro_f1": 0, "few_shot": 0}


def test_importing_the_package_imports_neither_evaluate_nor_transformers() -> None:
    code = "import sys, hf_otw.metrics; print([m for m in ('evaluate', 'transformers') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("name", METRIC_NAMES)
def test_evaluate_loads_the_path_without_a_network(name: str) -> None:
    for path in (metric_path(name), str(Path(metric_path(name)).parent)):
        metric = evaluate.load(path)
        assert isinstance(metric, evaluate.Metric)
        assert metric.name == name
        for prediction, reference in zip(PREDICTIONS, REFERENCES, strict=True):
            metric.add(prediction=prediction, reference=reference)
        expected = compute(name, PREDICTIONS, REFERENCES, class_counts=COUNTS)
        assert metric.compute(class_counts=COUNTS) == expected


@pytest.mark.parametrize("name", METRIC_NAMES)
def test_documented_examples_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # the examples name the module by its path in the repository
    text = load_metric(name).inputs_description
    examples = doctest.DocTestParser().get_doctest(text, {"evaluate": evaluate}, name, None, None)
    results = doctest.DocTestRunner(verbose=False).run(examples)  # pytest shows what it prints
    assert results.failed == 0
    assert results.attempted >= 2


def test_evaluate_combine_takes_the_paths() -> None:
    metrics = evaluate.combine([metric_path(name) for name in METRIC_NAMES])
    metrics.add_batch(predictions=PREDICTIONS[:5], references=REFERENCES[:5])
    metrics.add_batch(predictions=PREDICTIONS[5:], references=REFERENCES[5:])
    scores = metrics.compute(class_counts=COUNTS, class_names=NAMES)
    recalls = scores.pop("per_class_recall")
    assert scores == pytest.approx({name: value for name, value in SCORES.items() if name != "accuracy"})
    assert recalls == {name.removeprefix("recall/"): value for name, value in RECALLS.items()}


PUBLISHED = """
import json, sys
sys.modules["hf_otw"] = None  # an import of it fails: who loads a Space does not have it
import evaluate
metrics = evaluate.combine([evaluate.load(folder) for folder in sys.argv[1:]])
print(json.dumps(metrics.compute(predictions=%r, references=%r, class_counts=%r)))
"""


def test_a_published_metric_stands_alone(tmp_path: Path) -> None:
    """Kills: a metric that needs the package, or a file beside its folder: uploaded as a Space it would not load."""
    folders = []
    for name in METRIC_NAMES:
        folders.append(shutil.copytree(Path(metric_path(name)).parent, tmp_path / "spaces" / name))
        (folders[-1] / "README.md").write_text("---\nsdk: static\ntags: [evaluate, metric]\n---\n")
    code = PUBLISHED % (PREDICTIONS, REFERENCES, COUNTS)
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "PYTHONPATH": ""}
    command = [sys.executable, "-c", code, *map(str, folders)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert {name: found[name] for name in ("balanced_accuracy", "macro_f1", *SHOTS)} == pytest.approx(
        {name: score for name, score in SCORES.items() if name != "accuracy"}
    )
    assert found["per_class_recall"] == pytest.approx(list(RECALLS.values()))


def test_load_metric_shares_no_file_with_other_processes(tmp_path: Path) -> None:
    first, second = load_metric("balanced_accuracy"), load_metric("balanced_accuracy")
    first.add_batch(predictions=[0, 1], references=[0, 1])
    second.add_batch(predictions=[1, 1], references=[0, 1])
    assert (tmp_path / "metrics").is_dir()  # the cache that they could have written to
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert first.compute() == {"balanced_accuracy": 1.0}
    assert second.compute() == {"balanced_accuracy": 0.5}


def test_unknown_metric() -> None:
    with pytest.raises(ValueError, match=r"expects one of \['balanced_accuracy'.*but got 'accuracy'.*evaluate\.load"):
        metric_path("accuracy")


@pytest.mark.parametrize("name", METRIC_NAMES)
def test_no_examples_and_ignored_labels(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} expects at least one example, but got 0"):
        compute(name, [], [], class_counts=COUNTS)
    with pytest.raises(ValueError, match=rf"{name} expects references .*but got -100.*[Dd]rop ignored positions"):
        compute(name, [0, 1], [0, -100], class_counts=COUNTS)


@pytest.mark.parametrize("name", ["shot_accuracy", "per_class_recall"])
def test_class_beyond_the_counts(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} expects references in 0\.\.3.*but got 0\.\.4"):
        compute(name, [0, 1], [0, 4], class_counts=COUNTS)
    with pytest.raises(ValueError, match=rf"{name} expects predictions in 0\.\.3.*but got 0\.\.4"):
        compute(name, [0, 4], [0, 1], class_counts=COUNTS)


@pytest.mark.parametrize("name", METRIC_NAMES)
def test_an_error_leaves_the_metric_usable(name: str) -> None:
    metric = load_metric(name)
    before = metric.compute(predictions=PREDICTIONS, references=REFERENCES, class_counts=COUNTS)
    with pytest.raises(ValueError, match="but got -1"):
        metric.compute(predictions=[0], references=[-1], class_counts=COUNTS)
    with pytest.raises(ValueError, match="Mismatch in the number of predictions"):
        metric.compute(predictions=[0, 1], references=[0], class_counts=COUNTS)
    assert metric.compute(predictions=PREDICTIONS, references=REFERENCES, class_counts=COUNTS) == before


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (None, r"expects `class_counts`, training examples per class, but got None\. Pass class_counts=np\.bincount"),
        (np.zeros(0, dtype=int), r"K >= 1 integers, but got shape \(0,\)"),
        ([[1, 2]], r"K >= 1 integers, but got shape \(1, 2\)"),
        ([0.7, 0.3], r"K >= 1 integers, but got shape \(2,\) of float64"),
        ([5, -1], r"expects `class_counts` >= 0, but got -1"),
    ],
)
def test_bad_class_counts(counts: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compute("shot_accuracy", [0], [0], class_counts=counts)


@pytest.mark.parametrize("per_class", [False, True])
def test_bad_counts_and_names_fail_in_the_factory(per_class: bool) -> None:
    with pytest.raises(ValueError, match=r"K >= 1 integers, but got shape \(0,\)"):
        make_compute_metrics([], per_class=per_class)
    with pytest.raises(ValueError, match=r"one name per class, but got 1 `class_names` for 2 `class_counts`"):
        make_compute_metrics([5, 5], ["cat"], per_class=per_class)
    with pytest.raises(ValueError, match=r"distinct `class_names`, but got \['cat'\] more than once"):
        make_compute_metrics([5, 5, 5], ["cat", "dog", "cat"], per_class=per_class)


@pytest.mark.parametrize(
    ("predictions", "labels", "message"),
    [
        (np.zeros((2, 3)), [0, 1], r"logits \(N, 2\).*but got shape \(2, 3\)"),
        (np.zeros((2, 4, 2)), [0, 1], r"logits \(N, 2\).*but got shape \(2, 4, 2\).*preprocess_logits_for_metrics"),
        (np.zeros(2), [0, 1], r"logits \(N, 2\).*but got shape \(2,\)"),
        (np.array([[0, 1], [np.nan, 0]]), [0, 1], r"without NaN, but 1 of 2 rows have one.*diverged"),
        (np.array([0, 2]), [0, 1], r"predicted classes in 0\.\.1, but got 0\.\.2"),
        (np.array([0, -1]), [0, 1], r"predicted classes in 0\.\.1, but got -1\.\.0"),
        (np.zeros((2, 2)), [0, 1, 1], r"labels \(2,\) of integers.*but got shape \(3,\)"),
        (np.zeros((2, 2)), [[0, 1], [1, 0]], r"labels \(2,\) of integers.*but got shape \(2, 2\)"),
        (np.zeros((2, 2)), [0.0, 1.0], r"labels \(2,\) of integers.*but got shape \(2,\) of float64.*regression"),
        (np.zeros((2, 2)), [0, 2], r"labels in 0\.\.1, but got 0\.\.2"),
        (np.zeros((2, 2)), [0, -100], r"labels in 0\.\.1, but got -100\.\.0\. Drop unlabelled"),
        (np.zeros((2, 2)), (np.zeros(2), np.zeros(2)), r"one array of labels, but got a tuple of 2\. Set Training"),
        (np.zeros((0, 2)), np.zeros(0, dtype=int), r"labels in 0\.\.1, but got no labels"),
    ],
)
def test_bad_predictions_and_labels(predictions: np.ndarray, labels: object, message: str) -> None:
    compute_metrics = make_compute_metrics([5, 5])
    with pytest.raises(ValueError, match=message):
        compute_metrics(EvalPrediction(predictions=predictions, label_ids=labels))


def test_accepts_a_tuple_classes_half_precision_and_masked_logits() -> None:
    compute_metrics = make_compute_metrics(COUNTS, NAMES, per_class=True)
    logits, labels = np.eye(4)[PREDICTIONS], np.array(REFERENCES)
    masked = np.where(logits > 0, logits, -np.inf)  # -inf is a class ruled out, not an error
    hidden = np.zeros((len(labels), 2, 5))
    for predictions in ((logits, hidden), (logits,), np.array(PREDICTIONS), logits.astype(np.float16), masked):
        scores = compute_metrics(EvalPrediction(predictions=predictions, label_ids=labels))
        assert scores == pytest.approx(SCORES | RECALLS)


@pytest.mark.parametrize("output_hidden_states", [False, True], ids=["array", "tuple"])
def test_trainer_evaluate(output_hidden_states: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = {"vocab_size": 32, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "num_labels": 4}
    config = BertConfig(**sizes, initializer_range=1.0, output_hidden_states=output_hidden_states)
    examples = [{"input_ids": row, "labels": k % 4} for k, row in enumerate(torch.randint(0, 32, (30, 6)))]
    trainer = Trainer(
        model=BertForSequenceClassification(config),
        args=TrainingArguments(tmp_path, report_to="none", use_cpu=True, dataloader_pin_memory=False),
        eval_dataset=examples,
        compute_metrics=make_compute_metrics(COUNTS, per_class=True),
    )

    metrics = trainer.evaluate()
    output = trainer.predict(examples)
    assert isinstance(output.predictions, tuple) is output_hidden_states
    logits = output.predictions[0] if output_hidden_states else output.predictions
    predictions = [max(range(4), key=row.__getitem__) for row in logits.tolist()]
    assert len(set(predictions)) > 2  # a constant prediction would be a weak test
    expected = slow_scores(predictions, [k % 4 for k in range(30)], COUNTS)
    measured = {key: value for key, value in metrics.items() if key.removeprefix("eval_") in expected}
    assert measured == pytest.approx({f"eval_{key}": value for key, value in expected.items()})
