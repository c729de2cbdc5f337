"""Run one recipe: `python -m recipes.run recipes/reuters_r8/minilm/ot.yaml`, also under `accelerate launch`.

Every variant of a folder trains on the same rows with the same seed and budget, and is tested once, at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
from transformers.utils import logging as transformers_logging

from hf_otw.cli.processes import leave_processes
from hf_otw.recipe.run import collect, prepare, train_all
from recipes.catalogue import catalogue
from recipes.config import ROOT, load_recipe, recipe_name

RESULTS = ROOT / "results"


def main(argv: Sequence[str] | None = None) -> None:
    """Train, test, write, print."""
    options = parse(argv)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    datasets.disable_progress_bars()
    name = recipe_name(options.config)
    recipe = load_recipe(options.config, options.set)
    output = Path(options.output_dir or f"runs/recipes/{name}")
    job = prepare(recipe, output, catalogue(), where=options.source, select=options.select)
    _, runs = train_all(job, options.seeds)
    if not runs[0].is_main:
        return
    results = collect(job, name, runs) | {"commit": commit()}
    write(results, output / "metrics.json")
    if options.save_results:
        write(results, RESULTS / f"{name.replace('/', '_')}.json")
    print(summary(results, output))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m recipes.run", description=__doc__.splitlines()[0])
    parser.add_argument("config", help="the recipe, recipes/<dataset>/<model>/<variant>.yaml")
    parser.add_argument("--output-dir", help="runs/recipes/<dataset>/<model>/<variant> by default")
    parser.add_argument("--seeds", type=int, default=1, help="runs, with the recipe's seed and those after it")
    parser.add_argument("--source", choices=("packaged", "hub"), help="packaged where the recipe has it, by default")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="arguments.max_steps=10, ...")
    parser.add_argument(
        "--select",
        action="store_true",
        help="test on a fifth of the training rows, left out of training: for choosing settings",
    )
    parser.add_argument("--save-results", action="store_true", help="keep the numbers in recipes/results")
    options = parser.parse_args(argv)
    if options.select and options.save_results:
        parser.error("Expected --select without --save-results: numbers for choosing settings are no results.")
    if options.seeds < 1:
        parser.error(f"Expected --seeds of 1 or more, got {options.seeds}.")
    return options


def commit() -> str | None:
    """The commit of the checkout, with `-dirty` where files differ from it; None outside of one."""

    def git(*command: str) -> str:
        done = subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + "-dirty" * bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None


def write(results: dict[str, Any], path: Path) -> None:
    """Write JSON at once: a run that is broken off leaves no half of a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    unfinished.replace(path)


def summary(results: dict[str, Any], output: Path) -> str:
    """The main metric, and where the others are."""
    metric = results["metric"]["name"]
    seeds = len(results["per_seed"])
    return (
        f"{results['recipe']}: {metric} {results['metrics'][metric]:.4g} ({seeds} seed{'s' * (seeds > 1)}, "
        f"{results['seconds']:.0f} s of training). All numbers: {output / 'metrics.json'}"
    )


def command() -> None:
    """`main`, with errors told in a line, and the processes of a launched run left in order."""
    worked = False
    try:
        main()
        worked = True
    except (ValueError, ImportError, FileNotFoundError) as error:
        if os.environ.get("RECIPES_TRACEBACK"):
            raise
        sys.exit(f"{type(error).__name__}: {error}")
    finally:
        leave_processes(together=worked)


if __name__ == "__main__":
    command()
