"""Every method on every cell; what is in the results file already is not run again.

    python -m benchmarks.quality.run                          # heads on frozen features, all cells and methods
    python -m benchmarks.quality.run --smoke                  # three small cells, a seed
    python -m benchmarks.quality.run --cells trec --methods default cross_entropy --seeds 1
    python -m benchmarks.quality.run --development            # variants of the default, on held-out training rows

The setting of a method is chosen, for each cell and seed, by balanced accuracy on a fifth of the *training* rows with
the labels that they were given; the test set is looked at once, with that setting.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.quality.cells import frozen_cells, seeds_of, smoke_cells
from benchmarks.quality.frozen import load
from benchmarks.quality.methods import METHODS
from benchmarks.quality.problems import Cell, Problem, draw, hold_out
from benchmarks.quality.results import RESULTS, Row, describe, key, read, write
from benchmarks.quality.scores import scores
from benchmarks.quality.variants import (
    DEVELOPMENT_RESULTS,
    FIRST_SEED,
    VARIANTS,
    development,
    development_cells,
    development_methods,
)

REGIME = "frozen"
WRITE_EVERY_SECONDS = 30


class Job(NamedTuple):
    """Methods to run on one drawing of a cell."""

    cell: Cell
    seed: int
    methods: tuple[str, ...]
    development: bool = False


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cells", default="", help="run those whose name holds this")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS | development_methods()))
    parser.add_argument("--processes", type=int, default=2, help="that run side by side, of a thread each")
    parser.add_argument("--results", type=Path)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--smoke", action="store_true", help="a few small cells, a seed")
    which.add_argument("--development", action="store_true", help="variants of the default, on held-out training rows")
    options = parser.parse_args()
    results = options.results or (DEVELOPMENT_RESULTS if options.development else RESULTS)
    rows = read(results)
    todo = jobs(options, {key(row) for row in rows})
    for dataset in sorted({job.cell.dataset for job in todo}):
        load(dataset)  # computed once, before processes that would do it at the same time
    versions = {name: metadata.version(name) for name in ("hf_otw", "torch", "scikit-learn", "cleanlab")}
    written = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(options.processes, initializer=warm_up) as pool:
        for found in tqdm(pool.imap_unordered(run, todo), total=len(todo), unit="cell"):
            rows += found
            if time.monotonic() - written > WRITE_EVERY_SECONDS:
                write(rows, versions, results)
                written = time.monotonic()
    write(rows, versions, results)
    print(f"{len(read(results))} rows in {results}")


def jobs(options: argparse.Namespace, done: set[tuple[str, str, str, int]]) -> list[Job]:
    """What is not done, the first seed of every cell first."""
    cells, methods, seeds, first = frozen_cells(), list(METHODS), options.seeds, 0
    if options.smoke:
        cells, seeds = smoke_cells(), 1
    if options.development:
        cells, methods, first = development_cells(), list(development_methods()), FIRST_SEED
    cells, found = [cell for cell in cells if options.cells in cell.name], []
    for seed in range(max((seeds_of(cell, seeds) for cell in cells), default=0)):
        for cell in cells:
            names = (name for name in options.methods or methods)
            missing = tuple(name for name in names if (REGIME, cell.name, name, first + seed) not in done)
            if missing and seed < seeds_of(cell, seeds):
                found.append(Job(cell, first + seed, missing, options.development))
    return found


def warm_up() -> None:
    """Pay for what is slow the first time, before the first method of a process is timed."""
    torch.set_num_threads(1)
    run_method(draw(load("digits"), Cell("digits", 20), 0), "cross_entropy", 0)


def run(job: Job) -> list[Row]:
    """Rows of a job."""
    torch.set_num_threads(1)
    data = load(job.cell.dataset)
    problem = draw(development(data) if job.development else data, job.cell, job.seed)
    common = {"regime": REGIME, **describe(job.cell), "seed": job.seed}
    return [{**common, "method": name, **run_method(problem, name, job.seed)} for name in job.methods]


def run_method(problem: Problem, name: str, seed: int) -> Row:
    """Choose a setting on held-out training rows, train with it on all of them, and test."""
    started = time.perf_counter()
    method, part = (METHODS | VARIANTS)[name], hold_out(problem, seed)
    tried = method.fit(method.prepare(part, seed), method.settings, seed)
    held = [test(predict(part.test_features), part)["balanced_accuracy"] for predict in tried]
    setting = method.settings[int(np.argmax(held))]
    (predict,) = method.fit(method.prepare(problem, seed), [setting], seed)
    found = test(predict(problem.test_features), problem)
    seconds = time.perf_counter() - started
    return {
        "setting": setting,
        **{metric: round(value, 4) for metric, value in found.items()},
        "seconds": round(seconds, 2),
    }


def test(logits: torch.Tensor, problem: Problem) -> dict[str, float]:
    """Scores on the rows in the place of the test set."""
    return scores(logits, problem.test_labels, problem.test_groups, problem.class_counts)


if __name__ == "__main__":
    main()
