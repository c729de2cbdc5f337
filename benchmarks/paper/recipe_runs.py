"""Runs of recipes: all of them as they are, and the packaged point clouds at full length."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.paper.job import Job, Row, work_folder
from hf_otw.recipe.find import folder_recipes
from hf_otw.recipe.reading import load_recipe
from tools.run_all import command, launch
from tools.table import RECIPES as FOLDER

POINTS, RECIPES = "points", "recipes"
VARIANTS = ("plain", "class_balanced", "paper", "ot")
FASHION_POINTS = "fashion_points/pointnet"
#: All rows of the data set, ten epochs of its 14,885 training rows.
FULL_LENGTH = ("data.max_train_per_class=null", "data.max_test=null", "arguments.max_steps=4650")
RECIPE_SEEDS = 3
#: Results that a recipe's own file has beside the numbers, kept whole for `recipes/results`.
KEPT = "metrics.json"


def points_jobs(seed: int) -> list[Job]:
    """The four variants."""
    return [Job(POINTS, "fashion_points", variant, seed) for variant in VARIANTS]


@cache
def recipe_jobs() -> tuple[Job, ...]:
    """Every recipe that needs neither an accelerator nor a download, three seeds each, in one run."""
    names = [name for name, path in folder_recipes(FOLDER).items() if not load_recipe(path).needs]
    return tuple(Job(RECIPES, *name.rsplit("/", 1), 0) for name in names)


def run_points(job: Job, runs: Path) -> Row:
    """Train and test one variant with one seed."""
    found = _run(job, runs, f"{FASHION_POINTS}/{job.method}", seeds=1, changes=(*FULL_LENGTH, f"seed={job.seed}"))
    (seed,) = found["per_seed"]
    return {"metrics": seed["metrics"], "seconds": seed["seconds"], "steps": seed["steps"], "rows": found["rows"]}


def run_whole_recipe(job: Job, runs: Path) -> Row:
    """Train and test with three seeds."""
    found = _run(job, runs, f"{job.problem}/{job.method}", seeds=RECIPE_SEEDS, changes=())
    return {"recipe": found, "seconds": found["seconds"]}


def _run(job: Job, runs: Path, name: str, *, seeds: int, changes: tuple[str, ...]) -> dict[str, Any]:
    folder = work_folder(runs, job)
    run = [*command(FOLDER / f"{name}.yaml", folder, seeds), *(f"--{change}" for change in changes)]
    if launch(run):
        raise RuntimeError(f"Expected the recipe {name} to run, but it failed: see above. Command: {' '.join(run)}")
    return json.loads((folder / KEPT).read_text(encoding="utf-8"))
