"""Row numbers through collators, labels through transforms, losses of the right shape: what is refused, and why."""

from __future__ import annotations

import logging

import datasets
import numpy as np
import pytest
import torch
from transformers import default_data_collator

from hf_otw.data.index import EXAMPLE_INDEX, IndexCollator, IndexedDataset
from hf_otw.data.items import ItemsView, label_columns, readable
from hf_otw.data.order import rows_by_content
from hf_otw.features.encoder import in_order
from hf_otw.features.head import HeadInput, head_candidates
from hf_otw.tasks.outputs import logits_of, with_loss
from hf_otw.tasks.packing import packed_lengths, unpack
from tests.toys import collate, toy_dataset, toy_trainer


def items(n=4):
    return [{"input_ids": [10 + i, 20 + i], "labels": i % 2, EXAMPLE_INDEX: 5 + i} for i in range(n)]


def test_a_key_that_a_collator_keeps_carries_the_row_numbers():
    """Kills: numbers in the order of the items where the collator has sorted, dropped or repeated them."""
    backwards = IndexCollator(lambda batch: default_data_collator(batch[::-1]))
    assert backwards(items())[EXAMPLE_INDEX].tolist() == [8, 7, 6, 5]
    halved = IndexCollator(lambda batch: default_data_collator(batch[1:3]))
    assert halved(items())[EXAMPLE_INDEX].tolist() == [6, 7]


def test_a_number_among_the_features_is_kept_out_of_them():
    """Kills: a row number as one more feature, for a collator that makes a matrix of all numbers."""

    def tabular(batch):
        names = [name for name in batch[0] if name != "labels"]
        rows = [[float(item[name]) for name in names] for item in batch]
        return {"x": torch.tensor(rows), "labels": torch.tensor([item["labels"] for item in batch])}

    rows = [{"a": 1.0 * i, "b": 2.0, "labels": 0, EXAMPLE_INDEX: i} for i in range(3)]
    batch = IndexCollator(tabular)(rows)
    assert batch["x"].shape == (3, 2)
    assert batch[EXAMPLE_INDEX].tolist() == [0, 1, 2]


def test_rows_are_recognised_by_content(caplog):
    """Where a collator keeps the keys that it knows. Kills: the order of the items."""

    def sorts(batch):
        batch = sorted(batch, key=lambda item: -item["input_ids"][0])
        return {name: torch.tensor([item[name] for item in batch]) for name in ("input_ids", "labels")}

    collator = IndexCollator(sorts)
    with caplog.at_level(logging.WARNING, logger="hf_otw.data.index"):
        assert collator(items())[EXAMPLE_INDEX].tolist() == [8, 7, 6, 5]
    assert "recognised by content" in caplog.text
    assert collator(items(2))[EXAMPLE_INDEX].tolist() == [6, 5]


def test_rows_by_content_allows_for_padding_and_gives_up_on_others():
    pad = lambda batch: collate(batch, side="left")  # noqa: E731
    rows = [{"input_ids": [1] * k, "attention_mask": [1] * k, "labels": 0} for k in (2, 4, 3)]
    assert rows_by_content(pad(rows), rows, pad) == [0, 1, 2]
    noisy = lambda batch: {"x": torch.rand(len(batch), 3)}  # noqa: E731
    assert rows_by_content(noisy(rows), rows, noisy) is None


def test_other_labels_than_those_of_the_training_set_are_refused():
    """Kills: labels that a transform or a collator makes anew, weighted by those that were read."""
    labels = torch.zeros(20, dtype=torch.long)
    with pytest.raises(ValueError, match=r"Expected the labels that train_dataset has.* 2 of 4 are others.*Let the"):
        IndexCollator(default_data_collator, labels=labels)(items())


def test_a_batch_is_fetched_in_one_call():
    class Fetches:
        calls = 0

        def __len__(self):
            return 9

        def __getitems__(self, rows):
            self.calls += 1
            return [{"x": row} for row in rows]

    base = Fetches()
    assert IndexedDataset(base, np.array([3, 8, 5])).__getitems__([2, 0]) == [
        {"x": 5, EXAMPLE_INDEX: 5},
        {"x": 3, EXAMPLE_INDEX: 3},
    ]
    assert base.calls == 1


def test_the_constructor_reads_each_item_once(tmp_path):
    """Kills: pictures that are decoded several times before training."""
    data = toy_dataset()

    class Counts(torch.utils.data.Dataset):
        reads = 0

        def __len__(self):
            return len(data)

        def __getitem__(self, row):
            self.reads += 1
            return data[row]

    counted = Counts()
    toy_trainer(tmp_path, data=counted)
    assert counted.reads <= len(data) + 10  # a few to see what the collator makes of them


def test_a_transform_decides_the_labels():
    """Kills: the stored column, where what is served differs; a view, where it does not."""
    data = datasets.Dataset.from_dict({"x": list(range(40)), "labels": [0, 1] * 20})
    same = data.with_transform(lambda batch: batch)
    assert readable(same, ("labels",), default_data_collator, "labels") is same
    other = data.with_transform(lambda batch: {"x": batch["x"], "labels": [1 - k for k in batch["labels"]]})
    view = readable(other, ("labels",), default_data_collator, "labels")
    assert isinstance(view, ItemsView)
    assert [row["labels"] for row in view] == [1, 0] * 20
    assert [row["labels"] for row in view.take(np.array([1, 2]))] == [0, 1]


