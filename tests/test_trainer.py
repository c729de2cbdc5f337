"""`OTWeightedTrainer` as a user meets it: weights, schedule, meta set, evaluation, logs, objects of one's own."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from transformers import TrainingArguments

from hf_otw import OTWeightedTrainer
from hf_otw.config.options import WEIGHTINGS
from hf_otw.types import Measure, Weights
from hf_otw.weighting import WeightModel
from hf_otw.weighting.statistics import class_totals
from tests.toys import collate, history, host_args, logged, mislabelled, model, parameters, toy_dataset, toy_trainer


def test_drop_in(tmp_path):
    """A plain TrainingArguments: the default preset; the result is a trained model with weights."""
    data = toy_dataset((60, 40, 30))
    before = {name: p.clone() for name, p in model().named_parameters()}
    trainer = OTWeightedTrainer(
        model=model(), args=TrainingArguments(**host_args(tmp_path)), data_collator=collate, train_dataset=data
    )
    trainer.train()
    assert trainer.weighting_args.preset == "default"
    assert {len(trainer.training_data.meta), len(trainer.training_data.train_rows)} == {30, 100}
    after = parameters(trainer)
    still = [name for name in after if torch.equal(after[name], before[name])]
    assert still == []
    assert trainer.weights_result.weights.mean() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("scope", ["dataset", "batch"])
@pytest.mark.parametrize("weighting", [w for w in WEIGHTINGS if w != "none"])
def test_every_weighting_in_every_scope(tmp_path, weighting, scope):
    """But for `clean_posterior`, which learns its cost from the whole training set and says so. Kills: a weighting
    that leaves its weights at 1, or loses their scale.
    """
    data = mislabelled(toy_dataset()).add_column("weight", [1 + i % 3 for i in range(48)])
    if (weighting, scope) == ("clean_posterior", "batch"):
        with pytest.raises(ValueError, match="Expected weight_scope='dataset' with weighting='clean_posterior'"):
            toy_trainer(tmp_path, data=data, weighting=weighting, weight_scope=scope)
        return
    if not WEIGHTINGS[weighting].needs_transport and scope == "batch":
        with pytest.raises(ValueError, match="no weight_scope with weighting"):
            toy_trainer(tmp_path, data=data, weighting=weighting, weight_scope=scope)
        return
    meta = toy_dataset((3, 3, 3), seed=9)  # whose labels are right
    given = {"weight_scope": scope} if WEIGHTINGS[weighting].needs_transport else {}
    trainer = toy_trainer(tmp_path, data=data, trainer_meta_dataset=meta, weighting=weighting, max_steps=2, **given)
    trainer.train()
    rows = torch.as_tensor(trainer.training_data.train_rows)
    weights = trainer.example_weights[rows]
    assert torch.isfinite(weights).all()
    assert (weights >= 0).all()
    # Batch scope: two batches of 8, each with mean 1, and ones where no batch has been.
    assert weights.mean() == pytest.approx(1, abs=1e-4)
    assert (weights.std() > 1e-4) == (weighting != "uniform")
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())


def test_weights_by_row_of_the_data_set_as_given(tmp_path):
    """Row numbers survive the meta split, shuffling and a change of order. Kills: the position in the subset."""
    data = toy_dataset().add_column("weight", [float(i + 1) for i in range(48)])
    trainer = toy_trainer(tmp_path, data=data, weighting="column", max_steps=2)
    trainer.train()
    torch.testing.assert_close(trainer.example_weights, torch.arange(1, 49) / 24.5)
    result = trainer.weights_result
    assert result.ess == pytest.approx((48 * 49 / 2) ** 2 / sum(i * i for i in range(1, 49)), rel=1e-5)
    labels = torch.tensor(data["label"])
    torch.testing.assert_close(result.class_totals, class_totals(torch.arange(1.0, 49.0), labels, 3))
    trainer.example_weights.zero_()  # a copy
    assert trainer.example_weights.sum() == pytest.approx(48)


class Spy(WeightModel):
    """Weights that count the solves, proportional to label + 1."""

    def __init__(self):
        super().__init__()
        self.register_buffer("solves", torch.zeros((), dtype=torch.long))
        self.seen: list[tuple[torch.Tensor, Measure, Measure]] = []

    def forward(self, index, source, target, cost):
        self.solves += 1
        self.seen.append((index, source, target))
        assert cost(source, target).shape == (len(index), len(target.labels))
        weights = source.labels + 1.0
        one = torch.ones(())
        return Weights(weights / weights.mean(), one * self.solves, one, one * 0)


def test_a_weight_model_of_ones_own(tmp_path):
    spy = Spy()
    trainer = toy_trainer(tmp_path, trainer_weighting=spy, weight_warmup=2, weight_refresh_steps=3, max_steps=9)
    trainer.train()
    assert int(spy.solves) == 3  # at steps 2, 5 and 8
    data = trainer.training_data
    for index, source, target in spy.seen:
        assert index.tolist() == data.train_rows.tolist()
        assert source.labels.tolist() == data.labels[data.train_rows].tolist()
        assert target.labels.tolist() == [0, 1, 2]
    torch.testing.assert_close(trainer.weights_result.class_totals, torch.tensor([26 * 1, 12 * 2, 4 * 3]) / 62)


def test_warm_up_and_refresh(tmp_path):
    """Objective = number of the solve. Weights are 1 in the warm-up. Kills: a solve one step early or late."""
    trainer = toy_trainer(tmp_path, trainer_weighting=Spy(), weight_warmup=2, weight_refresh_steps=3, max_steps=9)
    trainer.train()
    rows = [row for row in trainer.state.log_history if "loss" in row]
    assert [row.get("otw/objective") for row in rows] == [None, None, 1, 1, 1, 2, 2, 2, 3]
    assert [row["otw/weight_max"] for row in rows[:2]] == [1, 1]
    assert [row["otw/ess"] for row in rows[:2]] == [42, 42]
    assert [rows[i]["otw/weight_max"] for i in (2, 5, 8)] == pytest.approx([3 * 42 / 62] * 3, rel=1e-5)


@pytest.mark.parametrize(("two_stages", "first"), [(False, 0), (True, 3)])
def test_the_warm_up_is_of_uniform_weights(tmp_path, two_stages, first):
    """Its loss is that of uniform weights; the meta term is there from the first step, or from the second stage on.

    Kills: weights before the first solve, a meta term that waits for them, or one in the paper's first stage.
    """
    meta = {"meta_loss_coefficient": 5.0, "meta_batch_size": 3, "trainer_meta_dataset": toy_dataset((3, 3, 3), seed=9)}
    plain = toy_trainer(tmp_path, weighting="uniform", max_steps=5, **({} if two_stages else meta))
    kw = {"weight_warmup": 3, "max_steps": 5, "head_only_after_warmup": two_stages, **meta}
    ours = toy_trainer(tmp_path, weighting="closed_form", **kw)
    plain.train()
    ours.train()
    found, expected = logged(ours, "loss"), logged(plain, "loss")
    torch.testing.assert_close(found[:3], expected[:3], rtol=1e-5, atol=1e-6)
    without = toy_trainer(tmp_path, weighting="uniform", max_steps=5)
    without.train()
    gap = [a - b for a, b in zip(found, logged(without, "loss"), strict=True)]
    assert all(g < 1e-4 for g in gap[:first])
    assert all(g > 1 for g in gap[first : first + 1])


@pytest.mark.parametrize(
    ("size", "find", "batches"),
    [(4, False, {5, 4}), (None, False, {5, 8}), (4, True, {5, 4}), (7, True, {5}), (None, True, {5})],
)
def test_size_of_a_meta_batch(tmp_path, size, find, batches):
    """As given, or the preset's 8; where the host looks for a batch size that fits, no more than a batch.

    Kills: a size that is ignored, or that is taken for another one.
    """
    trainer = toy_trainer(
        tmp_path,
        weighting="uniform",
        max_steps=2,
        per_device_train_batch_size=5,
        meta_loss_coefficient=1.0,
        meta_batch_size=size,
        auto_find_batch_size=find,
        trainer_meta_dataset=toy_dataset((3, 3, 3), seed=9),
    )
    seen = set()
    trainer.model.register_forward_pre_hook(lambda _, args, kw: seen.add(len(kw["input_ids"])), with_kwargs=True)
    trainer.train()
    assert seen == batches


@pytest.mark.parametrize(("warmup", "max_steps", "first"), [(0.5, 8, 4), (3, 8, 3), (0.0, 8, 0), (0.99, 8, 8)])
def test_warm_up_as_a_fraction(tmp_path, warmup, max_steps, first):
    trainer = toy_trainer(tmp_path, weight_warmup=warmup, max_steps=max_steps)
    trainer.train()
    assert trainer._session.reweighter.schedule.warmup_steps == first
    solved = [row["step"] for row in trainer.state.log_history if "otw/objective" in row]
    assert solved[:1] == ([first + 1] if first < max_steps else [])


def test_the_head_alone_after_the_warm_up(tmp_path):
    """The body is bit-equal from the start of the stage on, although Adam has momentum and decay; the head moves."""
    common = {"head_only_after_warmup": True, "weight_decay": 0.1, "meta_loss_coefficient": 0.5, "meta_batch_size": 3}
    runs = {}
    for steps in (3, 7):
        trainer = toy_trainer(tmp_path, weight_warmup=3, max_steps=steps, **common)
        trainer.train()
        runs[steps] = parameters(trainer)
    moved = {name for name in runs[3] if not torch.equal(runs[3][name], runs[7][name])}
    assert moved == {"classifier.weight", "classifier.bias"}
    start = dict(model().named_parameters())
    assert all(not torch.equal(start[name], p) for name, p in runs[3].items())


def test_the_prior_of_logit_adjustment_is_the_learned_one(tmp_path):
    """In the warm-up the class counts, then the share of the total weight. Kills: counts for ever."""
    seen = []

    def example_loss(logits, labels, class_prior):
        seen.append(class_prior.clone())
        return F.cross_entropy(logits, labels, reduction="none")

    trainer = toy_trainer(tmp_path, trainer_weighting=Spy(), trainer_example_loss=example_loss, weight_warmup=2)
    trainer.train()
    counts = torch.tensor([26.0, 12.0, 4.0])
    torch.testing.assert_close(seen[1], counts / 42)
    torch.testing.assert_close(seen[2], torch.tensor([26.0, 24.0, 12.0]) / 62)
    assert len(seen) == 4


@pytest.mark.parametrize("example_loss", ["logit_adjusted", "focal"])
def test_named_example_losses_reach_the_loss(tmp_path, example_loss):
    kw = {"weighting": "uniform", "max_steps": 1, "train_sampling_strategy": "sequential"}
    trainer = toy_trainer(tmp_path, example_loss=example_loss, **kw)
    data = toy_dataset()
    batch = collate([data[i] for i in range(8)])
    logits = model()(batch["input_ids"], batch["attention_mask"]).logits.detach()
    if example_loss == "logit_adjusted":
        expected = F.cross_entropy(logits + torch.tensor([28.0, 14.0, 6.0]).div(48).log(), batch["labels"])
    else:
        p = logits.softmax(dim=1)[torch.arange(8), batch["labels"]]
        expected = ((1 - p) ** 2 * -p.log()).mean()
    trainer.train()
    assert logged(trainer, "loss")[0] == pytest.approx(expected.item(), rel=1e-5)


def test_a_cost_of_ones_own(tmp_path):
    """Rows of class 0 are free, all others dear: nearly all free mass goes to class 0."""

    def cost(source, target):
        return (source.labels[:, None] != 0).float().expand(len(source.labels), len(target.labels)).clone()

    trainer = toy_trainer(tmp_path, trainer_cost=cost, weighting="closed_form", max_steps=2)
    trainer.train()
    assert trainer.weights_result.class_totals[0] > 0.99


def test_the_gradient_of_the_meta_term(tmp_path):
    """One SGD step with learning rate 1: mean cross-entropy of the batch plus coefficient times that of the meta set,
    both by hand.
    """
    data, meta = toy_dataset(length=5).select(range(8)), toy_dataset((2, 2, 2), seed=9, length=5)
    data = data.map(lambda row, i: {"label": i % 3}, with_indices=True)
    trainer = toy_trainer(
        tmp_path,
        data=data,
        trainer_meta_dataset=meta,
        weighting="uniform",
        meta_loss_coefficient=0.5,
        max_steps=1,
        optim="sgd",
        learning_rate=1.0,
        max_grad_norm=0.0,
    )
    trainer.train()
    net = model()
    losses = []
    for rows in (data, meta):
        batch = collate(list(rows))
        losses.append(F.cross_entropy(net(batch["input_ids"], batch["attention_mask"]).logits, batch["labels"]))
    (losses[0] + 0.5 * losses[1]).backward()
    for name, p in net.named_parameters():
        torch.testing.assert_close(trainer.model.get_parameter(name), p - p.grad, rtol=1e-4, atol=1e-5)
    assert logged(trainer, "loss")[0] == pytest.approx((losses[0] + 0.5 * losses[1]).item(), rel=1e-5)


def test_meta_draws_depend_on_seed_step_and_micro_step_alone(tmp_path):
    trainer = toy_trainer(tmp_path, meta_examples_per_class=3)
    meta = trainer.training_data.meta

    def draw(seed=1, step=2, micro_step=0, size=4):
        items = meta.sample(size, seed=seed, step=step, micro_step=micro_step)
        return [tuple(item["input_ids"]) for item in items], [item["label"] for item in items]

    assert draw() == draw()
    torch.manual_seed(5)
    assert draw() == draw()
    others = [draw(seed=2), draw(step=3), draw(micro_step=1)]
    assert all(other != draw() for other in others)
    assert sorted(draw(size=6)[1]) == [0, 0, 1, 1, 2, 2]
    assert len(draw(size=100)[0]) == 9


def test_logs_are_means_over_the_window(tmp_path):
    """Steps 1 and 2 before the first solve, 3 and 4 after it. Kills: the last value instead of the mean, a sum that is
    never reset.
    """
    trainer = toy_trainer(
        tmp_path,
        trainer_weighting=Spy(),
        weight_warmup=3,
        max_steps=8,
        logging_steps=4,
        gradient_accumulation_steps=2,
        per_device_train_batch_size=4,
        weight_refresh_steps=100,
    )
    trainer.train()
    first, second = (row for row in trainer.state.log_history if "loss" in row)
    heavy = 3 * 42 / 62
    assert first["otw/weight_max"] == pytest.approx((3 * 1 + heavy) / 4, rel=1e-5)
    assert second["otw/weight_max"] == pytest.approx(heavy, rel=1e-5)
    assert {"otw/ess", "otw/converged", "otw/milliseconds", "otw/class_total/LABEL_2"} <= set(second)
    assert sum(v for k, v in second.items() if "class_total" in k) == pytest.approx(1)


def test_class_names_in_the_logs(tmp_path):
    net = model()
    net.config.id2label = {0: "fine", 1: "torn", 2: "lost"}
    trainer = toy_trainer(tmp_path, net=net, max_steps=1)
    trainer.train()
    assert "otw/class_total/torn" in history(trainer)[0]
