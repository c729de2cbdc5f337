"""What `OTWeightedTrainer` owes its host: columns, meta split, evaluation, best model, tags, searches."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import TrainingArguments

from hf_otw import OTWeightedTrainer
from hf_otw.data.index import EXAMPLE_INDEX
from tests.toys import Forwards, collate, host_args, logged, model, parameters, toy_dataset, toy_trainer


class Rows(torch.utils.data.Dataset):
    """A map-style data set of dictionaries that is no `datasets.Dataset`."""

    def __init__(self, data):
        self.data = data

    def __len__(self):
        return len(self.data)

    def __getitem__(self, i):
        return self.data[i]


def transformed():
    data = toy_dataset()
    data.set_transform(lambda rows: {**rows, "attention_mask": [[1] * len(ids) for ids in rows["input_ids"]]})
    return data


def open_collate(items):
    """Keeps what it does not know, as `DataCollatorWithPadding` does."""
    extra = {name: torch.tensor([item[name] for item in items]) for name in items[0] if name == EXAMPLE_INDEX}
    return collate(items) | extra


SOURCES = {
    "datasets": toy_dataset,
    "torch": lambda: Rows(toy_dataset()),
    "transform": transformed,
    "torch_format": lambda: toy_dataset().with_format("torch", columns=["input_ids", "attention_mask", "label"]),
}


@pytest.mark.parametrize("remove", [True, False])
@pytest.mark.parametrize("collator", [collate, open_collate])
@pytest.mark.parametrize("source", SOURCES)
def test_the_row_number_reaches_the_loss_and_never_the_model(tmp_path, source, collator, remove):
    """In training, evaluation and prediction, the latter two on the indexed training set itself. Heads take **kwargs:
    a missed pop would be silent.
    """
    net = model()
    spy = Forwards(net)
    data = SOURCES[source]()
    trainer = toy_trainer(
        tmp_path,
        net=net,
        data=data,
        remove_unused_columns=remove,
        trainer_data_collator=collator,
        trainer_meta_dataset=toy_dataset((2, 2, 2), seed=9),
        max_steps=6,
        meta_loss_coefficient=0.1,
        meta_batch_size=3,
    )
    trainer.train()
    trainer.evaluate(trainer.train_dataset)
    trainer.predict(trainer.train_dataset)
    assert spy.names == {"input_ids", "attention_mask"}
    assert {training for training, _ in spy.calls} == {True, False}
    # An epoch has shown every row, and each landed in its own place of the memory.
    memory = trainer._session.reweighter.memory
    assert memory.written.all()
    assert len(torch.unique(memory.features, dim=0)) > 40


def test_without_labels_the_row_number_is_taken_out_too(tmp_path):
    """The Trainer then calls the model itself, past `compute_loss`."""
    net = model()
    spy = Forwards(net)
    trainer = toy_trainer(tmp_path, net=net)
    trainer.predict(trainer.train_dataset.remove_columns("label"))
    assert spy.names == {"input_ids", "attention_mask"}


def test_the_meta_split(tmp_path):
    """Disjoint, balanced, seeded, never trained on."""
    splits = {}
    for seed in (1, 1, 2):
        trainer = toy_trainer(tmp_path, data_seed=seed, meta_examples_per_class=3)
        data = trainer.training_data
        splits.setdefault(seed, []).append(data.meta_rows.tolist())
        assert sorted([*data.meta_rows, *data.train_rows]) == list(range(48))
        assert data.meta.classes.bincount().tolist() == [3, 3, 3]
        assert data.class_counts == [25, 11, 3]
        assert [data.labels[i] for i in data.meta_rows] == data.meta.classes.tolist()
    assert splits[1][0] == splits[1][1]
    assert splits[1][0] != splits[2][0]
    trainer.args.max_steps = 6
    trainer.train()
    memory = trainer._session.reweighter.memory
    assert memory.written[data.train_rows].all()
    assert not memory.written[data.meta_rows].any()
    assert (trainer.example_weights[data.meta_rows] == 1).all()


def test_a_short_class_gives_half_with_a_warning(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="hf_otw.data.split"):
        trainer = toy_trainer(tmp_path, meta_examples_per_class=5)
    assert trainer.training_data.meta.classes.bincount().tolist() == [5, 5, 3]
    assert "fewer than 5 examples of 1 classes (LABEL_2: 3)" in caplog.text


def test_the_split_avoids_texts_that_occur_elsewhere(tmp_path):
    """A meta example must not be in training twice, nor in the evaluation set."""
    data = toy_dataset((30, 8, 8))
    labels = np.array(data["label"])
    own = np.flatnonzero(labels == 1)
    evaluation = data.select(own[:5]).remove_columns("attention_mask")
    trainer = toy_trainer(tmp_path, data=data, meta_examples_per_class=3, trainer_eval_dataset=evaluation)
    chosen = set(trainer.training_data.meta_rows.tolist())
    assert chosen.isdisjoint(own[:5].tolist())
    assert chosen >= set(own[5:].tolist())


def test_a_given_meta_set_leaves_all_rows_in_training(tmp_path):
    meta = toy_dataset((3, 4, 5), seed=9)
    trainer = toy_trainer(tmp_path, trainer_meta_dataset=meta)
    data = trainer.training_data
    assert len(data.train_rows) == len(trainer.train_dataset) == 48
    assert len(data.meta_rows) == 0
    assert data.meta.classes.tolist() == meta["label"]


def hand_computed_loss(net, data):
    batch = collate(list(data))
    with torch.no_grad():
        return F.cross_entropy(net.eval()(batch["input_ids"], batch["attention_mask"]).logits, batch["labels"]).item()


@pytest.mark.parametrize("kw", [{"weighting": "closed_form", "weight_refresh_steps": 1}, {"example_loss": "focal"}])
def test_evaluation_is_the_plain_mean_and_leaves_weights_alone(tmp_path, kw):
    """Kills: a weighted, adjusted or focal evaluation loss; a solve or a memory write in evaluation."""
    evaluation = toy_dataset((7, 5, 4), seed=4)
    trainer = toy_trainer(tmp_path, trainer_eval_dataset=evaluation, per_device_eval_batch_size=8, **kw)
    trainer.train()
    before = trainer._session.reweighter.state_dict()
    before = {name: value.clone() for name, value in before.items()}
    found = trainer.evaluate()["eval_loss"]
    assert found == pytest.approx(hand_computed_loss(trainer.model, evaluation), rel=1e-5)
    torch.testing.assert_close(trainer._session.reweighter.state_dict(), before, rtol=0, atol=0, equal_nan=True)
    assert not any("otw" in name for name in trainer.state.log_history[-1])


def test_evaluation_does_not_change_training(tmp_path):
    """The same run with and without an evaluation after every step."""
    runs = [
        toy_trainer(
            tmp_path,
            net=model(dropout=0.1),
            weight_refresh_steps=2,
            trainer_eval_dataset=toy_dataset((4, 4, 4), seed=4),
            **kw,
        )
        for kw in ({}, {"eval_strategy": "steps", "eval_steps": 1, "eval_on_start": True})
    ]
    for trainer in runs:
        trainer.train()
    # The Trainer's own evaluation draws a seed for its loader, so that the dropout masks differ: compare the weights'
    # first solve, which precedes every update.
    assert logged(runs[1], "eval_loss")
    assert logged(runs[0], "otw/ess")[0] == logged(runs[1], "otw/ess")[0]
    assert len(logged(runs[1], "eval_loss")) == 5


def test_best_model_at_the_end(tmp_path):
    evaluation = toy_dataset((6, 6, 6), seed=4)
    trainer = toy_trainer(
        tmp_path,
        trainer_eval_dataset=evaluation,
        eval_strategy="steps",
        eval_steps=2,
        save_strategy="steps",
        save_steps=2,
        max_steps=6,
        learning_rate=0.05,
        load_best_model_at_end=True,
    )
    trainer.train()
    best = min(logged(trainer, "eval_loss"))
    assert trainer.evaluate()["eval_loss"] == pytest.approx(best, rel=1e-5)
    assert trainer.state.best_metric == pytest.approx(best)


def test_metrics_and_predictions(tmp_path):
    data = toy_dataset((4, 4, 4), seed=4)
    trainer = toy_trainer(
        tmp_path,
        trainer_eval_dataset=data,
        trainer_compute_metrics=lambda p: {"accuracy": (p.predictions.argmax(1) == p.label_ids).mean()},
    )
    trainer.train()
    found = trainer.predict(data)
    assert found.predictions.shape == (12, 3)
    assert found.label_ids.tolist() == data["label"]
    assert 0 <= trainer.evaluate()["eval_accuracy"] <= 1
    assert trainer.predict(data.remove_columns("label")).predictions.shape == (12, 3)


def test_a_model_that_returns_a_tuple(tmp_path):
    net = model()
    net.config.return_dict = False
    trainer = toy_trainer(tmp_path, net=net, trainer_eval_dataset=toy_dataset((4, 4, 4), seed=4))
    trainer.train()
    assert trainer.predict(toy_dataset((2, 2, 2))).predictions.shape == (6, 3)
    assert trainer.evaluate()["eval_loss"] > 0


def test_a_model_without_labels_in_its_forward(tmp_path):
    """The loss is ours, so that any module from inputs to logits will do, in evaluation too."""

    class Bag(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = torch.nn.Embedding(50, 16), torch.nn.Linear(16, 3)

        def forward(self, input_ids, attention_mask):
            return self.head((self.embed(input_ids) * attention_mask[:, :, None]).sum(dim=1))

    evaluation = toy_dataset((4, 4, 4), seed=4)
    trainer = toy_trainer(tmp_path, net=Bag(), trainer_eval_dataset=evaluation)
    trainer.train()
    batch = collate(list(evaluation))
    with torch.no_grad():
        logits = trainer.model.eval()(batch["input_ids"], batch["attention_mask"])
    assert trainer.evaluate()["eval_loss"] == pytest.approx(F.cross_entropy(logits, batch["labels"]).item(), rel=1e-5)
    assert trainer.weights_result.weights.std() > 0
    np.testing.assert_allclose(trainer.predict(evaluation).predictions, logits, rtol=1e-5, atol=1e-6)


def test_tags(tmp_path):
    trainer = toy_trainer(tmp_path)
    assert {"hf_otw", "optimal-transport", "imbalanced-classification"} <= set(trainer.model.model_tags)
    assert not toy_trainer(tmp_path, weighting="none").model.model_tags


def test_model_init(tmp_path):
    """A new model for every training, and the hook on the one that is trained: the features are those of its head."""
    trainer = OTWeightedTrainer(
        args=toy_trainer(tmp_path).args,
        data_collator=collate,
        train_dataset=toy_dataset(),
        model_init=lambda: model(),
    )
    first = trainer.model
    trainer.train()
    assert trainer.model is not first
    ours = parameters(trainer)
    assert len(trainer.model.classifier._forward_pre_hooks) == 0
    assert trainer.weights_result.weights.std() > 0
    assert "hf_otw" in trainer.model.model_tags
    trainer.train()
    torch.testing.assert_close(parameters(trainer), ours, rtol=0, atol=0)


def test_a_plain_evaluation_needs_no_training(tmp_path):
    data = toy_dataset((4, 4, 4), seed=4)
    trainer = OTWeightedTrainer(model(), TrainingArguments(**host_args(tmp_path)), collate, None, data)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(hand_computed_loss(model(), data), rel=1e-5)


def test_weights_are_refused_before_training(tmp_path):
    trainer = toy_trainer(tmp_path)
    for name in ("weights_result", "example_weights"):
        with pytest.raises(RuntimeError, match=r"training has not started: call `train\(\)` first"):
            getattr(trainer, name)


def test_weighting_arguments_are_saved_with_a_checkpoint(tmp_path):
    toy_trainer(tmp_path, save_strategy="steps", save_steps=4, weighting_kwargs={"reg": 0.3}).train()
    args = torch.load(tmp_path / "checkpoint-4" / "training_args.bin", weights_only=False)
    assert (args.weighting_kwargs["reg"], args.weighting) == (0.3, "closed_form")
