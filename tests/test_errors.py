"""What cannot be weighted is refused with what was expected, what came and what to do, before a parameter has
moved.
"""

from __future__ import annotations

import logging
import re

import datasets
import numpy as np
import pytest
import torch
from torch import nn
from transformers import TrainingArguments

from hf_otw import OTWeightedTrainer, OTWeightedTrainingArguments
from hf_otw.data.overlap import remove_overlap
from hf_otw.losses import CrossEntropy
from hf_otw.tasks import SingleLabel
from hf_otw.transport.costs import FeatureCost
from hf_otw.weighting import Agreement, CleanPosterior
from tests.task_toys import CASES, task_model
from tests.toys import collate, host_args, model, parameters, toy_args, toy_dataset, toy_trainer


def with_labels(labels, name="label"):
    data = toy_dataset().remove_columns("label")
    return data.add_column(name, labels)


def with_weights(change):
    weights = np.ones(48)
    change(weights)
    return toy_dataset().add_column("weight", weights)


SCOPES = ("dataset", "batch")


def labels():
    return np.array(toy_dataset()["label"])


def tagged(*counts):
    return toy_dataset(counts, seed=7)


DATA_ERRORS = {
    "no label column": (
        {"data": with_labels(labels(), "klass")},
        r"train_dataset to have a label column \(labels or label.*'klass'.*rename_column",
    ),
    "labels as strings": ({"data": with_labels([str(k) for k in labels()])}, "one integer label per example"),
    "labels from 1": ({"data": with_labels(labels() + 1)}, r"labels 0\.\.2 in train_dataset .*got 1\.\.3"),
    "negative label": ({"data": with_labels(labels() - 1)}, r"got -1\.\.1"),
    "absent from the meta set": (
        {"trainer_meta_dataset": tagged(3, 3)},
        r"every class in the meta set, but 1 of 3 are absent \(LABEL_2\)",
    ),
    "meta labels out of range": ({"trainer_meta_dataset": tagged(2, 2, 2, 2)}, r"0\.\.2 in the meta set, got 0\.\.3"),
    "meta overlaps training": (
        {"trainer_meta_dataset": toy_dataset()},
        "disjoint from train_dataset, but 48 of 48 meta examples .*remove_overlap",
    ),
    "no weight column": ({"weighting": "column"}, "weights in a column 'weight', got the columns .*'input_ids'"),
    "another weight column": (
        {"weighting": "column", "weighting_kwargs": {"column": "w"}, "data": with_weights(lambda w: None)},
        "weights in a column 'w'",
    ),
    "negative weight": (
        {"weighting": "column", "data": with_weights(lambda w: w.__setitem__(0, -1))},
        "non-negative weights, got a minimum of -1",
    ),
    "NaN weight": (
        {"weighting": "column", "data": with_weights(lambda w: w.__setitem__(3, np.nan))},
        "finite weights, but 1 of 48 are NaN",
    ),
    "zero weights": (
        {"weighting": "column", "data": with_weights(lambda w: w.fill(0))},
        "at least one positive weight, but all 48 are zero",
    ),
    "batch of one": (
        {"weight_scope": "batch", "per_device_train_batch_size": 1},
        "at least 2 examples in a batch, got per_device_train_batch_size=1 with weight_scope='batch'",
    ),
    "feature module": ({"feature_module": "bert.nothing"}, "name a module .* got 'bert.nothing'.*'classifier'"),
}


@pytest.mark.parametrize("name", DATA_ERRORS)
def test_refused_by_the_constructor(tmp_path, name):
    settings, message = DATA_ERRORS[name]
    net = model()
    before = {n: p.clone() for n, p in net.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        toy_trainer(tmp_path, net=net, **settings)
    torch.testing.assert_close(net.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            datasets.DatasetDict(train=toy_dataset(), test=toy_dataset()),
            r"one data set, got a DatasetDict with the splits \['train', 'test'\].*dataset\['train'\]",
        ),
        (toy_dataset().to_iterable_dataset(), "length and stable row numbers, got the stream IterableDataset"),
    ],
)
def test_containers_and_streams(tmp_path, data, message):
    with pytest.raises(TypeError, match=message):
        toy_trainer(tmp_path, data=data)
    with pytest.raises(TypeError, match=message.replace("one data set", "meta_dataset to be one data set")):
        toy_trainer(tmp_path, trainer_meta_dataset=data)


