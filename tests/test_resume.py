"""A run that was interrupted ends bit for bit where the uninterrupted one does."""

from __future__ import annotations

import json
import logging
import random
import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import Trainer, TrainingArguments

from hf_otw.checkpoint import HEADER, TENSORS
from tests.toys import (
    PLAIN,
    collate,
    history,
    host_args,
    mislabelled,
    model,
    parameters,
    toy_args,
    toy_dataset,
    toy_trainer,
)

# 42 rows are trained on, 8 a step: 6 steps an epoch, the last one uneven. Checkpoints after 3 and 9 lie in the middle.
SETTINGS = {
    "max_steps": 14,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "save_strategy": "steps",
    "save_steps": 3,
    "lr_scheduler_type": "linear",
    "weight_warmup": 5,
    "weight_refresh_steps": 3,
}
VARIANTS = {
    "default": {
        "weighting": "clean_posterior",
        "weight_refresh_steps": 0,
        "data": mislabelled(toy_dataset()),
        "trainer_meta_dataset": toy_dataset((3, 3, 3), seed=9),
    },
    "encoded": {"weighting": "agreement", "encode_at_solve": True},
    "closed_form": {"example_loss": "logit_adjusted"},
    "agreement": {"weighting": "agreement", "meta_loss_coefficient": 0.3, "meta_batch_size": 4},
    "batch_table": {"weighting": "table", "weight_scope": "batch"},
    "dataset_table": {"weighting": "table", "weighting_kwargs": {"objective": "kl"}, "target_points": "examples"},
    "net": {"weighting": "net", "standardize_features": False},
    "paper": dict.fromkeys((*PLAIN, "weighting"))
    | {"preset": "paper", "meta_examples_per_class": 2, "meta_batch_size": 4, "weighting_kwargs": {"reg": 0.1}},
    "column": {"weighting": "column", "weight_refresh_steps": None},
}


def build(tmp_path, *, data=None, **kw):
    data = (data or toy_dataset()).add_column("weight", [1 + i % 3 for i in range(48)])
    settings = SETTINGS | kw
    return toy_trainer(tmp_path, net=model(dropout=0.1), data=data, **settings)


@pytest.mark.parametrize("name", VARIANTS)
def test_resume_is_exact(tmp_path, name):
    """From the middle of the first epoch, before any solve, and of the second, after one and between two. With dropout
    and accumulation: kills a draw that depends on more than the step, and any state that a checkpoint lacks.
    """
    straight = build(tmp_path, **VARIANTS[name])
    straight.train()
    weights = straight.example_weights
    assert name == "column" or weights.std() > 1e-3, "weights that never moved prove nothing"
    for step in (3, 9):
        resumed = build(tmp_path / "resumed", **VARIANTS[name], seed=42)
        resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{step}"))
        torch.testing.assert_close(parameters(resumed), parameters(straight), rtol=0, atol=0)
        torch.testing.assert_close(resumed.example_weights, weights, rtol=0, atol=0)
        assert steps(resumed, after=step) == steps(straight, after=step)
        assert all("otw/ess" in row for row in steps(resumed, after=step))
        states = [trainer._session.reweighter.state_dict() for trainer in (resumed, straight)]
        torch.testing.assert_close(*states, rtol=0, atol=0, equal_nan=True)  # an objective that is undefined is NaN


def steps(trainer, after):
    """The last row holds the mean loss of all steps, which the stock Trainer does not restore: not ours to repair."""
    rows = [row for row in history(trainer, after) if "train_loss" not in row]
    assert len(rows) == 14 - after
    return rows


def test_a_lost_state_would_be_noticed(tmp_path, caplog):
    """The comparison above can fail: without our files the resumed run solves anew and ends elsewhere."""
    straight = build(tmp_path, **VARIANTS["dataset_table"])
    straight.train()
    for name in (HEADER, TENSORS):
        (tmp_path / "checkpoint-9" / name).unlink()
    resumed = build(tmp_path, **VARIANTS["dataset_table"])
    with caplog.at_level(logging.WARNING, logger="hf_otw"):
        resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-9"))
    assert "learned anew from its model" in caplog.text
    assert not torch.equal(resumed.example_weights, straight.example_weights)


def test_a_checkpoint_of_the_stock_trainer_warns_and_trains(tmp_path, caplog):
    args = host_args(tmp_path, **{k: v for k, v in SETTINGS.items() if not k.startswith("weight_")} | {"max_steps": 3})
    Trainer(model(), TrainingArguments(**args), collate, toy_dataset()).train()
    assert not (tmp_path / "checkpoint-3" / TENSORS).exists()
    trainer = build(tmp_path / "b")
    with caplog.at_level(logging.WARNING, logger="hf_otw"):
        trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert "learned anew" in caplog.text
    assert trainer.state.global_step == 14
    assert trainer.example_weights.std() > 0


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    build(folder, max_steps=6, weight_warmup=1).train()
    return folder / "checkpoint-6"


def damaged(checkpoint, tmp_path, name, change):
    folder = tmp_path / "checkpoint-6"
    shutil.copytree(checkpoint, folder)
    (folder / name).write_bytes(change((folder / name).read_bytes()))
    return str(folder)


