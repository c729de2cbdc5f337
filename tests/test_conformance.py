"""The driver in tests/conformance, without a checkout of transformers: what it replaces, what it lets pass."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.conformance.gate import OUTCOMES, RUNS, compare, count, counts, read_outcomes, summary
from tests.conformance.run import EXPECTED, README, RESULTS, fill_readme

ROOT = Path(__file__).resolve().parent.parent

TOY_SUITE = """
import pytest
import transformers
from transformers import Seq2SeqTrainer, Trainer
from hf_otw import OTWeightedTrainer

def test_replaced():
    assert issubclass(Trainer, OTWeightedTrainer) is {replaced}
    assert issubclass(Seq2SeqTrainer, OTWeightedTrainer) is {replaced}
    assert transformers.Trainer is transformers.trainer.Trainer is Trainer

def test_fails():
    OTWeightedTrainer.training_data.fget(type("T", (), {{"_data": None}})())

@pytest.fixture
def broken():
    raise KeyError("two\\nlines")

def test_fails_before_it_starts(broken):
    pass

@pytest.mark.skip
def test_skipped():
    pass
"""


@pytest.mark.parametrize(
    ("weighting", "replaced"), [pytest.param("stock", False, marks=pytest.mark.slow), ("uniform", True)]
)
def test_the_plugin_replaces_the_trainer_and_writes_what_happens(
    tmp_path: Path, weighting: str, replaced: bool
) -> None:
    suite, results = tmp_path / "test_toy.py", tmp_path / "results.jsonl"
    suite.write_text(TOY_SUITE.format(replaced=replaced))
    environment = os.environ | {
        "OTW_CONFORMANCE_WEIGHTING": weighting,
        "OTW_CONFORMANCE_RESULTS": str(results),
        "PYTHONPATH": os.pathsep.join((str(ROOT / "tests" / "conformance"), str(ROOT))),
    }
    environment.pop("PYTEST_XDIST_WORKER", None)  # this test may itself run in one
    command = [sys.executable, "-m", "pytest", "-q", "-p", "plugin", "-p", "no:cacheprovider", "--rootdir=.", "-c"]
    done = subprocess.run(
        [*command, os.devnull, suite.name], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    tests = {test.partition("::")[2]: found for test, found in read_outcomes(results.read_text()).items()}
    assert {test: found["outcome"] for test, found in tests.items()} == {
        "test_replaced": "passed",
        "test_fails": "failed",
        "test_fails_before_it_starts": "failed",
        "test_skipped": "skipped",
    }
    assert tests["test_fails"]["error"] == "RuntimeError"
    assert tests["test_fails"]["raised_in"] == "hf_otw.trainer"
    assert tests["test_fails_before_it_starts"]["when"] == "setup"


# ---- The gate -------------------------------------------------------------------------------------------------------


def outcomes(**tests: str) -> dict[str, dict[str, str]]:
    """Outcome by test; a failure is written as the class of its error."""
    known = ("passed", "skipped")
    return {
        test: {"outcome": value} if value in known else {"outcome": "failed", "error": value, "message": "why"}
        for test, value in tests.items()
    }


STOCK = outcomes(a="passed", b="OSError", c="skipped", d="passed")
REFUSED = {"d": {"error": "ValueError", "kind": "refused"}}


@pytest.mark.parametrize(
    ("tests", "expected", "problems"),
    [
        (STOCK, {}, []),
        # The same id fails: that it fails in another way says nothing about the Trainer.
        (STOCK | outcomes(b="KeyError"), {}, []),
        (STOCK | outcomes(d="ValueError"), REFUSED, []),
        (STOCK | outcomes(a="KeyError"), {}, ["x: a fails: KeyError: why"]),
        (STOCK | outcomes(b="passed"), {}, ["x: b fails with the stock Trainer only"]),
        (STOCK | outcomes(a="skipped"), {}, ["x: a is skipped, with the stock Trainer passed"]),
        (STOCK | outcomes(e="passed"), {}, ["x: e ran in one of the two runs only"]),
        (outcomes(a="passed", b="OSError", c="skipped"), {}, ["x: d ran in one of the two runs only"]),
        (STOCK | outcomes(d="KeyError"), REFUSED, ["x: d fails with KeyError, expected ValueError"]),
        (STOCK, REFUSED, ["x: d does not fail: take it out of expected_uniform.json"]),
    ],
)
def test_the_gate(tests: dict, expected: dict, problems: list[str]) -> None:
    assert compare("x", {"stock": STOCK, "x": tests}, expected) == problems


def test_a_part_of_the_suite_need_not_hold_every_expected_failure() -> None:
    runs = {"stock": outcomes(a="passed"), "x": outcomes(a="passed")}
    assert compare("x", runs, REFUSED, partly=True) == []
    assert compare("x", runs, {"a": REFUSED["d"]}, partly=True) != []


def test_the_worst_outcome_of_a_test_counts() -> None:
    lines = [{"id": "a", "outcome": value} for value in ("passed", "failed", "skipped", "passed")]
    assert read_outcomes("\n".join(map(json.dumps, lines))) == {"a": {"outcome": "failed"}}
    assert count(STOCK | outcomes(a="KeyError"), STOCK) == {
        "passed": 1,
        "failed": 2,
        "skipped": 1,
        "failed_beside_stock": 1,
    }


@pytest.mark.parametrize("given", [None, "no/such/folder"])
def test_without_a_checkout_the_command_says_what_to_do(given: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRANSFORMERS"}
    environment |= {} if given is None else {"TRANSFORMERS": given}
    command = [sys.executable, "-m", "tests.conformance.run"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"Expected a checkout of transformers with tests/trainer, got {given}." in done.stderr
    assert "TRANSFORMERS=path" in done.stderr


# ---- What is published ----------------------------------------------------------------------------------------------


def test_the_readme_has_the_counts_of_the_results() -> None:
    text = README.read_text(encoding="utf-8")
    assert text == fill_readme(), "run `make conformance TRANSFORMERS=path`"
    results, expected = json.loads(RESULTS.read_text()), json.loads(EXPECTED.read_text())
    assert summary(results, expected) in text
    results["runs"]["none"]["passed"] += 1
    assert summary(results, expected) not in text


def test_counts() -> None:
    runs = {"stock": STOCK, "none": STOCK, "uniform": STOCK | outcomes(d="ValueError")}
    found = counts(runs, {}, REFUSED, {})
    assert found["conformance"] == {"passed": 2, "failed": 1, "skipped": 1, "failed_stock": 1}
    assert found["runs"]["uniform"] == {"passed": 1, "failed": 2, "skipped": 1, "failed_beside_stock": 1}
    assert found["failed_stock"] == {"b": "why"}
    assert found["uniform_expected"] == {"refused": 1}


def test_the_published_gate_is_open() -> None:
    results, expected = json.loads(RESULTS.read_text()), json.loads(EXPECTED.read_text())
    runs, first = results["runs"], results["conformance"]
    assert set(runs) == set(RUNS)
    assert first["passed"] == runs["none"]["passed"] > 200
    assert first["failed"] == runs["none"]["failed"] == first["failed_stock"] == len(results["failed_stock"])
    assert runs["none"]["failed_beside_stock"] == 0
    assert runs["uniform"]["failed_beside_stock"] == len(expected)
    assert len({sum(found[key] for key in OUTCOMES) for found in runs.values()}) == 1


def test_every_expected_failure_has_a_reason() -> None:
    results, expected = json.loads(RESULTS.read_text()), json.loads(EXPECTED.read_text())
    assert all(set(entry) == {"error", "kind", "reason"} for entry in expected.values())
    assert all(entry["reason"].endswith(".") for entry in expected.values())
    assert results["uniform_expected"] == Counter(entry["kind"] for entry in expected.values())


def test_nothing_published_names_a_folder_of_the_machine() -> None:
    for path in (README, RESULTS, EXPECTED):
        assert re.search(r"(?<![\w.])/(tmp|home|root|work|usr)\b", path.read_text(encoding="utf-8")) is None, path
