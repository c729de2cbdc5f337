"""The parts of the queue, and its order: what says most for an hour of one core comes first."""

from __future__ import annotations

from benchmarks.paper import sst2
from benchmarks.paper.job import Job, Part

SEEDS = 5

PARTS: dict[str, Part] = {
    sst2.PART: Part(sst2.jobs, sst2.run, "SST-2, full fine-tuning of MiniLM"),
}


def queue() -> list[Job]:
    """Every run, in order: the first seed of everything before the second of anything."""
    found: list[Job] = []
    for seed in range(SEEDS):
        found += sst2.jobs(seed) + sst2.without_transport_jobs(seed) + sst2.l2rw_jobs(seed)
    return found
