"""The parts of the queue, and its order: what says most for an hour of one core comes first.

Measured on one core that multiplies float32 matrices at 33 GFLOP/s, in its own time: a run of SST-2 takes 12 minutes
(the default 16, L2RW 65), one of the point clouds 8 minutes. ResNet-32 learns from 67 images a second: a run of the
short schedule takes 2 hours (a second stage alone 0.5), of the human labels 3, by the protocol of the paper 13. The
whole queue takes about nine days, four of them for the protocol of the paper.
"""

from __future__ import annotations

from benchmarks.paper import cifar, recipe_runs, sst2
from benchmarks.paper.job import Job, Part

PARTS: dict[str, Part] = {
    sst2.PART: Part(sst2.run),
    cifar.PART: Part(cifar.run),
    recipe_runs.POINTS: Part(recipe_runs.run_points),
    recipe_runs.RECIPES: Part(recipe_runs.run_whole_recipe),
}


def queue() -> list[Job]:
    """Every run, in order."""
    found = sst2.jobs(0)
    for seed in range(3):
        found += recipe_runs.points_jobs(seed)
    found += sst2.without_transport_jobs(0) + sst2.l2rw_jobs(0)
    found += cifar.jobs("short-100", 0) + cifar.ablation_jobs("short-100", 0)
    for seed in (1, 2):
        found += sst2.jobs(seed) + sst2.without_transport_jobs(seed)
    found += recipe_runs.recipe_jobs()
    found += cifar.jobs("human-worse", 0)
    for seed in range(3):
        found += sst2.ablation_jobs(seed)
    found += sst2.l2rw_jobs(1) + sst2.l2rw_jobs(2)
    found += cifar.jobs("protocol-100", 0)
    for problem in ("short-200", "short-50", "short-20"):
        found += cifar.jobs(problem, 0)
    for seed in (3, 4):
        found += sst2.jobs(seed) + sst2.without_transport_jobs(seed) + sst2.l2rw_jobs(seed)
    for seed in (1, 2):
        found += cifar.jobs("short-100", seed)
    return found
