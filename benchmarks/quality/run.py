"""Every method on every cell; what is in the results file already is not run again.

    python -m benchmarks.quality.run                          # heads on frozen features, all cells and methods
    python -m benchmarks.quality.run --smoke                  # three small cells, a seed
    python -m benchmarks.quality.run --cells trec --methods default cross_entropy --seeds 1
    python -m benchmarks.quality.run --first                  # the methods that the targets are about

The setting of a method is chosen, for each cell and seed, by balanced accuracy on a fifth of the *training* rows with
the labels that they were given; the test set is looked at once, with that setting.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import torch
from tqdm import tqdm

from benchmarks.quality.cells import frozen_cells, smoke_cells
from benchmarks.quality.frozen import load
from benchmarks.quality.method import MIDDLE_PENALTY, Setting
from benchmarks.quality.methods import FIRST, METHODS
from benchmarks.quality.per_row import pack
from benchmarks.quality.problems import Cell, Problem, draw, hold_out
from benchmarks.quality.results import RESULTS, Row, describe, key, read, write
from benchmarks.quality.scores import balanced_accuracy, scores

REGIME = "frozen"
WRITE_EVERY_SECONDS = 30


class Job(NamedTuple):
    """Methods to run on one drawing of a cell."""

    cell: Cell
    seed: int
    methods: tuple[str, ...]


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cells", nargs="+", default=[""], help="run those whose name holds one of these")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS))
    parser.add_argument("--first", action="store_true", help="only the methods that the targets are about")
    parser.add_argument("--processes", type=int, default=2, help="that run side by side, of a thread each")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--smoke", action="store_true", help="a few small cells, a seed")
    options = parser.parse_args()
    results = options.results
    rows = read(results)
    todo = jobs(options, {key(row) for row in rows})
    if options.processes > 1:
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
    cells, methods, seeds = frozen_cells(), list(METHODS), options.seeds
    if options.first:
        methods = list(FIRST)
    if options.smoke:
        cells, seeds = smoke_cells(), 1
    cells, found = [cell for cell in cells if any(part in cell.name for part in options.cells)], []
    for seed in range(seeds):
        for cell in cells:
            names = (name for name in options.methods or methods)
            missing = tuple(name for name in names if (REGIME, cell.name, name, seed) not in done)
            if missing:
                found.append(Job(cell, seed, missing))
    return found


def warm_up() -> None:
    """Pay for what is slow the first time, before the first method of a process is timed."""
    torch.set_num_threads(1)
    run_method(draw(load("digits"), Cell("digits", 20), 0), "cross_entropy", 0)


def run(job: Job) -> list[Row]:
    """Rows of a job."""
    torch.set_num_threads(1)
    problem = draw(load(job.cell.dataset), job.cell, job.seed)
    common = {"regime": REGIME, **describe(job.cell), "seed": job.seed}
    return [{**common, "method": name, **run_method(problem, name, job.seed)} for name in job.methods]


def run_method(problem: Problem, name: str, seed: int) -> Row:
    """Choose a setting on held-out training rows, train with it on all of them, and test."""
    started = time.perf_counter()
    method, part = METHODS[name], hold_out(problem, seed)
    tried = method.fit(method.prepare(part, seed), method.settings, seed)
    held = [balanced_accuracy(predict(part.test_features), part.test_labels) for predict in tried]
    setting = choose(method.settings, held)
    (predict,) = method.fit(method.prepare(problem, seed), [setting], seed)
    logits = predict(problem.test_features)
    found = test(logits, problem)
    seconds = time.perf_counter() - started
    return {
        "setting": setting,
        **{metric: round(value, 4) for metric, value in found.items()},
        **pack(logits, problem.test_labels),
        "seconds": round(seconds, 2),
    }


def choose(settings: Sequence[Setting], held: Sequence[float]) -> Setting:
    """The setting with the best score; of several, the one whose penalty is nearest to the middle of the grid."""
    distances = [abs(math.log(setting["l2"] / MIDDLE_PENALTY)) for setting in settings]
    return settings[max(range(len(settings)), key=lambda place: (held[place], -distances[place]))]


def test(logits: torch.Tensor, problem: Problem) -> dict[str, float]:
    """Scores on the rows in the place of the test set."""
    return scores(logits, problem.test_labels, problem.test_groups, problem.class_counts)


if __name__ == "__main__":
    main()
