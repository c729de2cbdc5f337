"""What does a feature memory cost in a step, by how it is kept? Writes benchmarks/results/memory.json.

Real trainings, in one process and in several that exchange features by gloo, of a model that is as wide as MiniLM and
has next to no depth: processes hardly wait for each other, so that the time inside our code is that of our code.

    python -m benchmarks.stepping.memory
    python -m benchmarks.stepping.memory --ranks 2 --kept sharded --steps 100
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, TrainerCallback

from benchmarks.launch import run_together
from benchmarks.record import RESULTS, merge
from benchmarks.stepping.modes import KEPT, be_quiet, build
from benchmarks.stepping.run import FIRST_STEPS, host_arguments

KEY = ("device", "ranks", "feature_memory")
MODEL = "wide"


def main() -> None:
    """Measure every way in every number of processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kept", nargs="+", choices=list(KEPT), default=list(KEPT))
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--examples", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--results", type=Path, default=RESULTS / "memory.json")
    parser.add_argument("--worker", action="store_true", help="be one of the processes")
    options = parser.parse_args()
    if options.worker:
        torch.set_num_threads(1)
        be_quiet()
        train(options.kept[0], options)
        return
    for ranks in options.ranks:
        for kept in options.kept:
            if kept == "sharded" and ranks == 1:
                continue
            row = {"device": "cpu", "ranks": ranks, "feature_memory": kept, **measure(kept, ranks, options)}
            merge(options.results, [row], KEY, "cpu")
            print(
                "{ranks} processes, {feature_memory:<12}{weighting_cpu_ms:>8.2f} ms a step".format(**row), flush=True
            )


def measure(kept: str, ranks: int, options: argparse.Namespace) -> dict[str, Any]:
    """Figures of the first process of some."""
    command = [sys.executable, "-m", "benchmarks.stepping.memory", "--worker", "--kept", kept]
    command += ["--examples", str(options.examples), "--steps", str(options.steps)]
    return json.loads(run_together(command, ranks).splitlines()[-1])


def train(kept: str, options: argparse.Namespace) -> None:
    """Train for some steps, and print what the weighting took of each."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = build(
            KEPT[kept],
            MODEL,
            examples=options.examples,
            steps=FIRST_STEPS + options.steps,
            folder=Path(folder),
            **host_arguments("cpu"),
        )
        trainer.remove_callback(PrinterCallback)
        watch = Watch(trainer)
        trainer.add_callback(watch)
        trainer.train()
        memory = trainer._session.reweighter.memory
        figures = {
            "weighting_ms": statistics.median(wall for wall, _ in watch.taken[FIRST_STEPS:]),
            "weighting_cpu_ms": statistics.median(cpu for _, cpu in watch.taken[FIRST_STEPS:]),
            "feature_bytes": memory.features.nbytes,
            "examples": options.examples,
            "dimensions": memory.features.shape[1],
            "batch_size": trainer.args.per_device_train_batch_size,
            "repeats": options.steps,
        }
        sys.stdout.write(json.dumps(figures) + "\n")


class Watch(TrainerCallback):
    """Time of the weighting in each step, on the clock and of the processor, in milliseconds."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.taken: list[tuple[float, float]] = []
        self._own = (0.0, 0.0)

    def on_train_begin(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        for name in ("before_forward", "weights"):
            self._time(self.trainer._session, name)

    def on_step_begin(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        self._own = (0.0, 0.0)

    def on_step_end(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        self.taken.append(self._own)

    def _time(self, owner: Any, name: str) -> None:
        work = getattr(owner, name)

        def timed(*args: Any, **keywords: Any) -> Any:
            wall, cpu = time.perf_counter(), time.process_time()
            found = work(*args, **keywords)
            wall, cpu = 1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)
            self._own = (self._own[0] + wall, self._own[1] + cpu)
            return found

        setattr(owner, name, timed)


if __name__ == "__main__":
    main()
