"""What is compared, and what is published. Nothing here starts a process or reads a checkout."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

RUNS = ("stock", "none", "uniform")
OUTCOMES = ("passed", "failed", "skipped")
#: An outcome is the worst of a test's phases.
SEVERITY = ("passed", "skipped", "failed")

#: By test id, what the plugin writes of a test: outcome, seconds, and the error of one that fails.
Tests = Mapping[str, Mapping[str, Any]]


def read_outcomes(lines: str) -> dict[str, dict[str, Any]]:
    """The plugin's lines by test id, in order of the ids."""
    tests: dict[str, dict[str, Any]] = {}
    for line in lines.splitlines():
        found = json.loads(line)
        test = found.pop("id")
        if test not in tests or SEVERITY.index(found["outcome"]) > SEVERITY.index(tests[test]["outcome"]):
            tests[test] = found
    return dict(sorted(tests.items()))


def failures(tests: Tests) -> set[str]:
    """Ids of the tests that fail."""
    return {test for test, found in tests.items() if found["outcome"] == "failed"}


def compare(name: str, runs: Mapping[str, Tests], expected: Mapping[str, Any], *, partly: bool = False) -> list[str]:
    """What keeps the gate closed, a line each.

    Args:
        name: of the run that is compared with `runs["stock"]`.
        runs: outcomes by test id.
        expected: tests that may fail in this run only, with the class of their error.
        partly: some tests were not asked for, and need not fail as expected.
    """
    stock, tests = runs["stock"], runs[name]
    failed, failed_stock = failures(tests), failures(stock)
    lines = [f"{name}: no test ran"] if not tests else []
    lines += [f"{name}: {test} ran in one of the two runs only" for test in sorted(set(stock) ^ set(tests))]
    lines += [f"{name}: {test} fails with the stock Trainer only" for test in sorted(failed_stock - failed)]
    lines += [
        f"{name}: {test} is {tests[test]['outcome']}, with the stock Trainer {found['outcome']}"
        for test, found in stock.items()
        if test in tests and {found["outcome"], tests[test]["outcome"]} == {"passed", "skipped"}
    ]
    for test in sorted(failed - failed_stock):
        error = tests[test].get("error")
        if test not in expected:
            lines.append(f"{name}: {test} fails: {error}: {tests[test].get('message')}")
        elif error != expected[test]["error"]:
            lines.append(f"{name}: {test} fails with {error}, expected {expected[test]['error']}")
    missed = sorted(test for test in set(expected) - failed if test in tests or not partly)
    return lines + [f"{name}: {test} does not fail: take it out of expected_uniform.json" for test in missed]


def counts(
    runs: Mapping[str, Tests], versions: Mapping[str, str], expected: Mapping[str, Any], left_out: Mapping[str, str]
) -> dict[str, Any]:
    """What is published: the counts of "none" first, then those of every run."""
    each = {name: count(tests, runs["stock"]) for name, tests in runs.items()}
    first = {key: each["none"][key] for key in OUTCOMES}
    kinds = Counter(entry["kind"] for entry in expected.values())
    return {
        "conformance": {**first, "failed_stock": each["stock"]["failed"]},
        "versions": dict(versions),
        "runs": each,
        "failed_stock": {test: runs["stock"][test].get("message", "") for test in sorted(failures(runs["stock"]))},
        "uniform_expected": dict(sorted(kinds.items())),
        "left_out": dict(left_out),
    }


def count(tests: Tests, stock: Tests) -> dict[str, int]:
    """Tests by outcome, and how many fail that pass with the stock Trainer."""
    found = Counter(test["outcome"] for test in tests.values())
    return {key: found[key] for key in OUTCOMES} | {"failed_beside_stock": len(failures(tests) - failures(stock))}


def summary(results: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """The README's block, Markdown: versions, counts, and every test that fails."""
    versions = results["versions"]
    lines = [
        f"Tests of transformers {versions['tests']}, commit `{versions['tests_commit']}`, run against transformers "
        f"{versions['transformers']}, accelerate {versions['accelerate']}, torch {versions['torch']}, "
        f"Python {versions['python']}.",
        "",
        "| Trainer | passed | failed | skipped | fails, but passes with the stock Trainer |",
        "|---|---:|---:|---:|---:|",
    ]
    titles = {
        "stock": "stock `Trainer`",
        "none": '`OTWeightedTrainer`, `weighting="none"`',
        "uniform": '`OTWeightedTrainer`, `weighting="uniform"`',
    }
    for name, found in results["runs"].items():
        cells = (titles[name], *(found[key] for key in OUTCOMES), found["failed_beside_stock"])
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    lines += [
        "",
        f"With the stock Trainer {results['runs']['stock']['failed']} fail, and with both weightings too:",
        "",
    ]
    lines += [f"- `{short(test)}`: {message}" for test, message in results["failed_stock"].items()]
    lines += ["", f'With `weighting="uniform"` {len(expected)} more fail:', ""]
    lines += [f"- `{short(test)}` ({entry['kind']}): {entry['reason']}" for test, entry in expected.items()]
    return "\n".join(lines)


def short(test: str) -> str:
    """A test's id without the folder that all share."""
    return test.removeprefix("tests/trainer/")


def table(runs: Mapping[str, Tests]) -> str:
    """A row a run, for the terminal."""
    rows = [f"{'':10}{'passed':>10}{'failed':>10}{'skipped':>10}{'not with stock':>18}"]
    for name, tests in runs.items():
        found = count(tests, runs["stock"])
        rows.append(
            f"{name:10}" + "".join(f"{found[key]:>10}" for key in OUTCOMES) + f"{found['failed_beside_stock']:>18}"
        )
    return "\n".join(rows)
