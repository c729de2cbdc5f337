"""Trains one toy run, replicated or with its parameters sharded, and writes what it became.

`torchrun --nproc_per_node W tests/distributed/train_fsdp.py OUT JSON`
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import DistributedType
from torch.distributed.tensor import DTensor

from hf_otw import OTWeightedTrainer
from hf_otw.cli.processes import leave_processes
from tests.toys import collate, history, model, toy_args, toy_dataset

FSDP2 = {
    "fsdp": True,
    "fsdp_config": {
        "version": 2,
        "transformer_layer_cls_to_wrap": ["BertLayer"],
        "reshard_after_forward": True,
        "state_dict_type": "FULL_STATE_DICT",
    },
}


def full(value: torch.Tensor) -> torch.Tensor:
    return value.full_tensor() if isinstance(value, DTensor) else value


def main(out: Path, settings: dict[str, Any]) -> None:
    sharded, resume = settings.pop("sharded"), settings.pop("resume", None)
    if sharded and settings.pop("checkpointing", False):
        FSDP2["fsdp_config"]["activation_checkpointing"] = True
    args = toy_args(
        out,
        max_steps=6,
        optim="sgd",  # Adam makes a whole step of a gradient that is zero up to rounding (a key's bias)
        optim_args="momentum=0.5",  # torch loads no sharded optimizer without a state
        learning_rate=0.05,
        weighting_kwargs={"reg": 1.0},
        per_device_train_batch_size=4,
        train_sampling_strategy="sequential",
        weight_refresh_steps=2,
        meta_loss_coefficient=0.1,
        **(FSDP2 if sharded else {}),
        **settings,
    )
    if sharded:  # accelerate shards on accelerators only: let it take the CPUs for such
        PartialState().distributed_type = DistributedType.MULTI_GPU
    trainer = OTWeightedTrainer(
        model=model(),
        args=args,
        train_dataset=toy_dataset((21, 13, 8), length=5),
        meta_dataset=toy_dataset((3, 3, 3), seed=9, length=5),
        eval_dataset=toy_dataset((8, 4, 4), seed=3, length=5),
        data_collator=collate,
    )
    assert dist.get_world_size() == 2
    trainer.train(resume_from_checkpoint=resume)
    assert all(isinstance(p.data, DTensor) for p in trainer.model.parameters()) == sharded
    found = {
        "parameters": {
            name.replace("_checkpoint_wrapped_module.", ""): full(p.detach()).clone()
            for name, p in trainer.model.named_parameters()
        },
        "log": history(trainer),
        "weights": trainer.example_weights,
        "eval_loss": trainer.evaluate()["eval_loss"],
    }
    torch.save(found, out / f"rank-{args.process_index}.pt")
    leave_processes(together=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
