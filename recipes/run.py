"""Run one recipe: `python -m recipes.run recipes/reuters_r8/minilm/ot.yaml`, also under `accelerate launch`.

Every variant of a folder trains on the same rows with the same seed and budget, and is tested once, at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import torch
from transformers import PrinterCallback, ProgressCallback, set_seed
from transformers.utils import logging as transformers_logging

from hf_otw import OTWeightedTrainer, OTWeightedTrainingArguments
from hf_otw.presets import BASELINES
from recipes.config import ROOT, Recipe, load_recipe, recipe_name
from recipes.models import build_model, build_processor, entry_of
from recipes.pipelines import PIPELINES, Prepared
from recipes.pipelines.base import Splits
from recipes.pipelines.source import load_raw
from recipes.pipelines.splits import make_splits, with_meta_in_train

RESULTS = ROOT / "results"
PACKAGES = ("hf_otw", "transformers", "torch", "datasets", "accelerate", "numpy")
#: What no recipe has to say; a recipe that does say it wins.
COMMON: dict[str, Any] = {
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": True,
    "logging_steps": 10,
    "label_names": ["labels"],
    "per_device_eval_batch_size": 64,
}


class Run(NamedTuple):
    """One training run and its test."""

    seed: int
    metrics: dict[str, float]
    seconds: float
    steps: int
    is_main: bool


def main(argv: Sequence[str] | None = None) -> None:
    """Train, test, write, print."""
    options = parse(argv)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    datasets.disable_progress_bars()
    name = recipe_name(options.config)
    recipe = load_recipe(options.config, options.set)
    entry_of(recipe.model)
    raw, where = load_raw(recipe.source, options.source)
    output = Path(options.output_dir or f"runs/recipes/{name}")
    plan = arguments(recipe, recipe.seed, output)
    splits = make_splits(raw, recipe.data, select=options.select, meta_per_class=plan.meta_examples_per_class)
    splits = splits if uses_meta(plan) else with_meta_in_train(splits)
    processor = build_processor(recipe.model)
    prepared = PIPELINES[entry_of(recipe.model).pipeline](splits, processor)
    runs = [
        train(recipe, seed, prepared, processor, output) for seed in range(recipe.seed, recipe.seed + options.seeds)
    ]
    if not runs[0].is_main:
        return
    results = collect(recipe, name, runs, prepared) | {"source": where, "select": options.select}
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


def arguments(recipe: Recipe, seed: int, output: Path) -> OTWeightedTrainingArguments:
    """Arguments of one run."""
    given = COMMON | {"dataloader_pin_memory": torch.cuda.is_available()} | recipe.arguments
    return OTWeightedTrainingArguments(output_dir=str(output / "checkpoints"), seed=seed, **given)


def uses_meta(args: OTWeightedTrainingArguments) -> bool:
    """Does the run have a meta set? The others train on its rows instead."""
    return args.weighting not in ("none", *BASELINES) or bool(args.meta_loss_coefficient and args.weighting != "none")


def train(recipe: Recipe, seed: int, prepared: Prepared, processor: Any, output: Path) -> Run:
    """Train and test with one seed."""
    args = arguments(recipe, seed, output)
    set_seed(seed)  # the same initial model for every variant
    model = build_model(recipe.model, prepared.facts, processor)
    splits: Splits = prepared.splits
    trainer = OTWeightedTrainer(
        model=model,
        args=args,
        train_dataset=splits.train,
        eval_dataset=splits.test,
        data_collator=prepared.collate,
        compute_metrics=prepared.compute_metrics,
        preprocess_logits_for_metrics=prepared.preprocess_logits,
        meta_dataset=splits.meta,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    started = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - started
    found = trainer.evaluate()
    metrics = {key.removeprefix("eval_"): float(value) for key, value in found.items() if is_metric(key)}
    return Run(seed, metrics, seconds, trainer.state.global_step, trainer.is_world_process_zero())


def is_metric(key: str) -> bool:
    """Not the clock, and not the epoch."""
    return key.startswith("eval_") and not key.endswith(("_runtime", "_per_second", "_time"))


def collect(recipe: Recipe, name: str, runs: list[Run], prepared: Prepared) -> dict[str, Any]:
    """What the runs gave, and what is needed to repeat them."""
    per_seed = [
        {
            "seed": run.seed,
            "metrics": {key: value for key, value in run.metrics.items() if not key.startswith("recall/")},
            "recall": {key[7:]: value for key, value in run.metrics.items() if key.startswith("recall/")},
            "seconds": round(run.seconds, 1),
            "steps": run.steps,
        }
        for run in runs
    ]
    return {
        "recipe": name,
        "shows": recipe.shows,
        "metric": {"name": prepared.metric, "higher_is_better": prepared.higher_is_better},
        "metrics": mean_of([found["metrics"] for found in per_seed]),
        "recall": mean_of([found["recall"] for found in per_seed]),
        "per_seed": per_seed,
        "rows": {
            "train": len(prepared.splits.train),
            "meta": len(prepared.splits.meta or ()),
            "test": len(prepared.splits.test),
        },
        "config": recipe.as_dict(),
        "versions": {package: metadata.version(package) for package in PACKAGES},
        "hardware": hardware(),
        "commit": commit(),
        "seconds": round(sum(run.seconds for run in runs), 1),
    }


def mean_of(found: list[dict[str, float]]) -> dict[str, float]:
    """Mean over seeds of each metric that every seed has."""
    shared = [name for name in found[0] if all(name in other for other in found)]
    return {name: statistics.fmean(other[name] for other in found) for name in shared}


def hardware() -> dict[str, Any]:
    """What the run ran on."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {
        "machine": platform.machine(),
        "device": device,
        "threads": torch.get_num_threads(),
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "python": platform.python_version(),
    }


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


if __name__ == "__main__":
    try:
        main()
    except (ValueError, ImportError, FileNotFoundError) as error:
        if os.environ.get("RECIPES_TRACEBACK"):
            raise
        sys.exit(f"{type(error).__name__}: {error}")
    finally:
        if torch.distributed.is_initialized():  # left in order, or torch warns of it
            torch.distributed.destroy_process_group()
