"""Runs and values that are damaged or wrong are refused in a sentence; a run that was broken off goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from hf_otw.recipe.reading import load_recipe
from tests.command_line import hf_otw
from tests.hostile.cases import recipe

METRICS = {
    "recipe": "toy", "metric": {"name": "accuracy"}, "metrics": {"accuracy": 0.5}, "recall": {"a": 1.0, "b": 0.0},
    "per_seed": [{"seed": 0, "metrics": {"accuracy": 0.5}}], "classes": ["a", "b"], "versions": {"torch": "2"},
    "config": {
        "shows": "x", "source": {"packaged": "digits"}, "model": {"name": "m", "options": {}}, "arguments": {},
    },
}  # fmt: skip
DAMAGED = {
    "half": lambda text: text[: len(text) // 2],
    "empty": lambda _: "",
    "a list": lambda _: "[]",
    "deep": lambda _: "[" * 100_000,
    **{f"no {name}": lambda text, name=name: json.dumps({**json.loads(text), name: None}) for name in METRICS},
    "words as metrics": lambda text: text.replace('"accuracy": 0.5', '"accuracy": "high"'),
    "a seed without its metric": lambda text: json.dumps(
        {**json.loads(text), "per_seed": [{"seed": 0, "metrics": {}}]}
    ),
    "no seeds": lambda text: json.dumps({**json.loads(text), "per_seed": []}),
    "numbers as classes": lambda text: json.dumps({**json.loads(text), "classes": [0, 1]}),
}


def write_run(run: Path, weights: dict) -> None:
    run.mkdir()
    (run / "metrics.json").write_text(json.dumps(METRICS), encoding="utf-8")
    pyarrow.parquet.write_table(pa.table(weights), run / "weights.parquet")


GOOD_WEIGHTS = {"example_index": [0, 1], "label": ["a", "b"], "weight": [0.5, 1.5]}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_run_is_told_in_a_sentence(damage: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Kills: a traceback, or a page made of half of a file."""
    write_run(tmp_path / "run", GOOD_WEIGHTS)
    assert hf_otw(capsys, "report", tmp_path / "run").code == 0
    path = tmp_path / "run" / "metrics.json"
    path.write_text(DAMAGED[damage](path.read_text(encoding="utf-8")), encoding="utf-8")
    for argv in (("report", tmp_path / "run"), ("train", "digits", "--baseline", tmp_path / "run")):
        done = hf_otw(capsys, *argv)
        assert (done.code, done.err[:16]) == (1, "Error: Expected ")
        assert "metrics.json" in done.err


@pytest.mark.parametrize(
    "change",
    [
        *({"label": ["a", "c"]}, {"label": ["a", None]}, {"weight": [0.5, float("nan")]}, {"weight": [0.0, 0.0]}),
        *({"weight": [-1.0, 1.0]}, {"weight": ["a", "b"]}, {"example_index": [0, None]}),
    ],
)
def test_damaged_weights_are_told_in_a_sentence(change: dict, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_run(tmp_path / "run", {**GOOD_WEIGHTS, **change})
    done = hf_otw(capsys, "report", tmp_path / "run")
    assert (done.code, "weights.parquet" in done.err, "Traceback" in done.err) == (1, True, False)


def test_weights_that_are_no_table_are_told_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_run(tmp_path / "run", {name: values for name, values in GOOD_WEIGHTS.items() if name != "weight"})
    assert "Expected the columns weight" in hf_otw(capsys, "report", tmp_path / "run").err
    (tmp_path / "run" / "weights.parquet").write_bytes(b"PAR1 and nothing more")
    assert "what does not parse" in hf_otw(capsys, "report", tmp_path / "run").err


def test_deep_json_is_told_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Kills: the traceback of a parser that calls itself."""
    (tmp_path / "rows.json").write_text("[" * 100_000, encoding="utf-8")
    done = hf_otw(capsys, "audit", tmp_path / "rows.json")
    assert (done.code, "Traceback" in done.err) == (1, False)
    assert "deep" in done.err


@pytest.mark.slow
def test_a_run_goes_on_from_its_checkpoint(tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture) -> None:
    """Kills: --resume_from_checkpoint that is ignored, and a run that is not the one that was not broken off."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.yaml").write_text(recipe(arguments={"max_steps": 6}), encoding="utf-8")
    saving = ("--save_strategy", "steps", "--save_steps", "3")
    assert hf_otw(capsys, "train", "toy.yaml", *saving).code == 0
    whole = (tmp_path / "runs/toy/model/model.safetensors").read_bytes()
    for option in ("--resume_from_checkpoint", "--resume-from-checkpoint"):
        checkpoint = tmp_path / "runs/toy/model/checkpoint-3"
        done = hf_otw(capsys, "train", "toy.yaml", *saving, option, checkpoint, "--output-dir", "again")
        assert done.code == 0, done.err
        assert (tmp_path / "again/model/model.safetensors").read_bytes() == whole
        assert not (tmp_path / "again/model/checkpoint-3").exists(), "steps 1 to 3 were trained again"
    assert "resume" not in (tmp_path / "again/recipe.yaml").read_text(encoding="utf-8")
    gone = hf_otw(capsys, "train", "toy.yaml", "--resume-from-checkpoint", "gone")
    assert (gone.code, "trainer_state.json" in gone.err) == (2, True)
    twice = hf_otw(capsys, "train", "toy.yaml", "--resume-from-checkpoint", checkpoint, "--seeds", "2")
    assert (twice.code, "one seed" in " ".join(twice.err.split())) == (2, True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("data.max_train=-1", "Expected 1 or more"),
        ("data.max_test=0", "Expected 1 or more"),
        ("data.max_train_per_class=-5", "Expected 1 or more"),
        ("data.label_noise=-0.1", "Expected 0 or more"),
        ("data.imbalance_factor=0.5", "Expected 1 or more"),
        ("arguments.per_device_train_batch_size=0", "Expected 1 or more"),
        ("arguments.gradient_accumulation_steps=0", "Expected 1 or more"),
        ("arguments.learning_rate=.nan", "a finite number"),
        ("arguments.weight_decay=.inf", "a finite number"),
        ("model.options.hidden=0", "Expected 1 or more"),
        ("seed=-1", "Expected 0 or more"),
        ("license='a b'", "an id of a licence"),
        ("arguments.do_train=true", "Leave it out"),
        ("arguments.resume_from_checkpoint=x", "on the command line"),
    ],
)
def test_values_that_would_be_wrong_in_silence_are_refused(change: str, message: str, tmp_path: Path) -> None:
    """Kills: a negative cap that cuts rows off, a batch of nothing, an argument that nothing looks at."""
    path = tmp_path / "x.yaml"
    path.write_text(recipe(), encoding="utf-8")
    assert load_recipe(path)
    with pytest.raises(ValueError, match=message):
        load_recipe(path, [change])
    assert load_recipe(path, ["data.max_train=1", "data.label_noise=0", "seed=0", "license=cc-by-nc-4.0"])
