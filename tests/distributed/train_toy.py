"""Trains one toy run and writes what it became: `torchrun tests/distributed/train_toy.py OUT PROCESSES JSON`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from hf_otw import reweighter
from hf_otw.memory import FeatureMemory
from tests.toys import history, model, parameters, toy_dataset, toy_trainer


class Float32Memory(FeatureMemory):
    """In bfloat16 the last bit of a sum taken in another order can become one part in 256."""

    def __init__(self, num_examples: int, feature_dim: int, device: torch.device) -> None:
        super().__init__(num_examples, feature_dim, device)
        self.features = self.features.float()


def main(out: Path, processes: int, settings: dict) -> None:
    reweighter.FeatureMemory = Float32Memory
    data = toy_dataset((24, 12, 12), length=5).add_column("weight", [1 + i % 3 for i in range(48)])
    trainer = toy_trainer(
        out,
        net=model(),
        data=data,
        trainer_meta_dataset=toy_dataset((3, 3, 3), seed=9, length=5),
        trainer_eval_dataset=toy_dataset((8, 4, 4), seed=3, length=5),
        max_steps=8,
        optim="sgd",  # Adam makes a whole step of a gradient that is zero up to rounding (a key's bias)
        learning_rate=0.1,
        reg=1.0,  # small ones multiply rounding
        train_sampling_strategy="sequential",
        per_device_train_batch_size=8 // processes,
        per_device_eval_batch_size=16 // processes,
        **settings,
    )
    assert trainer.args.world_size == processes, trainer.args.world_size
    trainer.train()
    found = {"world_size": dist.get_world_size() if dist.is_initialized() else 1}
    found |= {"parameters": parameters(trainer), "log": history(trainer)}
    found["state"] = trainer._session.reweighter.state_dict()
    found["eval_loss"] = trainer.evaluate()["eval_loss"]
    torch.save(found, out / f"rank-{trainer.args.process_index}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]))
