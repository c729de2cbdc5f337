"""Trains the cases of a grid one after the other and writes what each became.

`torchrun --nproc_per_node W tests/distributed/train_grid.py OUT CASES [REPLAY]`: with REPLAY, the OUT of a run of more
processes, this process trains on the global batches of that run.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.data import SequentialSampler

from hf_otw import OTWeightedTrainingArguments
from hf_otw.cli.processes import leave_processes
from hf_otw.config.options import WEIGHTINGS
from hf_otw.data.index import EXAMPLE_INDEX
from hf_otw.features.memory import FeatureMemory
from hf_otw.trainer import OTWeightedTrainer
from hf_otw.weighting import reweighter
from tests.toys import (
    collate,
    history,
    host_args,
    mislabelled,
    model,
    parameters,
    plain_args,
    toy_dataset,
)

ROWS = (21, 13, 8)  # 42: no batch divides it
STEPS = 9


class Float32Memory(FeatureMemory):
    """In bfloat16 the last bit of a sum taken in another order can become one part in 256."""

    def __init__(self, *positional: Any, **keywords: Any) -> None:
        super().__init__(*positional, **keywords)
        self.features = self.features.to(self.dtype)


class GridTrainer(OTWeightedTrainer):
    """Keeps the rows and the loss of every micro-step."""

    def __init__(self, *positional: Any, **keywords: Any) -> None:
        super().__init__(*positional, **keywords)
        self.seen: list[list[int]] = []
        self.losses: list[float] = []

    def training_step(self, model: Any, inputs: Any, *more: Any, **keywords: Any) -> torch.Tensor:
        self.seen.append(inputs[EXAMPLE_INDEX].tolist())
        loss = super().training_step(model, inputs, *more, **keywords)
        self.losses.append(loss.item())
        return loss


def train(case: dict[str, Any], processes: int, order: list[int] | None) -> dict[str, Any]:
    settings = {
        "max_steps": STEPS,
        "optim": "sgd",  # Adam makes a whole step of a gradient that is zero up to rounding (a key's bias)
        "learning_rate": 0.1,
        "train_sampling_strategy": "sequential",
        "weight_refresh_steps": 2,
        "max_grad_norm": 1e9,  # no clipping: it would hide a gradient that is twice too long
        **case["arguments"],
    }
    if settings["weighting"] == "column":
        del settings["weight_refresh_steps"]
    kwargs = settings.get("weighting_kwargs", {})
    takes_reg = any(argument.name == "reg" for argument in WEIGHTINGS[settings["weighting"]].arguments)
    if takes_reg and "target_ess" not in kwargs:
        settings["weighting_kwargs"] = {"reg": 1.0, **kwargs}  # small ones multiply rounding
    data = mislabelled(toy_dataset(ROWS, length=5)).add_column("weight", [1 + i % 3 for i in range(sum(ROWS))])
    net = model().to(getattr(torch, case["dtype"]))
    args = OTWeightedTrainingArguments(
        **host_args(
            Path("unused"),
            **plain_args(**settings),
            per_device_train_batch_size=case["batch"] // (processes if order is None else 1),
        )
    )
    trainer = GridTrainer(
        model=net,
        args=args,
        train_dataset=data,
        meta_dataset=toy_dataset((3, 3, 3), seed=9, length=5),
        eval_dataset=toy_dataset((8, 4, 4), seed=3, length=5),
        data_collator=collate,
    )
    assert trainer.args.world_size == processes, trainer.args.world_size
    if order is not None:
        # Past the setter, which takes rows for a new training set and numbers them anew.
        trainer._train_dataset = trainer._train_dataset.select(order)
    assert isinstance(trainer._get_train_sampler(), SequentialSampler)
    trainer.train()
    state = trainer._session.reweighter.state_dict()
    return {
        "world_size": dist.get_world_size() if dist.is_initialized() else 1,
        "parameters": parameters(trainer),
        "dtype": next(net.parameters()).dtype,
        "log": history(trainer),
        "seen": trainer.seen,
        "losses": trainer.losses,
        "state": state,
        "weights": trainer.example_weights,
        "eval_loss": trainer.evaluate()["eval_loss"],
    }


def replayed(folder: Path, name: str, processes: int, steps: int) -> list[int]:
    """Rows of one epoch in the order in which `processes` processes trained on them together."""
    ranks = [torch.load(folder / f"{name}-{rank}.pt")["seen"] for rank in range(processes)]
    return [row for step in range(steps) for seen in ranks for row in seen[step]]


def main(out: Path, cases: list[dict[str, Any]], replay: Path | None) -> None:
    reweighter.FeatureMemory = Float32Memory
    processes, rank = int(os.environ["WORLD_SIZE"]), int(os.environ["RANK"])
    for case in cases:
        order = None
        if replay is not None:
            epoch = -(-sum(ROWS) // case["batch"])
            order = replayed(replay, case["name"], case["replay_of"], epoch)
        torch.save(train(case, processes, order), out / f"{case['name']}-{rank}.pt")
    leave_processes(together=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
