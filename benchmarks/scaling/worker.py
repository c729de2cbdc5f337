"""One process of a measurement: solves, and multiplies matrices of the same size, in turns. Prints JSON."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from benchmarks.record import peak_rss_bytes
from benchmarks.scaling.data import CLASSES, Files, open_files
from benchmarks.timing import synchronise
from hf_otw import learn_weights
from hf_otw.features.shards import shard_of
from hf_otw.features.stored import BLOCK_ROWS, Standardizer, StoredFeatures
from hf_otw.transport import solve_sinkhorn
from hf_otw.transport.blocks import CostBlocks
from hf_otw.transport.costs import CombinedCost, FeatureCost
from hf_otw.types import Cost, Measure, Weights
from hf_otw.weighting import CleanPosterior, ClosedForm, WeightModel
from hf_otw.weighting.base import mean_one
from hf_otw.weighting.target import class_prior_mass, examples_target

REG = 0.1


class SinkhornStep(WeightModel):
    """A solve to 1e-3 and the step that its gradient asks for: what a gradient step on the objective `kl` takes."""

    divisible = True
    streams = True

    def forward(self, index: Tensor, source: Measure, target: Measure, cost: Cost) -> Weights:
        blocks = CostBlocks(cost, source, target)
        found = solve_sinkhorn(blocks, source.mass, target.mass, reg=REG, tol=1e-3, max_iter=500, value_linear=False)
        weights = mean_one((-found.potential_a).softmax(dim=0))
        return Weights(weights, found.value, found.converged.to(weights.dtype), found.marginal_error)


MODES = {
    "closed_form": (
        lambda: ClosedForm(reg=REG),
        CombinedCost(),
        {"weighting": "closed_form", "weighting_kwargs": {"reg": REG}},
    ),
    "sinkhorn": (SinkhornStep, FeatureCost(), {"weighting": SinkhornStep()}),
    "clean_posterior": (CleanPosterior, None, {"weighting": "clean_posterior"}),
}
#: Every meta example is a column; of prototypes there would be as many as classes.
COLUMNS = {"target_points": "examples", "target_mass": "class_prior"}


def main() -> None:
    """Measure, and print a row's figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--sizes", type=int, nargs=3, metavar=("n", "m", "d"))
    parser.add_argument("--mode", choices=list(MODES))
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if ranks > 1:
        dist.init_process_group("gloo")
    n, m, d = options.sizes
    files = open_files(options.folder, n, m, d)
    turns: dict[str, list[tuple[float, float]]] = {"matmul_": [], "": []}
    for _ in range(options.repeats):
        turns["matmul_"].append(_timed(lambda: multiply(n // ranks, m, d, options.device), options.device))
        turns[""].append(_timed(lambda: solve(files, options.mode, options.device), options.device))
    row = {}
    for name, found in turns.items():
        for k, which in enumerate(("seconds", "cpu_seconds")):
            row[f"{name}{which}"] = statistics.median(times[k] for times in found)
    clock = 1 if options.device == "cpu" else 0  # of the processor: others may be at work on the same cores
    row["ratio"] = statistics.median(
        one[clock] / other[clock] for one, other in zip(turns[""], turns["matmul_"], strict=True)
    )
    row["peak_rss_gb"] = peak_rss_bytes() / 1e9
    figures = torch.tensor(list(row.values()), dtype=torch.float64)
    if ranks > 1:
        dist.all_reduce(figures, dist.ReduceOp.MAX)
    if ranks == 1 or dist.get_rank() == 0:
        sys.stdout.write(json.dumps(dict(zip(row, figures.tolist(), strict=True))) + "\n")
    if ranks > 1:
        dist.barrier()
        dist.destroy_process_group()


def multiply(n: int, m: int, d: int, device: str) -> None:
    """The product of `(n, d)` and `(d, m)` in float32 and row blocks: what the costs alone take."""
    rows, columns = torch.randn(BLOCK_ROWS, d, device=device), torch.randn(d, m, device=device)
    out = torch.empty(BLOCK_ROWS, m, device=device)
    for start in range(0, n, BLOCK_ROWS):
        k = min(BLOCK_ROWS, n - start)
        torch.mm(rows[:k], columns, out=out[:k])


def solve(files: Files, mode: str, device: str) -> Tensor | np.ndarray:
    """From features in the file to weights `(n,)`."""
    build, cost, options = MODES[mode]
    if device != "cpu":
        tensors = [torch.from_numpy(np.array(values)).to(device) for values in files]
        return learn_weights(*tensors, **COLUMNS, **options).weights
    if not dist.is_initialized():
        return learn_weights(*files, **COLUMNS, **options).weights
    shard = shard_of(len(files.labels), dist.get_rank(), dist.get_world_size())
    own = StoredFeatures(files.features, index=range(shard.start, shard.stop))
    scaler = Standardizer.fit(own, shard)
    labels, meta_labels = torch.from_numpy(files.labels), torch.from_numpy(files.meta_labels)
    counts = torch.bincount(labels, minlength=CLASSES).float()
    meta = scaler(torch.from_numpy(files.meta_features).float())
    target = examples_target(meta, meta_labels, class_prior_mass(counts))
    n = len(labels)
    source = Measure(own.standardized(scaler), labels, torch.full((n,), 1 / n), shard=shard)
    return build()(torch.arange(n), source, target, cost).weights


def _timed(work: Callable[[], object], device: str) -> tuple[float, float]:
    """Seconds on the clock, and of the processor."""
    if dist.is_initialized():
        dist.barrier()
    synchronise(device)
    started, cpu = time.perf_counter(), time.process_time()
    work()
    synchronise(device)
    return time.perf_counter() - started, time.process_time() - cpu


if __name__ == "__main__":
    main()
