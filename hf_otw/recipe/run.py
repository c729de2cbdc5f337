"""Train and test what a recipe says."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import PrinterCallback, ProgressCallback, TrainerCallback, set_seed

from hf_otw.config.args import OTWeightedTrainingArguments
from hf_otw.recipe.base import Prepared, Splits
from hf_otw.recipe.catalogue import Catalogue
from hf_otw.recipe.schema import Recipe, without_secrets
from hf_otw.recipe.source import Where, load_raw
from hf_otw.recipe.splits import make_splits, with_meta_in_train
from hf_otw.report.callback import FigureCallback, takes_figures
from hf_otw.trainer import OTWeightedTrainer

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


@dataclass(frozen=True)
class Job:
    """A recipe with everything that its runs share.

    Attributes:
        recipe: what to run.
        output: folder of the run.
        catalogue: what the recipe's names mean.
        source: where rows came from.
        rows: before the pipeline.
        processor: of the model, or None.
        prepared: model inputs.
        select: whether a fifth of the training rows stands for the test rows.
        callbacks: of the trainers.
    """

    recipe: Recipe
    output: Path
    catalogue: Catalogue
    source: Where
    rows: Splits
    processor: Any
    prepared: Prepared
    select: bool = False
    callbacks: Sequence[TrainerCallback] = ()


def prepare(
    recipe: Recipe,
    output: Path,
    catalogue: Catalogue,
    *,
    where: Where | None = None,
    select: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
) -> Job:
    """Load the data and turn them into model inputs; every mistake in a recipe that can be seen early is seen here."""
    pipeline = catalogue.pipeline(recipe.model)
    raw, where = load_raw(recipe.source, catalogue, where)
    plan = arguments(recipe, recipe.seed, output)
    splits = make_splits(raw, recipe.data, select=select, meta_per_class=plan.settings().meta_examples_per_class)
    splits = splits if uses_meta(plan) else with_meta_in_train(splits)
    processor = catalogue.processor(recipe.model)
    prepared = pipeline(splits, processor)
    return Job(recipe, output, catalogue, where, splits, processor, prepared, select, callbacks)


def arguments(recipe: Recipe, seed: int, output: Path) -> OTWeightedTrainingArguments:
    """Arguments of one run."""
    given = COMMON | {"dataloader_pin_memory": torch.cuda.is_available()} | recipe.arguments
    return OTWeightedTrainingArguments(output_dir=str(output / "model"), seed=seed, **given)


def uses_meta(args: OTWeightedTrainingArguments) -> bool:
    """Does the run have a meta set? The others train on its rows instead."""
    return args.settings().needs_meta


def build_trainer(job: Job, seed: int) -> OTWeightedTrainer:
    """The trainer of one seed, with a new model."""
    args = arguments(job.recipe, seed, job.output)
    set_seed(seed)  # the same initial model for every variant
    prepared, splits = job.prepared, job.prepared.splits
    trainer = OTWeightedTrainer(
        model=job.catalogue.model(job.recipe.model, prepared.facts, job.processor),
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
    if trainer.is_weighted and takes_figures(trainer):
        trainer.add_callback(FigureCallback(trainer))
    for callback in job.callbacks:
        trainer.add_callback(callback)
    return trainer


def train(job: Job, seed: int, resume: Path | None = None) -> tuple[OTWeightedTrainer, Run]:
    """Train and test with one seed, from the start or from a checkpoint."""
    trainer = build_trainer(job, seed)
    started = time.perf_counter()
    trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    seconds = time.perf_counter() - started
    found = trainer.evaluate()
    metrics = {key.removeprefix("eval_"): float(value) for key, value in found.items() if is_metric(key)}
    return trainer, Run(seed, metrics, seconds, trainer.state.global_step, trainer.is_world_process_zero())


def train_all(job: Job, seeds: int = 1, resume: Path | None = None) -> tuple[OTWeightedTrainer, list[Run]]:
    """Train and test with the recipe's seed and those after it; the trainer of the last one.

    Args:
        job: what to run.
        seeds: number of runs.
        resume: checkpoint that a single run goes on from.
    """
    runs = []
    for seed in range(job.recipe.seed, job.recipe.seed + seeds):
        trainer, run = train(job, seed, resume)
        runs.append(run)
    return trainer, runs


def is_metric(key: str) -> bool:
    """Not the clock, and not the epoch."""
    return key.startswith("eval_") and not key.endswith(("_runtime", "_per_second", "_time"))


def collect(job: Job, name: str, runs: list[Run]) -> dict[str, Any]:
    """Collect the results of the runs, and what is needed to repeat them."""
    recipe, prepared = job.recipe, job.prepared
    per_seed: list[dict[str, Any]] = [
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
        "classes": list(prepared.facts.class_names),
        "recall": mean_of([found["recall"] for found in per_seed]),
        "per_seed": per_seed,
        "rows": {
            "train": len(prepared.splits.train),
            "meta": len(prepared.splits.meta or ()),
            "test": len(prepared.splits.test),
        },
        "config": without_secrets(recipe.as_dict()),
        "versions": {package: metadata.version(package) for package in PACKAGES},
        "hardware": hardware(),
        "seconds": round(sum(run.seconds for run in runs), 1),
        "source": job.source,
        "select": job.select,
    }


def mean_of(found: list[dict[str, float]]) -> dict[str, float]:
    """Mean over seeds of each metric that every seed has."""
    shared = [name for name in found[0] if all(name in other for other in found)]
    return {name: statistics.fmean(other[name] for other in found) for name in shared}


def hardware() -> dict[str, Any]:
    """Describe the hardware of the run."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {
        "machine": platform.machine(),
        "device": device,
        "threads": torch.get_num_threads(),
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "python": platform.python_version(),
    }
