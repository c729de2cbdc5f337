"""How each task reads labels: classes, label vectors, units; which task is chosen; what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, List
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    BertConfig,
    BertForMultipleChoice,
    BertForPreTraining,
    BertForQuestionAnswering,
    DetrConfig,
    Wav2Vec2Config,
    Wav2Vec2ForCTC,
)

from hf_otw.data.training import TrainingData
from hf_otw.tasks import (
    TASKS,
    CausalLM,
    LabelSource,
    MaskedLM,
    MultiLabel,
    Regression,
    Seq2SeqLM,
    SingleLabel,
    Tokens,
    TokenSequences,
    find_task,
)
from hf_otw.tasks.base import SMALLEST_CLASS, join_rare
from hf_otw.tasks.choose import _infer
from hf_otw.tasks.regression import bin_edges
from hf_otw.transport.costs import LabelCost, label_agreement, label_distance
from hf_otw.types import Measure
from tests.task_toys import BERT, CASES, task_model
from tests.toys import model, toy_dataset, toy_trainer

EXPECTED = {
    "multi_label": MultiLabel,
    "regression": Regression,
    "sequences": TokenSequences,
    "tokens": Tokens,
    "causal_lm": CausalLM,
    "masked_lm": MaskedLM,
    "seq2seq_lm": Seq2SeqLM,
}


def source(group_column=None, bins=4):
    return LabelSource(("labels", "label"), None, group_column, bins)


@pytest.mark.parametrize("name", CASES)
def test_the_task_is_found(tmp_path, name):
    given = CASES[name].args
    found = find_task(
        task_model(name), CASES[name].data(), ["labels"], weight_per_token=given.get("weight_per_token", False)
    )
    assert type(found) is EXPECTED[name]


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        ([0, 2, 1], SingleLabel),
        ([0.5, 1.0, 2.0], Regression),
        ([[1.0, 0.0]] * 3, MultiLabel),
        ([[1, 0]] * 3, MultiLabel),
    ]
    + [([[0.5, 2.0]] * 3, MultiLabel)],  # as the host: floats of any value in several columns are soft targets
)
def test_without_a_model_class_the_labels_tell(labels, task):
    """As transformers' own heads do. Kills: numbers taken for classes."""
    assert _infer(torch.nn.Linear(2, 2), Dataset.from_dict({"labels": labels}), ["labels"]) is task


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (BertForQuestionAnswering, "positions in the input"),
        (BertForMultipleChoice, "positions in the input"),
        (BertForPreTraining, "sums several losses"),
    ],
)
def test_tasks_without_a_weight_are_refused(tmp_path, kind, reason):
    net = kind(BertConfig(**BERT))
    with pytest.raises(ValueError, match=f"got {kind.__name__}: .*{reason}.*weighting='none'"):
        toy_trainer(tmp_path, net=net)
    toy_trainer(tmp_path, net=net, weighting="none")


def test_ctc_and_detection_are_refused(tmp_path):
    tiny = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    conv = {"conv_dim": (16,), "conv_stride": (4,), "conv_kernel": (4,), "num_conv_pos_embedding_groups": 2}
    net = Wav2Vec2ForCTC(Wav2Vec2Config(**tiny, **conv, num_feat_extract_layers=1, vocab_size=8))
    with pytest.raises(ValueError, match="Wav2Vec2ForCTC: its loss sums over all alignments"):
        toy_trainer(tmp_path, net=net)

    class DetrForObjectDetection(torch.nn.Module):
        config = DetrConfig

    with pytest.raises(ValueError, match="DetrForObjectDetection: its loss matches a set of objects"):
        _infer(DetrForObjectDetection(), None, ["labels"])


def test_arguments_that_do_not_fit_the_task(tmp_path):
    data = toy_dataset()
    cases = [
        ({"weight_per_token": True}, "token classification model for `weight_per_token`.*'single_label'"),
        ({"group_column": "label"}, "no group_column for the task 'single_label'"),
        ({"example_loss": "squared_error"}, "example_loss for the task 'single_label'.*cross_entropy"),
        ({"task": "single"}, "task.*single_label"),
        (
            {"feature_module": ["classifier"], "cost_kwargs": {"block_weights": [0.5, 0.5]}},
            "a number in .*block_weights.* for each",
        ),
        ({"feature_module": ["classifier"], "weighting": "uniform"}, "no feature_module with weighting='uniform'"),
        ({"label_bins": 0}, "1 <= label_bins"),
    ]
    for kw, message in cases:
        with pytest.raises(ValueError, match=message):
            toy_trainer(tmp_path, data=data, **kw)


