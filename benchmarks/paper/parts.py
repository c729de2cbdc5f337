"""The parts of the queue, and its order: what says most for an hour of one core comes first."""

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
