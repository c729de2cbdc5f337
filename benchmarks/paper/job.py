"""One training run of the queue, and where its files lie."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

Row = dict[str, Any]


class Job(NamedTuple):
    """One training run.

    Attributes:
        part: of the queue, a key of `benchmarks.paper.parts.PARTS`.
        problem: what is trained on, such as `20-1000`.
        method: how.
        seed: of the data, of the model and of training.
    """

    part: str
    problem: str
    method: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.part}/{self.problem}/{self.method}/{self.seed}"


class Part(NamedTuple):
    """Runs of one kind.

    Attributes:
        run: trains a job in its `work_folder`, which may hold the checkpoints of a run that broke off, and returns
            what the result says beside the job itself.
    """

    run: Callable[[Job, Path], Row]


def result_path(runs: Path, job: Job) -> Path:
    """The file that says that a run is done."""
    return runs / "results" / f"{job.name}.json"


def work_folder(runs: Path, job: Job) -> Path:
    """Checkpoints of a run that is not done."""
    return runs / "work" / job.name


def kept_model(runs: Path, job: Job) -> Path:
    """The model that a run leaves for others."""
    return runs / "models" / f"{job.name}.safetensors"


def read_result(runs: Path, job: Job) -> Row | None:
    """The result of a run that is done, else None."""
    path = result_path(runs, job)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def write_json(value: Any, path: Path, *, indent: int = 1) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(value, indent=indent, ensure_ascii=False) + "\n", encoding="utf-8")
    unfinished.replace(path)