def test_label_smoothing_is_refused_where_there_is_none(tmp_path):
    case = CASES["regression"]
    with pytest.raises(ValueError, match="label_smoothing_factor=0 for the task 'regression'"):
        toy_trainer(
            tmp_path,
            net=task_model("regression"),
            data=case.data(),
            trainer_data_collator=case.collate,
            example_loss=None,
            label_smoothing_factor=0.1,
        )


def test_language_models_need_groups(tmp_path):
    case = CASES["causal_lm"]
    build = {"net": task_model("causal_lm"), "trainer_data_collator": case.collate, "example_loss": None}
    with pytest.raises(ValueError, match="`group_column` for language modelling"):
        toy_trainer(tmp_path, data=case.data(), **build)
    with pytest.raises(ValueError, match=r"the column 'domain' \(`group_column`\), got .*'group'"):
        toy_trainer(tmp_path, data=case.data(), group_column="domain", **build)


def test_groups_are_sorted_names_and_unknown_ones_are_refused():
    reader = CausalLM().fit(Dataset.from_dict({"g": ["b", "a", "b"]}), source("g"))
    assert reader.class_names == ["a", "b"]
    assert reader.read(Dataset.from_dict({"g": ["b", "a"]}), "meta").classes.tolist() == [1, 0]
    with pytest.raises(ValueError, match="groups of meta to occur in train_dataset, but \\['c'\\]"):
        reader.read(Dataset.from_dict({"g": ["c"]}), "meta")


def test_group_column_replaces_bins_and_does_not_reach_the_model(tmp_path):
    """A column of strings, which the collator could not make tensors of, with `remove_unused_columns` both ways."""
    found, case = [], CASES["regression"]

    def with_site(items):
        return case.collate(items) | ({"site": 0} if "site" in items[0] else {})

    for remove in (True, False):
        data = case.data().add_column("site", ["x", "y", "z"] * 12)
        trainer = toy_trainer(
            tmp_path,
            net=task_model("regression"),
            data=data,
            trainer_data_collator=with_site,
            example_loss=None,
            group_column="site",
            remove_unused_columns=remove,
        )
        trainer.train()
        assert trainer.training_data.class_names == ["x", "y", "z"]
        found.append(trainer.example_weights)
    torch.testing.assert_close(*found, rtol=0, atol=0)


def test_an_example_counts_to_its_rarest_label():
    y = [[1.0, 1, 0], [1, 0, 0], [0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0]]
    reader = MultiLabel().fit(Dataset.from_dict({"labels": y}), source())
    labels = reader.read(Dataset.from_dict({"labels": y}), "train")
    names = [reader.class_names[k] for k in labels.classes]
    assert names == ["1", "0", "2", "0", "(no label)", "1"]
    # Uniform distributions of half the mass: their L1 distance is the total variation.
    torch.testing.assert_close(labels.vectors.sum(dim=1), torch.full((6,), 0.5, dtype=torch.float64))
    measure = Measure(torch.zeros(6, 1).double(), labels.classes, torch.ones(6) / 6, labels.vectors)
    distance = label_distance(measure, measure)
    assert distance[0, 1] == 0.5  # one of two shared
    assert distance[1, 2] == 1  # disjoint
    assert distance[4, 1] == 1  # no label is a label of its own
    assert distance[0, 5] == 0
    torch.testing.assert_close(label_agreement(measure, measure), 1 - distance)


def test_multi_hot_of_one_member_is_a_class():
    """The label cost of sets agrees with that of classes. Kills: another scale."""
    y = torch.tensor([0, 2, 1, 2])
    sets = torch.nn.functional.one_hot(y).double()
    features, mass = torch.zeros(4, 1).double(), torch.ones(4) / 4
    plain, vectors = Measure(features, y, mass), Measure(features, y, mass, sets / 2)
    torch.testing.assert_close(LabelCost(0.7)(vectors, vectors), LabelCost(0.7)(plain, plain))


def test_multi_hot_errors():
    with pytest.raises(ValueError, match="vector of K numbers from 0 to 1"):
        MultiLabel().fit(Dataset.from_dict({"labels": [[0.5, float("nan")]]}), source())


def test_class_names_of_sets_come_from_the_features():
    features = Features({"labels": List(ClassLabel(names=["x", "y"]))})
    data = Dataset.from_dict({"labels": [[0, 1], [1, 0]]}, features=features)
    assert MultiLabel().fit(data, source()).class_names == ["x", "y"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=60), st.integers(1, 12))
def test_bins_hold_enough_and_ascend(values, bins):
    y = torch.tensor(values, dtype=torch.float64)
    edges = bin_edges(y, bins)
    assert len(edges) < bins
    counts = torch.bincount(torch.bucketize(y, edges, right=True), minlength=len(edges) + 1)
    assert counts.sum() == len(values)
    assert len(edges) == 0 or counts.min() >= SMALLEST_CLASS
    assert (edges.diff() > 0).all()