def test_of_two_label_columns_the_one_that_is_trained_on():
    """Kills: weights by `labels` where the collator trains on `label`, and the other way round."""
    data = datasets.Dataset.from_dict({"x": [1, 2], "label": [0, 1], "labels": [1, 1]})

    def takes_label(batch):
        return {"labels": torch.tensor([item["label"] for item in batch])}

    assert label_columns(data, ("labels", "label"), takes_label, "labels") == ("label", "labels")
    assert label_columns(data, ("label", "labels"), default_data_collator, "labels") == ("labels", "label")


def test_features_are_put_into_the_order_of_the_data_set():
    """Kills: features of a sorting collator on other rows."""
    z = torch.arange(4.0)[:, None]
    assert in_order(z, torch.tensor([2, 0, 1, 3]), None, 4).flatten().tolist() == [1, 2, 0, 3]
    assert in_order(z, torch.tensor([0, 0, 2, 2]), None, 3).flatten().tolist() == [0, 1.5, 2]
    several = in_order(z, torch.tensor([1, 0]), torch.tensor([1, 3]), 2)
    assert several.flatten().tolist() == [1, 2, 3, 0]
    with pytest.raises(ValueError, match="all 2 rows to come out of the collator, got 1"):
        in_order(z, torch.tensor([1]), torch.tensor([4]), 2)
    with pytest.raises(ValueError, match="features of 3 units in 3 rows, got 4"):
        in_order(z, torch.tensor([0, 1, 2]), None, 3)


@pytest.mark.parametrize(
    "reduce", [lambda losses: losses.mean(), lambda losses: losses.mean()[None], lambda losses: losses[:, None]]
)
def test_a_loss_of_another_shape_than_the_weights_is_refused(tmp_path, reduce):
    """Kills: a mean, or a column, that is broadcast: the loss times the batch."""

    def example_loss(logits, labels, class_prior):
        return reduce(torch.nn.functional.cross_entropy(logits, labels, reduction="none"))

    trainer = toy_trainer(tmp_path, example_loss=None, trainer_example_loss=example_loss)
    with pytest.raises(ValueError, match=r"one loss for each of the 8 weights.*one number per example"):
        trainer.train()


def test_packed_rows_are_unpacked():
    """Kills: a weight for a whole packed batch."""
    positions, labels = torch.tensor([[0, 1, 2, 0, 1]]), torch.tensor([[-100, 1, 2, -100, 3]])
    lengths = packed_lengths({"position_ids": positions}, labels, 2)
    assert lengths == [3, 2]
    assert unpack(labels, lengths, -100).tolist() == [[-100, 1, 2], [-100, 3, -100]]
    assert packed_lengths({"position_ids": positions}, labels, 3) is None
    assert packed_lengths({}, labels, 2) is None
    assert unpack(labels, None) is labels


def test_logits_stand_behind_a_loss():
    """Kills: the loss, or None in its place, taken for the logits."""
    logits, loss = torch.ones(2, 3), torch.tensor(1.0)
    for outputs in ((logits,), (None, logits), (loss, logits), {"loss": loss, "logits": logits}, logits):
        assert logits_of(outputs) is logits
    assert with_loss((None, logits), loss) == (loss, logits)
    assert with_loss((loss * 2, logits), loss) == (loss, logits)
    assert with_loss((logits,), loss) == (loss, logits)


def test_of_several_heads_the_one_that_makes_the_logits():
    """Kills: the last one that was registered, or the last one that was called."""
    first, second = torch.nn.Linear(4, 3), torch.nn.Linear(4, 3)
    net = torch.nn.ModuleList([first, second])
    listener = HeadInput(head_candidates(net, 3), one_of=True)
    x, y = torch.rand(2, 4), torch.rand(2, 4)
    logits = first(x)
    second(y)
    listener.settle(lambda: logits)
    torch.testing.assert_close(listener.take(lambda z: z), x)
    assert not second._forward_pre_hooks
    listener.remove()
    assert not first._forward_pre_hooks


def test_a_warm_up_that_is_longer_than_the_run_is_told(tmp_path, caplog):
    """Kills: weights that are never solved, without a word."""
    trainer = toy_trainer(tmp_path, weight_warmup=9, max_steps=2)
    with caplog.at_level(logging.WARNING, logger="hf_otw.trainer"):
        trainer.train()
    assert "The warm-up of 9 steps is not over when training ends after 2" in caplog.text


def test_collapsed_features_leave_the_weights_as_they_are(tmp_path, caplog):
    """Kills: a run that ends where stock goes on."""

    def collapse(module, args):
        return (args[0] * 0,)

    trainer = toy_trainer(tmp_path, max_steps=2)
    trainer.model.classifier.register_forward_pre_hook(collapse, prepend=True)
    with caplog.at_level(logging.WARNING, logger="hf_otw.training.session"):
        trainer.train()
    assert trainer.state.global_step == 2
    assert (trainer.example_weights == 1).all()
    assert "The weights stay as they are: Expected features that differ" in caplog.text
