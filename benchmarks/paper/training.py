"""Train with any `Trainer` so that a killed run goes on from its last checkpoint."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import Trainer, TrainerCallback

from benchmarks.paper.job import write_json
from benchmarks.quality.scores import scores
from hf_otw import last_complete_checkpoint


class Clock(TrainerCallback):
    """Seconds of training up to each checkpoint, so that those of a resumed run add up.

    Args:
        folder: the output folder of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "seconds.json"
        self.before = {"wall": 0.0, "cpu": 0.0}
        self.started = self._now()

    @staticmethod
    def _now() -> dict[str, float]:
        return {"wall": time.perf_counter(), "cpu": time.process_time()}

    def on_train_begin(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        """Start after what a checkpoint has cost."""
        if state.global_step and self.path.is_file():
            self.before = json.loads(self.path.read_text(encoding="utf-8")).get(str(state.global_step), self.before)
        self.started = self._now()

    def on_save(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        """Write what this checkpoint has cost."""
        written = json.loads(self.path.read_text(encoding="utf-8")) if self.path.is_file() else {}
        write_json({**written, str(state.global_step): self.spent()}, self.path)

    def spent(self) -> dict[str, float]:
        """Seconds until now."""
        now = self._now()
        return {name: self.before[name] + now[name] - self.started[name] for name in now}


def checkpoints(folder: Path, every: int) -> dict[str, Any]:
    """Arguments of a run that is resumable, quiet, and never looks at the test set before its end."""
    return {
        "output_dir": str(folder),
        "save_strategy": "steps",
        "save_steps": every,
        "save_total_limit": 1,
        "eval_strategy": "no",
        "logging_steps": every,
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": not torch.cuda.is_available(),
    }


def train(trainer: Trainer, folder: Path) -> dict[str, float]:
    """Train to the end, from the last complete checkpoint of the folder where there is one.

    Returns:
        `dict[str, float]`: `seconds` and `cpu_seconds` of training (those of a shared machine; the second do not
        count waiting) and `steps`.
    """
    clock = Clock(folder)
    trainer.add_callback(clock)
    trainer.train(resume_from_checkpoint=last_complete_checkpoint(folder))
    spent = clock.spent()
    return {
        "seconds": round(spent["wall"], 1),
        "cpu_seconds": round(spent["cpu"], 1),
        "steps": trainer.state.global_step,
    }


def tested(trainer: Trainer, test: Any, labels: np.ndarray, counts: np.ndarray) -> dict[str, float]:
    """Scores of the model of the last step on the test set.

    Shape:
        - labels: `(T,)`, of the test set. counts: `(K,)`, training rows a class, labels as given.
    """
    logits = torch.tensor(trainer.predict(test).predictions)
    true: Tensor = torch.tensor(labels)
    return {name: round(v, 4) for name, v in scores(logits, true, true, torch.tensor(counts)).items()}
