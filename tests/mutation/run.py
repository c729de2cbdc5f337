"""Make one small mistake at a time in the mathematics, and see whether a test notices it.

    python -m tests.mutation.run                        # all, half an hour; goes on where it was broken off
    python -m tests.mutation.run --only costs           # what one name matches
    make mutation

mutmut (https://mutmut.readthedocs.io) makes the mistakes and runs the tests, in a copy of the checkout below
`runs/mutation`. Mistakes that no test notices are listed in `survivors.json` beside this file, each with the reason
why it may live; the counts go to `benchmarks/results/reliability.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.reliability import record

ROOT = Path(__file__).resolve().parents[2]
SURVIVORS = Path(__file__).with_name("survivors.json")
TARGET = 0.9
#: What mutmut calls a mutant that a test noticed, by failing, crashing or never ending.
KILLED = {"killed", "timeout", "segfault", "suspicious", "caught by type check"}
#: The exit statuses that it keeps for survivors, and for mutants that no test reaches.
ALIVE_CODES = {0, 5, 33}
LINE = re.compile(r"^\s*(\S+__mutmut_\d+): (.+)$")


class Group(NamedTuple):
    """Files that the same tests look after."""

    name: str
    files: tuple[str, ...]
    #: Names of functions, as mutmut spells them; all by default.
    functions: tuple[str, ...]
    tests: tuple[str, ...]


GROUPS = (
    Group(
        "mathematics",
        ("hf_otw/transport/*.py", "hf_otw/weighting/models/*.py", "hf_otw/losses.py")
        + tuple(f"hf_otw/weighting/{name}.py" for name in ("base", "statistics", "target")),
        (),
        ("costs", "transport", "transport_edges", "shards", "weighting", "weighting_learned", "clean_posterior")
        + ("class_scores", "noise_model", "weighting_details", "learn", "objectives", "losses", "target")
        + ("task_labels", "scaling", "transport_kernel"),
    ),
    Group(
        "training",
        ("hf_otw/weighting/reweighter.py", "hf_otw/tasks/batch_loss.py", "hf_otw/trainer.py"),
        (
            "hf_otw.weighting.reweighter.*",
            "hf_otw.tasks.batch_loss.*",
            "hf_otw.trainer.*compute_loss*",
            "hf_otw.trainer.*_meta_loss*",
        )
        + ("hf_otw.trainer.*_get_num_items_in_batch*",),
        ("reweighter", "scaling", "passthrough", "trainer", "trainer_host", "errors", "task_labels", "tasks")
        + ("encode_at_solve",),
    ),
)
#: What tests read besides the package.
COPIED = (
    "recipes",
    "tools",
    "benchmarks",
    "docs",
    "setup.py",
    "README.md",
    "Makefile",
    "constraints.txt",
    "CHANGELOG.md",
)
#: Messages are for people: that an error is raised is tested, its wording need not be.
LEFT_ALONE = (r"raise \w+", r"warnings\.warn", r"logger\.\w+")


def prepare(group: Group, folder: Path) -> None:
    """A copy of the checkout, set up for one group; what an earlier run found there stays."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("hf_otw", "tests", *COPIED):
        source, target = ROOT / name, folder / name
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy2(source, target)
    settings = {
        "source_paths": ["hf_otw"],
        "only_mutate": list(group.files),
        "also_copy": list(COPIED),
        "do_not_mutate_patterns": list(LEFT_ALONE),
        "pytest_add_cli_args_test_selection": [f"tests/test_{name}.py" for name in group.tests],
        "pytest_add_cli_args": ["-p", "no:cacheprovider", "-m", "not slow and not distributed and not packages"],
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    config = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (folder / "pyproject.toml").write_text(config + "\n[tool.mutmut]\n" + "\n".join(lines) + "\n", encoding="utf-8")


def forget_survivors(folder: Path) -> None:
    """Survivors of an earlier run are tried again, as there may be new tests; what tests once noticed they notice."""
    (folder / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)
    for path in (folder / "mutants").rglob("*.meta"):
        found = json.loads(path.read_text(encoding="utf-8"))
        fates = found["exit_code_by_key"]
        found["exit_code_by_key"] = {name: None if code in ALIVE_CODES else code for name, code in fates.items()}
        path.write_text(json.dumps(found), encoding="utf-8")


def mutmut(folder: Path, *arguments: str, log: Path | None = None) -> str:
    """Call mutmut in a folder and return what it prints, or send that to a log."""
    env = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-m", "mutmut", *arguments]
    if log is None:
        return subprocess.run(command, cwd=folder, env=env, check=True, capture_output=True, text=True).stdout
    with open(log, "w", encoding="utf-8") as out:
        subprocess.run(command, cwd=folder, env=env, check=False, stdout=out, stderr=subprocess.STDOUT)
    return ""


def outcomes(folder: Path, patterns: list[str]) -> dict[str, str]:
    """What became of each mutant that one of the patterns names."""
    wanted = [re.compile(pattern.replace(".", r"\.").replace("*", ".*") + "$") for pattern in patterns]
    found = {}
    for line in mutmut(folder, "results", "--all", "true").splitlines():
        match = LINE.match(line)
        if match and any(pattern.match(match[1]) for pattern in wanted):
            found[match[1]] = match[2].strip()
    return found


def change(folder: Path, mutant: str) -> str:
    """The lines that a mutant takes away and adds."""
    lines = mutmut(folder, "show", mutant).splitlines()
    return "\n".join(line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---") and line)


def function_of(mutant: str) -> str:
    """`hf_otw.transport.blocks.CostBlocks.sum` for `hf_otw.transport.blocks.xǁCostBlocksǁsum__mutmut_2`."""
    name = mutant.rsplit("__mutmut_", 1)[0]
    module, _, mangled = name.rpartition(".")
    parts = [part for part in mangled.split("ǁ") if part != "x"]
    return ".".join([module, *parts]) if "ǁ" in mangled else f"{module}.{mangled.removeprefix('x_')}"


def argued(found: list[dict[str, str]], known: list[dict[str, str]]) -> list[dict[str, str]]:
    """Survivors with the reasons that are known for them, `""` where there is none yet."""
    reasons = {(one["function"], one["change"]): one["why"] for one in known}
    return [one | {"why": reasons.get((one["function"], one["change"]), "")} for one in found]


def main() -> None:
    """Mutate, count, list."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="mutants whose name holds this; writes no counts")
    parser.add_argument("--group", choices=[group.name for group in GROUPS], help="one group; writes no counts")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="tests at a time")
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier, broken-off run found")
    parser.add_argument("--count", action="store_true", help="run nothing, count what earlier runs found")
    options = parser.parse_args()
    fates: Counter[str] = Counter()
    by_file: dict[str, Counter[str]] = {}
    found: list[dict[str, str]] = []
    for group in GROUPS:
        if options.group not in (None, group.name):
            continue
        folder = ROOT / "runs" / "mutation" / group.name
        if options.fresh:
            shutil.rmtree(folder, ignore_errors=True)
        patterns = [f"*{options.only}*"] if options.only else list(group.functions) or ["*"]
        if not options.count:
            prepare(group, folder)
            forget_survivors(folder)
            print(f"{group.name}: runs, log in {folder / 'log.txt'} ...", flush=True)
            mutmut(folder, "run", "--max-children", str(options.jobs), *patterns, log=folder / "log.txt")
        for mutant, fate in outcomes(folder, patterns).items():
            fates[fate] += 1
            module = function_of(mutant).split(".")[1]
            by_file.setdefault(module, Counter())["killed" if fate in KILLED else "alive"] += 1
            if fate not in KILLED:
                found.append({"function": function_of(mutant), "change": change(folder, mutant), "fate": fate})
    if fates["not checked"]:
        raise SystemExit(f"Expected every mutant to be tried, {fates['not checked']} were not. Run again to go on.")
    total = sum(fates.values())
    killed = sum(fates[fate] for fate in KILLED)
    print(f"{killed} of {total} noticed ({killed / max(total, 1):.1%}); {dict(fates)}")
    finish(found, killed, total, by_file, options)


def finish(
    found: list[dict[str, str]], killed: int, total: int, by_file: dict[str, Counter[str]], options: Any
) -> None:
    """Write what was found and leave with 1 if it is not enough."""
    known = json.loads(SURVIVORS.read_text(encoding="utf-8")) if SURVIVORS.exists() else []
    survivors = argued(found, known)
    if options.only or options.group:
        print(json.dumps(survivors, indent=1))
        return
    SURVIVORS.write_text(json.dumps(survivors, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    counts = {name: {"killed": one["killed"], "total": sum(one.values())} for name, one in sorted(by_file.items())}
    record("mutation", {"killed": killed, "total": total, "by_module": counts})
    without = sum(not one["why"] for one in survivors)
    if without:
        print(f"{without} survivors without a reason in {SURVIVORS}.")
    sys.exit(killed < TARGET * total or without > 0)


if __name__ == "__main__":
    main()