def header(**changes):
    return lambda content: json.dumps(json.loads(content) | changes).encode()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (TENSORS, lambda content: content[: len(content) // 2], "Expected readable weights in .*Delete otw_state"),
        (TENSORS, lambda content: b"", "Expected readable weights"),
        (HEADER, lambda content: content[:10], "Expected readable weights"),
        (HEADER, header(version=99), "version = 2, got 99"),
        (HEADER, header(num_examples=7), "num_examples = 48, got 7"),
        (HEADER, header(labels_digest="0"), "labels_digest = '[0-9a-f]{16}', got '0'"),
        (HEADER, header(weight_model="Other"), "weight_model = 'ClosedForm', got 'Other'"),
    ],
)
def test_a_damaged_or_foreign_state_is_refused(checkpoint, tmp_path, name, change, message):
    folder = damaged(checkpoint, tmp_path, name, change)
    with pytest.raises(ValueError, match=message):
        build(tmp_path / "b").train(resume_from_checkpoint=folder)


def test_another_scope_is_refused(checkpoint, tmp_path):
    """Its state has no meaning here: the memory of the other run is missing."""
    batch = build(tmp_path, weight_scope="batch", max_steps=3, weight_warmup=1)
    batch.train()
    with pytest.raises(ValueError, match=r"same training set and weighting, but \['memory.features'"):
        build(tmp_path / "b").train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))


def test_another_training_set_is_refused(checkpoint, tmp_path):
    trainer = toy_trainer(tmp_path, data=toy_dataset(seed=5), **SETTINGS)
    with pytest.raises(ValueError, match="belong to another training set"):
        trainer.train(resume_from_checkpoint=str(checkpoint))


def test_changed_inputs_are_refused(checkpoint, tmp_path):
    """The labels are the same, and the rows in the same order: weights would land on other texts without an error.
    Kills: a fingerprint of labels alone. A transform that draws at random is no change.
    """
    data = toy_dataset()
    changed = data.map(lambda row, i: {"input_ids": [2 + i % 3, *row["input_ids"][1:]]}, with_indices=True)
    trainer = toy_trainer(tmp_path / "a", data=changed, **SETTINGS)
    with pytest.raises(ValueError, match="contents_digest = '[0-9a-f]{16}', got '[0-9a-f]{16}'"):
        trainer.train(resume_from_checkpoint=str(checkpoint))

    def shuffled(rows):
        return {**rows, "input_ids": [row[:1] + random.sample(row[1:], len(row) - 1) for row in rows["input_ids"]]}

    augmented = toy_trainer(tmp_path / "b", data=data.with_transform(shuffled), **(SETTINGS | {"max_steps": 7}))
    augmented.train(resume_from_checkpoint=str(checkpoint))
    assert augmented.state.global_step == 7


def test_what_a_checkpoint_holds(checkpoint):
    state = load_file(checkpoint / TENSORS)
    assert {"example_weights", "class_prior", "solved_at", "memory.features", "target.features"} <= set(state)
    assert state["example_weights"].shape == (48,)
    assert sorted(p.name for p in checkpoint.parent.iterdir()) == ["checkpoint-3", "checkpoint-6"]


def test_a_checkpoint_of_an_encoding_run_holds_no_memory(checkpoint, tmp_path):
    """Its features are computed again at each solve. Kills: a memory that is saved and never read, two bytes a number
    of the whole training set.
    """
    build(tmp_path, max_steps=6, weight_warmup=1, **VARIANTS["encoded"]).train()
    names, others = (set(load_file(folder / TENSORS)) for folder in (tmp_path / "checkpoint-6", checkpoint))
    assert others - names == {"memory.features", "memory.written"}
    sizes = [(folder / TENSORS).stat().st_size for folder in (tmp_path / "checkpoint-6", checkpoint)]
    assert sizes[1] - sizes[0] > 48 * 16 * 2


@pytest.mark.parametrize("kw", [{"save_only_model": True}, {"save_example_weights": False}])
def test_no_state_where_none_is_wanted(tmp_path, kw):
    """`save_only_model` promises a folder with a model and nothing else; weights of examples can be private."""
    build(tmp_path, max_steps=3, **kw).train()
    assert (tmp_path / "checkpoint-3" / "model.safetensors").exists()
    assert not list(tmp_path.rglob("otw_state*"))


def test_resume_by_flag_finds_the_last_checkpoint(tmp_path):
    build(tmp_path, max_steps=6).train()
    trainer = build(tmp_path, max_steps=7)
    trainer.train(resume_from_checkpoint=True)
    assert trainer.state.global_step == 7
    assert trainer._session.reweighter.solved_at == 5


def test_arguments_survive_the_round_trip(tmp_path):
    """`training_args.bin` pickles them, and a search builds them again from a dictionary."""
    args = toy_args(tmp_path, weighting_kwargs={"reg": 0.25})
    names = ("output_dir", "weighting_kwargs", "weighting", "cost")
    again = type(args)(**{name: value for name, value in args.to_dict().items() if name in names})
    assert (again.weighting_kwargs["reg"], again.weighting, again.cost) == (0.25, "closed_form", "feature")
