"""Trains a toy run to its end, from the last complete checkpoint on if there is one, and writes what it became.

`[KILL=name:k] python tests/faults/train.py OUT`, also under `torchrun`: with KILL all its processes are killed,
without warning, just before the k-th call of one of `POINTS`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import Trainer, TrainerState

from hf_otw import checkpoint, last_complete_checkpoint
from hf_otw.cli.processes import leave_processes
from tests.toys import collate, history, model, parameters, toy_dataset, toy_trainer

#: Where a run can be cut: inside a step, before and after each file of a save, between the two files of ours.
POINTS: dict[str, tuple[Any, str]] = {
    "step": (Trainer, "training_step"),
    "model": (Trainer, "save_model"),
    "optimizer": (Trainer, "_save_optimizer_and_scheduler"),
    "weights": (checkpoint, "save_state"),
    "replace": (os, "replace"),
    "random_state": (Trainer, "_save_rng_state"),
    "trainer_state": (TrainerState, "save_to_json"),
}
STEPS, SAVE_STEPS = 12, 2
#: A step takes a moment, so that a kill by the clock finds all parts of a run.
PAUSE = 0.02


def kill_tree(pid: int) -> None:
    """Kill a process and all below it, at once and without warning, this one last if it is among them.

    Not by process group: the launcher gives each process one of its own.
    """
    first = psutil.Process(pid)
    tree = [first, *first.children(recursive=True)]
    for process in sorted(tree, key=lambda process: process.pid == os.getpid()):
        with contextlib.suppress(psutil.NoSuchProcess):  # it was faster
            process.kill()


def killing(call: Callable[..., Any], at: int) -> Callable[..., Any]:
    calls = 0

    def counted(*positional: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            kill_tree(os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else os.getpid())
        return call(*positional, **keywords)

    return counted


def slow_collate(items: list[Any]) -> dict[str, torch.Tensor]:
    time.sleep(PAUSE)
    return collate(items)


def main(out: Path) -> None:
    name, _, count = os.environ.get("KILL", "").partition(":")
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    trainer = toy_trainer(
        out,
        net=model(dropout=0.1),
        data=toy_dataset((24, 12, 12)),
        trainer_data_collator=slow_collate,
        max_steps=STEPS,
        per_device_train_batch_size=4 // processes,
        gradient_accumulation_steps=2,
        save_strategy="steps",
        save_steps=SAVE_STEPS,
        save_total_limit=3,
        weighting="agreement",  # solved several times, from a memory that a checkpoint must hold
        example_loss="logit_adjusted",
        meta_loss_coefficient=0.1,
        weight_warmup=3,
        weight_refresh_steps=4,
    )
    assert trainer.args.world_size == processes
    found = last_complete_checkpoint(out)
    if name:
        owner, attribute = POINTS[name]
        setattr(owner, attribute, killing(getattr(owner, attribute), int(count)))
    if trainer.is_world_process_zero():
        print(f"starts from {found}", flush=True)
    trainer.train(resume_from_checkpoint=found)
    result = {
        "parameters": parameters(trainer),
        "weights": trainer.example_weights,
        "state": trainer._session.reweighter.state_dict(),
        # The host takes the mean loss of a resumed run over the steps since then: left out.
        "log": [row for row in history(trainer) if "train_loss" not in row],
    }
    torch.save(result, out / f"result-{trainer.args.process_index}.pt")
    leave_processes(together=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
