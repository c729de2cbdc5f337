"""Scripts whose loss is not the library's, and the meta term, in two processes."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from accelerate import debug_launcher

from hf_otw import OTWeightedTrainer
from tests.host_programs import losses, models
from tests.host_programs.script import BATCH, Script, assert_equal_gradients, known_weights

pytestmark = [pytest.mark.distributed, pytest.mark.slow]
SCRIPTS = losses.SCRIPTS | models.SCRIPTS


def train(script, file, batch):
    script = dataclasses.replace(script, args={**script.args, "per_device_train_batch_size": batch})
    trainer, gradient = script.weighted(known_weights(40))
    assert trainer.args.world_size == BATCH // batch
    if trainer.is_world_process_zero():
        torch.save(gradient, file)


@pytest.mark.parametrize("name", ["focal loss that pops the labels", "focal loss in forward", "compute_loss_func"])
def test_the_gradient_of_two_processes_is_that_of_one(tmp_path, name):
    """Kills: a weight of the other process's row, a mean that is divided once too often."""
    script = SCRIPTS[name]
    debug_launcher(train, (script, tmp_path / "two", BATCH // 2), num_processes=2)
    train(script, tmp_path / "one", BATCH)
    one, two = torch.load(tmp_path / "one"), torch.load(tmp_path / "two")
    assert_equal_gradients(two, one, what="two processes", tolerance=2e-6)


def train_reentrant():
    kwargs = {"activation_checkpointing": True, "activation_checkpointing_kwargs": {"use_reentrant": True}}
    args = {**kwargs, "per_device_train_batch_size": 4, "max_steps": 4, "meta_loss_coefficient": 0.5}
    trainer = Script().trainer(OTWeightedTrainer, args=args)
    assert trainer.args.world_size == 2
    trainer.train()
    mine = torch.cat([p.detach().flatten() for p in trainer.model.parameters()])
    assert torch.equal(*trainer.accelerator.gather(mine[None]))


def test_reentrant_checkpointing_with_a_meta_term():
    """Kills: a second forward pass before the first backward pass, which such checkpointing forbids."""
    debug_launcher(train_reentrant, num_processes=2)
