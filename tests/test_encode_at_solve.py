"""`encode_at_solve`: features of one model for the whole training set, in place of what training has last seen."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import TrainingArguments

from hf_otw import OTWeightedTrainer, OTWeightedTrainingArguments, learn_weights
from hf_otw.weighting import Agreement, CleanPosterior, WeightModel
from hf_otw.weighting.base import exact
from tests.toys import Forwards, collate, host_args, mislabelled, model, toy_dataset, toy_trainer

META = toy_dataset((3, 3, 3), seed=9)
SOLVE = 3
#: With dropout a training step sees other features than a pass in evaluation mode, whatever the model.
RUN = {"data": mislabelled(toy_dataset()), "trainer_meta_dataset": META, "weight_warmup": SOLVE, "max_steps": 9}
NEAR = {"rtol": 1e-2, "atol": 1e-2}  # of bfloat16


class Recorded(OTWeightedTrainer):
    """Keeps the parameters that each step begins with."""

    def compute_loss(self, *positional: Any, **keywords: Any) -> Any:
        if self.model.training:
            self.at = [*getattr(self, "at", []), copy.deepcopy(self.model.state_dict())]
        return super().compute_loss(*positional, **keywords)


def trained(tmp_path: Any, **kw: Any) -> Recorded:
    settings = RUN | {"net": model(dropout=0.1)} | kw
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.toys.OTWeightedTrainer", Recorded)
        trainer = toy_trainer(tmp_path, **settings)
    trainer.train()
    return trainer


def features(state: dict[str, Tensor], data: Any) -> Tensor:
    """What the head of a model with these parameters receives, by hand."""
    net = model().eval()
    net.load_state_dict(state)
    batch = collate(list(data))
    with torch.no_grad():
        return net.bert(batch["input_ids"], batch["attention_mask"]).pooler_output


def memory(trainer: Recorded) -> Tensor:
    reweighter = trainer._session.reweighter
    return reweighter.memory.read(reweighter.rows)


def test_the_memory_is_that_of_the_model_at_the_solve(tmp_path):
    """Kills: features that training steps wrote, before the solve or after it."""
    trainer = trained(tmp_path, weighting="clean_posterior")
    data = RUN["data"]
    torch.testing.assert_close(memory(trainer), features(trainer.at[SOLVE], data), **NEAR)
    for step in (0, SOLVE - 1, SOLVE + 1, 8):
        assert (features(trainer.at[step], data) - memory(trainer)).abs().max() > 0.05, step
    steps = trained(tmp_path, weighting="clean_posterior", encode_at_solve=False)
    assert (memory(steps) - features(steps.at[SOLVE], data)).abs().max() > 0.05  # the comparison can fail


def test_the_weights_are_those_of_that_model(tmp_path):
    """From parameters to weights without the trainer: encoded by hand, then `learn_weights`. Kills: a target of other
    features than the source's, prototypes in place of meta examples.
    """
    trainer = trained(tmp_path, weighting="clean_posterior")
    data, state = RUN["data"], trainer.at[SOLVE]
    z, z_meta = features(state, data).bfloat16().float(), features(state, META)
    labels, meta_labels = (torch.tensor(rows["label"]) for rows in (data, META))
    settings = {"weighting": "clean_posterior", "target_mass": "class_prior"}
    expected = learn_weights(z, labels, z_meta, meta_labels, **settings).weights
    assert expected.std() > 0.1
    torch.testing.assert_close(trainer.example_weights, expected, rtol=0.05, atol=0.02)


def test_every_solve_encodes_all_anew(tmp_path):
    """Kills: a memory that is filled once and then taken for complete."""
    trainer = trained(tmp_path, weighting="agreement", encode_at_solve=True, weight_refresh_steps=2)
    assert trainer._session.reweighter.solved_at == 7
    torch.testing.assert_close(memory(trainer), features(trainer.at[7], RUN["data"]), **NEAR)
    assert (features(trainer.at[5], RUN["data"]) - memory(trainer)).abs().max() > 0.05


class Spy(WeightModel):
    """Counts its solves."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        self.targets: list[Tensor] = []
        vars(self).update(attributes)

    def forward(self, index: Tensor, source: Any, target: Any, cost: Any) -> Any:
        self.targets.append(target.labels)
        return exact(torch.ones(len(index)))


@pytest.mark.parametrize(("refresh", "solves"), [(0, 1), (3, 2), (None, 1)])
@pytest.mark.parametrize("encode", [False, True])
def test_no_refresh_is_one_solve(tmp_path, refresh, solves, encode):
    """Of 9 steps, after 3; an epoch has 6. Kills: a 0 that is taken for unset, or for every step."""
    spy = Spy()
    kw = {"weight_refresh_steps": refresh, "max_steps": 9, "encode_at_solve": encode}
    trained(tmp_path, trainer_weighting=spy, **kw)
    assert len(spy.targets) == solves


def test_the_default_encodes_once(tmp_path):
    """A plain `TrainingArguments`, over three epochs: 48 rows in 3 batches and the meta set in 1, after an epoch of 6
    steps. Kills: a pass at every solve that is due or not, and one over the meta set alone.
    """
    net = model()
    forwards = Forwards(net)
    args = TrainingArguments(**host_args(tmp_path, max_steps=18))
    trainer = OTWeightedTrainer(net, args, collate, RUN["data"], meta_dataset=META)
    trainer.train()
    reweighter = trainer._session.reweighter
    assert isinstance(reweighter.weight_model, CleanPosterior)
    assert reweighter.solved_at == 6
    # At the start one batch asks for the model's own loss, and one row is encoded, for the width.
    steps = [training for training, _ in forwards.calls]
    assert steps.count(False) == 2 + 3 + 1
    assert steps.index(False, 2) == 2 + 2 * 6  # a step: a training batch, and a batch of the meta term


def test_a_weight_model_of_ones_own_is_no_default_weighting(tmp_path):
    """It takes the place of `weighting`: arguments of a cost and batch scope mean something to it, and the schedule is
    that of other weightings, unless it learns its cost as well. Kills: the refusals of a weighting that is not used.
    """
    data = {"train_dataset": RUN["data"], "meta_dataset": META, "data_collator": collate}
    common = host_args(tmp_path, max_steps=18)
    spies = [Spy(), Spy(learns_cost=True)]
    for spy in spies:
        OTWeightedTrainer(model(), TrainingArguments(**common), weighting=spy, **data).train()
    assert [target.tolist() for target in spies[0].targets] == [[0, 1, 2]] * 2  # after each epoch but the last
    assert [sorted(target.tolist()) for target in spies[1].targets] == [[0, 0, 0, 1, 1, 1, 2, 2, 2]]

    args = OTWeightedTrainingArguments(**common, weight_scope="batch", cost="combined", target_mass="balanced")
    trainer = OTWeightedTrainer(model(), args, weighting=Agreement(), **data)
    trainer.train()
    settings = trainer.settings
    assert (settings.weight_scope, settings.cost, settings.target_mass) == ("batch", "combined", "balanced")
    assert trainer.example_weights.std() > 1e-3
