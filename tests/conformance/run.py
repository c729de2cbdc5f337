"""Run transformers' own tests/trainer with the stock Trainer and with `OTWeightedTrainer` in its place, and compare.

    TRANSFORMERS=path/to/a/checkout python -m tests.conformance.run
    make conformance TRANSFORMERS=path/to/a/checkout ARGS=--reuse-stock

Exit status 0 means: with weighting "none" exactly the tests fail that fail with the stock Trainer; with "uniform"
those and the tests of `expected_uniform.json`, each with the error that is written there.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from benchmarks.reliability import record
from tests.conformance import gate
from tools.markdown import fill

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
KEPT = ROOT / "runs" / "conformance"
RESULTS = ROOT / "benchmarks" / "results" / "conformance.json"
EXPECTED = HERE / "expected_uniform.json"
README = HERE / "README.md"

#: Not collected, and why.
LEFT_OUT = {
    "tests/trainer/distributed": "starts scripts that import the stock Trainer, in processes of their own, on several "
    "accelerators",
}
TIMEOUT_S = 600


def main() -> None:
    """Run, compare, write the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--transformers",
        type=Path,
        default=os.environ.get("TRANSFORMERS") or None,
        help="checkout of transformers, near the installed release (default: the environment variable TRANSFORMERS)",
    )
    parser.add_argument(
        "--reuse-stock", action="store_true", help="take the kept run of the stock Trainer, if it fits"
    )
    parser.add_argument("--workers", type=int, default=0, help="processes of a run")
    parser.add_argument("-k", dest="only", help="as in pytest: compare these tests only, and write no counts")
    options = parser.parse_args()
    checkout = find_checkout(parser, options.transformers)
    versions = read_versions(checkout)
    runs = {name: take_run(name, checkout, versions, options) for name in gate.RUNS}
    expected = json.loads(EXPECTED.read_text(encoding="utf-8"))
    problems = gate.compare("none", runs, {})
    problems += gate.compare("uniform", runs, expected, partly=options.only is not None)
    print("\n".join([gate.table(runs), *problems]))
    if options.only is None and not problems:
        results = gate.counts(runs, versions, expected, LEFT_OUT)
        RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        README.write_text(fill_readme(), encoding="utf-8")
        weighted = {name: counts for name, counts in results["runs"].items() if name != "stock"}
        record("conformance", {**results["conformance"], "runs": weighted})
        print(f"The counts are in {os.path.relpath(RESULTS)} and in {os.path.relpath(README)}.")
    print(f"The gate is {'closed: see above' if problems else 'open'}.")
    sys.exit(1 if problems else 0)


def find_checkout(parser: argparse.ArgumentParser, path: Path | None) -> Path:
    """Where transformers' tests are; without them, or without what they import, the command ends with a remedy."""
    if path is None or not (path / "tests" / "trainer").is_dir():
        parser.error(
            f"Expected a checkout of transformers with tests/trainer, got {path}. Clone "
            "github.com/huggingface/transformers at a version near the installed one, and name it: TRANSFORMERS=path."
        )
    missing = [name for name in ("parameterized", "pytest_timeout") if find_spec(name) is None]
    if missing:
        parser.error(
            f"Expected what transformers' tests import, got no {' and no '.join(missing)}. Install it: "
            f"python -m pip install {' '.join(missing)}."
        )
    return path.resolve()


def read_versions(checkout: Path) -> dict[str, str]:
    """Of what a run depends on. A checkout without its history has an unknown commit."""
    source = (checkout / "src" / "transformers" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"$', source, flags=re.MULTILINE)
    commit = "unknown"
    if (checkout / ".git").exists():  # else git would answer for a repository around it
        command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
        commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or commit
    return {
        "tests": found[1] if found else "unknown",
        "tests_commit": commit,
        **{name: version(name) for name in ("transformers", "accelerate", "torch", "numpy", "pytest")},
        "python": ".".join(map(str, sys.version_info[:3])),
    }


def take_run(name: str, checkout: Path, versions: dict[str, str], options: argparse.Namespace) -> gate.Tests:
    """Outcome of every test by id. Only a stock run may be an earlier one: it depends on nothing but the versions."""
    folder = KEPT / f"{versions['transformers']}-{versions['tests_commit'][:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"{name}.json"
    key = {"versions": versions, "left_out": LEFT_OUT, "only": options.only}
    if name == "stock" and options.reuse_stock and kept.exists():
        found = json.loads(kept.read_text(encoding="utf-8"))
        if found["key"] == key:
            print(f"{name}: kept from an earlier run.")
            return found["tests"]
    print(f"{name}: runs, log in {os.path.relpath(folder / f'{name}.log')} ...", flush=True)
    tests = run_tests(name, checkout, folder, only=options.only, workers=options.workers)
    kept.write_text(json.dumps({"key": key, "tests": tests}), encoding="utf-8")
    return tests


def run_tests(name: str, checkout: Path, folder: Path, *, only: str | None, workers: int) -> gate.Tests:
    """One pytest over the checkout, without network and accelerator."""
    from tests.conformance.standins import write_standins  # loads torch, which `--help` does not need

    lines = folder / f"{name}.jsonl"
    lines.unlink(missing_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="conformance-"))
    (scratch / "tmp").mkdir()
    environment = os.environ | {
        "OTW_CONFORMANCE_WEIGHTING": name,
        "OTW_CONFORMANCE_RESULTS": str(lines),
        # The plugin is found by its plain name: `tests` is a package of the checkout there.
        "PYTHONPATH": os.pathsep.join((str(HERE), str(ROOT))),
        "TMPDIR": str(scratch / "tmp"),
        "HF_HOME": str(scratch / "hf"),  # empty: what a cache happens to hold must not matter
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "plugin", "-p", "no:cacheprovider", "--tb=short"]
    command += [f"--rootdir={checkout}", f"--config-file={checkout / 'pyproject.toml'}", "-o", "log_cli=false"]
    command += [f"--timeout={TIMEOUT_S}", "--durations=20", *(["-n", str(workers)] if workers else [])]
    command += [str(checkout / "tests" / "trainer"), *(f"--ignore={checkout / path}" for path in LEFT_OUT)]
    command += ["-k", only] if only else []
    try:
        write_standins(scratch / "hub", checkout / "tests" / "fixtures" / "sample_text.txt")
        # In the folder of stand-ins: names in the working directory come before those of the Hub.
        with open(folder / f"{name}.log", "w", encoding="utf-8") as log:
            done = subprocess.run(command, cwd=scratch / "hub", env=environment, stdout=log, stderr=log, check=False)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if done.returncode not in (0, 1):  # 1: some test failed
        raise SystemExit(
            f"Expected pytest to finish, it ended with {done.returncode}. See {os.path.relpath(log.name)}."
        )
    return gate.read_outcomes(lines.read_text(encoding="utf-8"))


def fill_readme() -> str:
    """The README with the counts of the results file."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    expected = json.loads(EXPECTED.read_text(encoding="utf-8"))
    return fill(README.read_text(encoding="utf-8"), "conformance", gate.summary(results, expected))


if __name__ == "__main__":
    main()