def test_remove_overlap_repairs_what_the_message_says(tmp_path):
    train = toy_dataset()
    meta = train.select([int(np.flatnonzero(labels() == k)[j]) for k in range(3) for j in range(2)])
    with pytest.raises(ValueError, match="6 of 6 meta examples"):
        toy_trainer(tmp_path, data=train, trainer_meta_dataset=meta)
    trainer = toy_trainer(tmp_path, data=remove_overlap(train, meta), trainer_meta_dataset=meta)
    assert len(trainer.train_dataset) == 42
    trainer.train()
    assert trainer.state.global_step == 4


def test_data_parallel(tmp_path):
    args = toy_args(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(args), "n_gpu", property(lambda self: 2))
        with pytest.raises(ValueError, match=r"one process on 2 GPUs \(DataParallel\).*torchrun"):
            OTWeightedTrainer(model(), args, collate, toy_dataset())


class Headless(nn.Module):
    """Two classes come out of a bilinear form: no linear layer with K outputs."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.out = nn.Parameter(torch.randn(16, 3) / 4)

    def forward(self, input_ids, attention_mask, labels=None):
        return {"logits": self.embed(input_ids).mean(dim=1) @ self.out}


def test_no_recognisable_head(tmp_path):
    with pytest.raises(ValueError, match=r"Headless to have a linear head with 3 outputs.*feature_module='path"):
        toy_trainer(tmp_path, net=Headless())
    trainer = toy_trainer(tmp_path, net=Headless(), weighting="inverse_frequency")
    trainer.train()  # needs no feature
    assert trainer.state.global_step == 4


def spoil(net, value):
    with torch.no_grad():
        net.bert.pooler.dense.weight.fill_(value)
        net.bert.pooler.dense.bias.fill_(0 if value == 0 else 1)


@pytest.mark.parametrize("scope", SCOPES)
def test_features_that_are_not_finite(tmp_path, scope):
    """Raised at the first solve, before the first update."""
    net = model()
    spoil(net, float("nan"))
    trainer = toy_trainer(tmp_path, net=net, weight_scope=scope)
    before = parameters(trainer)
    with pytest.raises(ValueError, match="Expected finite features .*NaN"):
        trainer.train()
    torch.testing.assert_close(parameters(trainer), before, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("scope", SCOPES)
def test_features_that_are_all_equal(tmp_path, scope, caplog):
    """Stock finishes such a run. Kills: a run that ends, and weights that come from rounding noise."""
    net = model()
    spoil(net, 0.0)
    trainer = toy_trainer(tmp_path, net=net, weight_scope=scope)
    with caplog.at_level(logging.WARNING, logger="hf_otw"):
        trainer.train()
    assert "features that differ" in caplog.text
    assert (trainer.example_weights == 1).all()
    assert trainer.state.global_step == 4


SOLVED = [
    ("clean_posterior", "dataset"),  # refused in batch scope
    *((name, scope) for name in ("closed_form", "table", "agreement", "net") for scope in SCOPES),
]


@pytest.mark.parametrize(("weighting", "scope"), SOLVED)
def test_nan_features_without_standardisation(tmp_path, weighting, scope):
    """No scaler looks at them first, yet no NaN may become a weight: the loss would hide it (`logging_nan_inf_filter`)
    and the parameters would be lost.
    """
    net = model()
    spoil(net, float("nan"))
    trainer = toy_trainer(
        tmp_path, net=net, weighting=weighting, weight_scope=scope, standardize_features=False, max_steps=1
    )
    with pytest.raises(ValueError, match=r"finite"):
        trainer.train()


def test_raw_table_with_nan_features(tmp_path):
    net = model()
    spoil(net, float("nan"))
    args = toy_args(
        tmp_path,
        weighting="table",
        weighting_kwargs={"raw": True},
        weight_scope="batch",
        standardize_features=False,
    )
    with pytest.raises(ValueError, match="finite"):
        OTWeightedTrainer(net, args, collate, toy_dataset()).train()


ARGUMENT_ERRORS = [
    ({"weighting_kwargs": {"reg": 0.0}}, "0 < weighting_kwargs.'reg'.*got 0.0"),
    ({"weighting_kwargs": {"reg": -1.0}}, "reg.*got -1.0"),
    ({"preset": "defualt"}, "preset to be one of .*got 'defualt'.*Did you mean `default`"),
    ({"weight_scope": "epoch"}, "weight_scope to be one of 'dataset', 'batch', got 'epoch'"),
    ({"cost": "cosine"}, "cost to be one of .*got 'cosine'"),
    ({"target_mass": "uniform"}, "target_mass to be one of .*got 'uniform'"),
    ({"target_points": "prototype"}, "Did you mean `prototypes`"),
    ({"example_loss": "crossentropy"}, "Did you mean `cross_entropy`"),
    ({"weight_warmup": -1}, "0 <= weight_warmup, got -1"),
    ({"weight_refresh_steps": -1}, "0 <= weight_refresh_steps, got -1"),
    ({"meta_examples_per_class": 0}, "1 <= meta_examples_per_class"),
    ({"meta_loss_coefficient": -0.1}, "0 <= meta_loss_coefficient"),
    ({"meta_batch_size": 0}, "1 <= meta_batch_size"),
    ({"weighting": "table", "weighting_kwargs": {"steps": 0}}, "1 <= weighting_kwargs.'steps'"),
    ({"cost": "label", "cost_kwargs": {"label_weight": -1.0}}, "0 <= cost_kwargs.'label_weight'"),
    ({"encode_at_solve": True, "weighting": "inverse_frequency"}, "no encode_at_solve with weighting='inverse_freq"),
    ({"encode_at_solve": True, "weight_scope": "batch"}, "weight_scope='dataset' for encode_at_solve, got 'batch'"),
    ({"weighting": "clean_posterior", "cost": "feature"}, "no cost with weighting='clean_posterior'.*got 'feature'"),
    ({"weighting": "clean_posterior", "weight_scope": "batch"}, "weight_scope='dataset' with weighting='clean_post"),
]


def test_the_default_weighting_is_refused_what_it_does_not_use(tmp_path):
    """Whoever sets a reg and no weighting is told that the default has none; before a model has moved, as the task may
    choose another weighting. Kills: a refusal only of what is set beside a weighting by name.
    """
    cases = {"weighting_kwargs": {"reg": 0.1}, "cost": "feature", "weight_scope": "batch"}
    for name, value in cases.items():
        args = OTWeightedTrainingArguments(**host_args(tmp_path, **{name: value}))
        with pytest.raises(ValueError, match="'clean_posterior'"):
            OTWeightedTrainer(model(), args, collate, toy_dataset())


def test_a_cost_of_ones_own_beside_one_that_is_learned(tmp_path):
    """Kills: a cost object that is taken and never called, beside a named weighting or a weight model."""
    for kw in ({"weighting": "clean_posterior"}, {"trainer_weighting": CleanPosterior()}):
        with pytest.raises(ValueError, match=r"no cost of your own with .*, which learns one, got FeatureCost\("):
            toy_trainer(tmp_path, trainer_cost=FeatureCost(), **kw)
    with pytest.raises(ValueError, match=r"no cost of your own with weighting='uniform', which needs none"):
        toy_trainer(tmp_path, trainer_cost=FeatureCost(), weighting="uniform")
    toy_trainer(tmp_path, trainer_cost=FeatureCost(), trainer_weighting=Agreement())


@pytest.mark.parametrize(
    ("settings", "own", "message"),
    [
        ({"weighting": "uniform"}, {"weighting": Agreement()}, "one weighting, got weighting='uniform'.*Agreement"),
        ({"cost": "label", "weighting": "agreement"}, {"cost": FeatureCost()}, "one cost, got cost='label'"),
        ({"cost_kwargs": {"block_weights": [1.0]}}, {"cost": FeatureCost()}, "no cost_kwargs beside a cost object"),
        ({"example_loss": "focal"}, {"example_loss": CrossEntropy()}, "one example_loss, got example_loss='focal'"),
        ({"example_loss_kwargs": {"tau": 1.0}}, {"example_loss": CrossEntropy()}, "no example_loss_kwargs beside"),
        ({"task": "single_label"}, {"task": SingleLabel()}, "one task, got task='single_label'"),
        ({"weighting": "none"}, {"weighting": Agreement()}, "with weighting='none', the stock Trainer"),
    ],
)
def test_an_object_and_a_name_for_one_thing(tmp_path, settings, own, message):
    """Kills: a name in the arguments that an object overrides in silence."""
    args = OTWeightedTrainingArguments(**host_args(tmp_path, **settings))
    with pytest.raises(ValueError, match=message):
        OTWeightedTrainer(model(), args, collate, toy_dataset(), **own)


def test_more_classes_than_a_learned_cost_can_take_are_refused_at_once(tmp_path, monkeypatch):
    """Kills: a refusal at the first solve, after an epoch, or of a weighting that is given its cost."""
    monkeypatch.setattr("hf_otw.weighting.models.clean_posterior.MAX_CLASSES", 2)
    with pytest.raises(ValueError, match="at most 2 classes for weighting='clean_posterior'.*got 3.*agreement"):
        toy_trainer(tmp_path, weighting="clean_posterior")
    toy_trainer(tmp_path, weighting="agreement")


@pytest.mark.parametrize("name", ["multi_label", "regression"])
def test_labels_that_are_more_than_a_class_are_refused_at_once(tmp_path, name):
    """Kills: a refusal at the first solve, after an epoch."""
    case = CASES[name]
    with pytest.raises(ValueError, match="Expected one class per example for weighting='clean_posterior', got sets"):
        toy_trainer(
            tmp_path,
            net=task_model(name),
            data=case.data(),
            trainer_data_collator=case.collate,
            example_loss=None,
            weighting="clean_posterior",
            **case.args,
        )


@pytest.mark.parametrize(("settings", "message"), ARGUMENT_ERRORS)
def test_arguments(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        toy_args(tmp_path, **settings)


def test_every_range_message_has_a_remedy():
    """`Expected ..., got .... Do this.`: the house style; unknown names list the known ones."""
    for settings, _ in ARGUMENT_ERRORS:
        with pytest.raises(ValueError, match=r"Expected .*got") as error:
            toy_args("unused", **settings)
        assert re.search(r"got .*[.] [A-Z0-9].*[.]$|one of|Did you mean", str(error.value)), str(error.value)


def test_a_model_without_class_logits(tmp_path):
    class Sequence(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.classifier = nn.Embedding(50, 16), nn.Linear(16, 3)

        def forward(self, input_ids, attention_mask, labels=None):
            return {"logits": self.classifier(self.embed(input_ids))}

    trainer = toy_trainer(tmp_path, net=Sequence(), weighting="uniform")
    with pytest.raises(ValueError, match=r"logits of shape \(B, K\), got \['logits'\] with logits of shape \(8, "):
        trainer.train()


def test_a_plain_trainer_without_data(tmp_path):
    """Evaluation needs none; weights do, and say so."""
    args = TrainingArguments(**host_args(tmp_path))
    trainer = OTWeightedTrainer(model(), args, collate, eval_dataset=toy_dataset())
    assert trainer.evaluate()["eval_loss"] > 0
    with pytest.raises(RuntimeError, match="or no data"):
        _ = trainer.training_data