def test_regression_vectors_have_mean_distance_one():
    """Against the double loop. Kills: a scale by the range, or by the standard deviation."""
    y = np.random.default_rng(0).exponential(size=40)
    reader = Regression().fit(Dataset.from_dict({"labels": y}), source())
    v = reader.read(Dataset.from_dict({"labels": y}), "train").vectors[:, 0].numpy()
    pairs = [abs(v[i] - v[j]) for i in range(40) for j in range(40) if i != j]
    assert np.mean(pairs) == pytest.approx(1, rel=1e-9)
    assert reader.class_names[0].startswith("below")
    # The meta set is cut at the edges of the training set.
    assert reader.read(Dataset.from_dict({"labels": [y.min(), y.max()]}), "m").classes.tolist() == [
        0,
        len(reader.class_names) - 1,
    ]


def test_several_numbers_an_example():
    y = np.random.default_rng(0).normal(size=(40, 2))
    reader = Regression().fit(Dataset.from_dict({"labels": y.tolist()}), source())
    assert reader.read(Dataset.from_dict({"labels": y.tolist()}), "train").vectors.shape == (40, 2)
    with pytest.raises(ValueError, match="finite numbers in column 'labels'"):
        Regression().fit(Dataset.from_dict({"labels": [1.0, float("nan")]}), source())


def test_units_of_tokens():
    """Numbers of the tokens of any rows, and back. Kills: offsets that forget the rows before."""
    counts = torch.tensor([2, 1, 3, 2])
    none = np.arange(0)
    data = TrainingData(None, None, torch.zeros(8), None, counts, np.arange(4), none, None, none, ["a"], 1, None, None)
    assert data.units_of(torch.tensor([2, 0])).tolist() == [3, 4, 5, 0, 1]
    assert data.examples_of(torch.tensor([7, 3, 5])).tolist() == [2, 3]
    assert data.train_units.tolist() == list(range(8))


def test_token_labels_are_checked(tmp_path):
    reader = Tokens().fit(Dataset.from_dict({"labels": [[0, -100, 1], [2]]}), source())
    labels = reader.read(Dataset.from_dict({"labels": [[0, -100, 1], [2]]}), "train")
    assert labels.classes.tolist() == [0, 1, 2]
    assert labels.counts.tolist() == [2, 1]
    ignored = Dataset.from_dict({"labels": [[-100], [1]]})
    assert Tokens().fit(ignored, source()).read(ignored, "train_dataset").counts.tolist() == [0, 1]
    flat = Dataset.from_dict({"labels": [1, 2]})
    with pytest.raises(ValueError, match="a list of integer labels per example"):
        Tokens().fit(flat, source())


@pytest.mark.parametrize("weighting", ["closed_form", "clean_posterior"])
@pytest.mark.parametrize("warmup", [0, 2])
def test_a_collator_that_truncates_tokens_is_named(tmp_path, weighting, warmup):
    """In a training step and in a pass before the solve. Kills: a check only where features are kept."""
    case = CASES["tokens"]

    def truncating(items):
        return {name: values[:, :4] for name, values in case.collate(items).items()}

    trainer = toy_trainer(
        tmp_path,
        net=task_model("tokens"),
        data=case.data(),
        trainer_data_collator=truncating,
        weight_per_token=True,
        weighting=weighting,
        weight_warmup=warmup,
    )
    with pytest.raises(ValueError, match="labelled tokens that train_dataset has for this batch.*Truncate in"):
        trainer.train()


def test_a_task_of_ones_own(tmp_path):
    """A strategy is an object: here every class is learned from the loss of the first only."""

    class Halved(SingleLabel):
        name = "halved"

        def unit_losses(self, example_loss, logits, labels, class_prior):
            return super().unit_losses(example_loss, logits, labels, class_prior) / 2

    losses = []
    for task in (SingleLabel(), Halved()):
        trainer = toy_trainer(tmp_path, net=model(), trainer_task=task, weighting="uniform", max_steps=1)
        trainer.train()
        losses.append(trainer.state.log_history[0]["loss"])
    assert losses[0] == pytest.approx(2 * losses[1])


def test_every_named_task_is_an_argument():
    from hf_otw.config.options import TASKS as NAMES

    assert set(NAMES) == set(TASKS)


def test_classes_too_small_to_split_join_the_largest():
    """One sentence without a capital must not stop a training."""
    number, kept = join_rare(torch.tensor([0] * 5 + [1] + [2] * 9 + [3] * 4), 5)
    assert kept == [0, 2, 3]
    assert number.tolist() == [0, 1, 1, 2, 1]
