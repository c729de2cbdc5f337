"""Every task keeps the promises of single-label classification: uniform weights give the model's own loss, a zero
weight removes, the cut of a step does not matter, a resumed run is exact.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import Trainer, TrainingArguments

from tests.task_toys import CASES, ROWS, task_model
from tests.toys import PLAIN, history, host_args, logged, parameters, toy_trainer

DEFAULT = dict.fromkeys((*PLAIN, "weighting"))
TRANSPORT = DEFAULT | {"weight_warmup": 2, "weight_refresh_steps": 2, "meta_examples_per_class": 1}


def build(name, tmp_path, **kw):
    case = CASES[name]
    net = kw.pop("net", None)
    return toy_trainer(
        tmp_path,
        net=task_model(name) if net is None else net,
        data=kw.pop("data", None) or case.data(),
        trainer_data_collator=case.collate,
        **({"example_loss": None} | case.args | kw),
    )


def some_batch(name, rows=6):
    case = CASES[name]
    data = case.data()
    keep = [c for c in data.column_names if c != "group"]
    return case.collate([data.select_columns(keep)[i] for i in range(rows)])


@pytest.mark.parametrize("name", CASES)
def test_uniform_is_the_models_own_loss(tmp_path, name):
    """One step at a time: loss, gradient norm and parameters of the stock Trainer. Kills: a mean of sequence means, a
    label that is not shifted, a divisor that counts padding.
    """
    case = CASES[name]
    ours = build(name, tmp_path, weighting="uniform")
    ours.train()
    stock = Trainer(
        task_model(name),
        TrainingArguments(**host_args(tmp_path)),
        case.collate,
        case.data().remove_columns([c for c in ("group",) if c in case.data().column_names]),
    )
    stock.train()
    for key in ("loss", "grad_norm"):
        torch.testing.assert_close(logged(ours, key), logged(stock, key), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(parameters(ours), parameters(stock), rtol=1e-4, atol=1e-5)
    assert min(logged(ours, "loss")) > 0.01


@pytest.mark.parametrize("name", CASES)
def test_the_evaluation_loss_is_the_models_own(tmp_path, name):
    case = CASES[name]
    data = case.data().select(range(12, 24))
    ours = build(name, tmp_path, trainer_eval_dataset=data)
    stock = Trainer(
        task_model(name), TrainingArguments(**host_args(tmp_path)), case.collate, eval_dataset=ours.eval_dataset
    )
    if "group" in data.column_names:
        stock.eval_dataset = data.remove_columns("group")
    assert ours.evaluate()["eval_loss"] == pytest.approx(stock.evaluate()["eval_loss"], rel=1e-5)
    assert ours.predict(data).predictions is not None


@pytest.mark.parametrize("name", CASES)
def test_a_zero_weight_removes(tmp_path, name):
    """The gradient of a batch with weights 1 and 0 is that of its first rows alone, over the same divisor."""
    weights = np.zeros(ROWS)
    weights[:3] = 1
    data = CASES[name].data().add_column("weight", weights)
    trainer = build(name, tmp_path, net=task_model(name, dtype=torch.float64), data=data, weighting="column")
    trainer._prepare_for_training(4, trainer.get_train_dataloader(), None)
    trainer.model.train()
    batch = some_batch(name) | {"example_index": torch.arange(6)}
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    found = {n: p.grad.clone() for n, p in trainer.model.named_parameters() if p.grad is not None}

    trainer.model.zero_grad()
    few = {k: v[:3] for k, v in some_batch(name).items()}
    outputs = trainer.model(**few)
    task = trainer._task
    share = task.num_items(few["labels"]) / task.num_items(some_batch(name)["labels"])
    scaled = outputs.loss * share
    scaled.backward()
    # The column of weights has mean 1 over the training set. Tolerances: the models' own losses are in float32.
    scale = trainer.example_weights[0].item()
    torch.testing.assert_close(loss, scaled * scale, rtol=1e-5, atol=1e-7, check_dtype=False)
    for n, gradient in found.items():
        torch.testing.assert_close(gradient, trainer.model.get_parameter(n).grad * scale, rtol=1e-4, atol=1e-6)
    assert scaled > 0.01


@pytest.mark.parametrize("name", CASES)
def test_every_cut_of_a_step_is_the_same(tmp_path, name):
    """8 x 1, 4 x 2 and 2 x 4 with uneven sequences. Kills: dividing each micro-batch by its own tokens."""
    runs = []
    for batch, steps in ((8, 1), (4, 2), (2, 4)):
        trainer = build(
            name,
            tmp_path,
            weighting="uniform",
            meta_loss_coefficient=0.3,
            meta_batch_size=100,
            meta_examples_per_class=1,
            train_sampling_strategy="sequential",
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=steps,
        )
        trainer.train()
        runs.append(trainer)
    for other in runs[1:]:
        for key in ("loss", "grad_norm"):
            torch.testing.assert_close(logged(other, key), logged(runs[0], key), rtol=2e-4, atol=2e-5)
    assert max(logged(runs[0], "loss")) - min(logged(runs[0], "loss")) > 1e-3


@pytest.mark.parametrize("name", CASES)
def test_the_default_learns_weights(tmp_path, name):
    """The preset as it is for the task, dataset scope, after a warm-up: once where labels are judged, else every
    epoch. Kills: the schedule of one weighting for the other.
    """
    trainer = build(name, tmp_path, max_steps=8, **(TRANSPORT | {"weight_refresh_steps": None}))
    trainer.train()
    assert trainer.settings.weighting == ("clean_posterior" if name == "tokens" else "closed_form")
    epoch = -(-len(trainer.training_data.train_rows) // 8)
    assert trainer._session.reweighter.solved_at == (2 if name == "tokens" else 2 + epoch)
    weights = trainer.weights_result.weights
    units = len(trainer.training_data.train_units)
    assert weights.shape == (units,)
    assert torch.isfinite(weights).all()
    assert weights.min() >= 0
    assert weights.mean() == pytest.approx(1, abs=1e-4)
    assert weights.std() > 1e-3
    assert trainer.weights_result.class_totals.sum() == pytest.approx(1, abs=1e-5)
    assert len(trainer.training_data.class_names) == trainer.training_data.num_classes > 1


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("scope", ["batch", "paper", "missing rows"])
def test_other_ways_to_solve(tmp_path, name, scope):
    """Per batch, the paper's preset, and rows that the memory must encode before the first solve."""
    kw = {
        "batch": {"weight_scope": "batch", "weighting": "agreement"},
        "paper": {"preset": "paper", "weight_warmup": 1},
        "missing rows": {"weight_warmup": 0},
    }[scope]
    trainer = build(name, tmp_path, **(TRANSPORT | kw))
    trainer.train()
    assert torch.isfinite(trainer.example_weights).all()
    assert trainer.example_weights.std() > 1e-4


@pytest.mark.parametrize("name", CASES)
def test_resume_is_exact(tmp_path, name):
    def one(folder, **kw):
        settings = TRANSPORT | {"max_steps": 8, "save_strategy": "steps", "save_steps": 3, "meta_batch_size": 4}
        return build(name, folder, net=task_model(name, dropout=0.1), **(settings | kw))

    straight = one(tmp_path)
    straight.train()
    resumed = one(tmp_path / "resumed", seed=42)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    torch.testing.assert_close(parameters(resumed), parameters(straight), rtol=0, atol=0)
    torch.testing.assert_close(resumed.example_weights, straight.example_weights, rtol=0, atol=0)
    assert history(resumed, after=3)[:-1] == history(straight, after=3)[:-1]
