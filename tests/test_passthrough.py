"""`weighting="none"` is the stock Trainer, bit for bit; and weights never disturb the random streams of training."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from hf_otw import OTWeightedTrainer
from tests.toys import Forwards, collate, history, host_args, model, parameters, toy_args, toy_dataset, toy_trainer

SETTINGS = {
    "max_steps": 7,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "eval_strategy": "steps",
    "eval_steps": 3,
    "lr_scheduler_type": "linear",
    "weight_decay": 0.1,
}


def random_state():
    return torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002


def run(kind, tmp_path, architecture, **extra):
    net = model(architecture, dropout=0.1)
    spy = Forwards(net)
    args = TrainingArguments(**host_args(tmp_path, **SETTINGS)) if kind is Trainer else None
    args = args or toy_args(tmp_path, **({"weighting": "none"} | SETTINGS | extra))
    data = toy_dataset()
    # Positional, as many scripts do.
    trainer = kind(net, args, collate, data, data.select(range(10)))
    batch = sorted(next(iter(trainer.get_train_dataloader())))
    trainer.train()
    found = {
        "random": random_state(),
        "parameters": parameters(trainer),
        "log": history(trainer),
        "callbacks": [type(c) for c in trainer.callback_handler.callbacks],
        "forwards": spy.calls,
        "batch": batch,
        "columns": trainer.train_dataset.column_names,
        "collator": trainer.data_collator,
    }
    found["prediction"] = trainer.predict(data.select(range(5))).predictions
    return found


@pytest.mark.parametrize("architecture", ["bert", "llama"])
def test_none_is_the_stock_trainer_bit_for_bit(tmp_path, architecture):
    """Parameters, log, random states, callbacks, forward passes, columns, collator and predictions, with dropout and
    accumulation. Kills: a corrected scale, a draw from a global generator, an added callback, a wrapped data set.
    """
    stock, ours = run(Trainer, tmp_path, architecture), run(OTWeightedTrainer, tmp_path, architecture)
    for name in ("log", "callbacks", "forwards", "batch", "columns", "collator"):
        assert ours[name] == stock[name], name
    assert len(ours["log"]) >= 9
    torch.testing.assert_close(ours["parameters"], stock["parameters"], rtol=0, atol=0)
    torch.testing.assert_close(ours["random"][0], stock["random"][0], rtol=0, atol=0)
    np.testing.assert_array_equal(ours["random"][1], stock["random"][1])
    assert ours["random"][2] == stock["random"][2]
    np.testing.assert_array_equal(ours["prediction"], stock["prediction"])


def test_uniform_differs_where_the_stock_trainer_is_wrong(tmp_path):
    """The comparison above can fail: `uniform` divides by the examples, the stock Trainer (5.23) does not."""
    stock = run(Trainer, tmp_path, "bert")
    ours = run(OTWeightedTrainer, tmp_path, "bert", weighting="uniform")
    assert ours["log"] != stock["log"]
    # Yet the random numbers drawn are the same.
    torch.testing.assert_close(ours["random"][0], stock["random"][0], rtol=0, atol=0)


def test_solving_draws_nothing_from_the_global_random_state(tmp_path):
    """Same sampler, same dropout masks, whatever is solved: meta forward passes run without dropout and with their own
    generator. The number of rows is that of a run without a meta split.
    """

    def state(**kw):
        net = model(dropout=0.1)
        data = toy_dataset((12, 12, 12), length=5)
        trainer = toy_trainer(tmp_path, net=net, data=data, trainer_meta_dataset=toy_dataset((3, 3, 3), seed=9), **kw)
        trainer.train()
        return random_state()

    plain = state(weighting="uniform")
    for kw in ({"weighting": "closed_form", "weight_refresh_steps": 1}, {"weighting": "net", "weight_scope": "batch"}):
        torch.testing.assert_close(state(**kw)[0], plain[0], rtol=0, atol=0)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(state(weighting="uniform", max_steps=5)[0], plain[0], rtol=0, atol=0)


def test_none_refuses_to_answer_for_weights(tmp_path):
    trainer = toy_trainer(tmp_path, weighting="none")
    with pytest.raises(RuntimeError, match="weighting='none'"):
        _ = trainer.training_data
    with pytest.raises(RuntimeError, match="training has not started"):
        _ = trainer.example_weights


def test_none_takes_a_loss_function_and_callbacks(tmp_path):
    """What a weighted trainer must refuse, or does not own, stays the host's."""
    seen = []

    class Spy(TrainerCallback):
        def on_step_end(self, args, state, control, **kw):
            seen.append(state.global_step)

    def loss(outputs, labels, num_items_in_batch=None):
        return 0 * outputs["logits"].sum() + 7

    trainer = toy_trainer(tmp_path, weighting="none", trainer_compute_loss_func=loss, trainer_callbacks=[Spy()])
    trainer.train()
    assert trainer.state.log_history[0]["loss"] == 7
    assert seen == [1, 2, 3, 4]
