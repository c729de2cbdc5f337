"""The captured feature is what the head receives, for every architecture; nothing of the user's model is changed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hf_otw.data.index import IndexCollator
from hf_otw.features.encoder import Encoder, evaluating
from hf_otw.features.head import HeadInput, find_heads
from hf_otw.features.pooling import one_vector
from hf_otw.tasks import SingleLabel
from tests.toys import MODELS, PAD, collate, model, parameters, toy_dataset, toy_trainer

HEADS = {
    "bert": "classifier",
    "roberta": "classifier.out_proj",
    "distilbert": "classifier",
    "deberta": "classifier",
    "modernbert": "classifier",
    "llama": "score",
}


def pool(inputs, pad_token_id=PAD):
    return lambda z: one_vector(z, inputs, pad_token_id)


def batch(side="right", rows=6):
    found = collate([toy_dataset()[i] for i in range(rows)], side)
    found.pop("labels")
    assert (found["input_ids"] == PAD).any(), "padding must be there to be skipped"
    return found


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("side", ["right", "left"])
def test_the_feature_reproduces_the_logits(name, side):
    """`head(z) == logits`. Kills: another token of a decoder, a hidden state before the pooler or the norm."""
    net = model(name, dropout=0.1).eval()
    (head,) = find_heads(net, 3)
    listener = HeadInput([head])
    inputs = batch(side)
    with torch.no_grad():
        logits = net(**inputs).logits
        z = listener.take(pool(inputs, net.config.pad_token_id))
        listener.remove()
        torch.testing.assert_close(head(z), logits)
    assert z.shape == (6, 16)
    assert z.std(dim=0).max() > 1e-3


@pytest.mark.parametrize(("name", "path"), HEADS.items())
def test_find_heads(name, path):
    net = model(name)
    assert find_heads(net, 3) == [net.get_submodule(path)]


def test_find_head_takes_the_last_of_the_right_width():
    net = nn.Sequential(nn.Linear(16, 3), nn.Linear(3, 3), nn.Linear(3, 5))
    assert find_heads(net, 3) == [net[1]]
    with pytest.raises(ValueError, match="Sequential to have a linear head with 4 outputs, found none"):
        find_heads(net, 4)


def test_feature_module_override(tmp_path):
    """Another module's input: here the pooler's dense layer, which receives the first token's hidden state."""
    net = model()
    assert find_heads(net, 3, "bert.pooler.dense") == [net.bert.pooler.dense]
    with pytest.raises(ValueError, match="got 'bert.pool'.*'classifier'"):
        find_heads(net, 3, "bert.pool")
    listener = HeadInput([net.bert.pooler.dense])
    hidden = net.eval()(**batch(), output_hidden_states=True).hidden_states[-1]
    torch.testing.assert_close(listener.take(pool(batch())), hidden[:, 0].detach())
    listener.remove()
    trainer = toy_trainer(tmp_path, feature_module="bert.pooler.dense")
    trainer.train()
    assert trainer.example_weights.std() > 1e-4
    assert len(trainer.model.bert.pooler.dense._forward_pre_hooks) == 0  # nothing stays on the model


def test_take_errors():
    head = nn.Linear(4, 3)
    listener = HeadInput([head])
    with pytest.raises(RuntimeError, match="forward pass to call the module that features are taken from.*feature_mo"):
        listener.take(pool({}))
    head(torch.zeros(4))
    with pytest.raises(ValueError, match=r"shape \(B, D\), \(B, T, D\) or \(B, D, H, W\), got \(4,\)"):
        listener.take(pool({}))


def test_without_a_padding_token_the_last_position_counts():
    z = torch.randn(2, 5, 4)
    torch.testing.assert_close(one_vector(z, {"input_ids": torch.zeros(2, 5)}, None), z[:, -1])


def test_patches_frames_and_pixels_are_averaged():
    """Token ids of another length belong to another modality: they choose no patch."""
    z = torch.randn(2, 5, 4)
    for inputs in ({}, {"input_ids": torch.zeros(2, 7)}):
        torch.testing.assert_close(one_vector(z, inputs, PAD), z.mean(dim=1))
    maps = torch.randn(2, 4, 3, 6)
    torch.testing.assert_close(one_vector(maps, {}, PAD), maps.flatten(2).mean(dim=2))


def test_several_modules_stand_side_by_side():
    """One block a module, in the order given, with their widths. Kills: an order by time of call."""
    first, second = nn.Linear(4, 3), nn.Linear(2, 3)
    listener = HeadInput([first, second])
    x, y = torch.randn(5, 4), torch.randn(5, 2)
    second(y), first(x)
    torch.testing.assert_close(listener.take(pool({})), torch.cat([x, y], dim=1))
    assert listener.widths == (4, 2)
    first(x)
    with pytest.raises(RuntimeError, match="did not"):
        listener.take(pool({}))


def test_the_factors_of_an_adapter_are_no_head():
    """A rank equal to the number of classes must not look like a head."""
    net = nn.Sequential(nn.Linear(8, 3), nn.ModuleDict({"lora_A": nn.Linear(8, 3)}))
    assert find_heads(net, 3) == [net[0]]


def test_the_feature_is_detached_forgotten_and_at_least_float32():
    head = nn.Linear(4, 3).bfloat16()
    listener = HeadInput([head])
    z = torch.randn(2, 4, dtype=torch.bfloat16, requires_grad=True)
    head(z).sum().backward()
    assert z.grad is not None
    found = listener.take(pool({}))
    assert found.dtype == torch.float32
    assert not found.requires_grad
    with pytest.raises(RuntimeError, match="did not"):
        listener.take(pool({}))


def test_detach_cuts_the_graph_below_the_head():
    head = nn.Linear(4, 3)
    listener = HeadInput([head])
    listener.detach = True
    z = torch.randn(2, 4, requires_grad=True)
    head(z).sum().backward()
    assert z.grad is None
    assert head.weight.grad is not None
    listener.remove()
    head(z).sum().backward()
    assert z.grad is not None


def test_a_second_train_listens_once(tmp_path):
    """Kills: a hook that stays behind, which would keep features alive and, if it detached, cut the graph."""
    trainer = toy_trainer(tmp_path)
    for _ in range(2):
        trainer.train()
        assert len(trainer.model.classifier._forward_pre_hooks) == 0
    assert len(trainer.model.classifier._forward_pre_hooks) == 0


def test_training_leaves_the_model_free(tmp_path):
    """After the head-only stage the user's own backward reaches the body again."""
    trainer = toy_trainer(tmp_path, head_only_after_warmup=True, weight_warmup=2)
    trainer.train()
    trainer.model.zero_grad()
    trainer.model(**batch()).logits.sum().backward()
    assert trainer.model.bert.pooler.dense.weight.grad is not None


def test_evaluating_restores_every_flag():
    """A user's frozen part stays in evaluation mode. Kills: `model.train()` on the way out."""
    net = model(dropout=0.1).train()
    net.bert.embeddings.eval()
    before = {name: module.training for name, module in net.named_modules()}
    with evaluating(net):
        assert not any(module.training for module in net.modules())
    assert {name: module.training for name, module in net.named_modules()} == before
    assert len(set(before.values())) == 2
    with pytest.raises(KeyError), evaluating(net):
        raise KeyError
    assert {name: module.training for name, module in net.named_modules()} == before


def test_encoding_is_exact_and_draws_nothing():
    """In batches of 4, in order, without dropout, with parameters and random state as they were."""
    net = model(dropout=0.5).train()
    listener = HeadInput([net.classifier])
    encoder = Encoder(listener, SingleLabel(), IndexCollator(collate), lambda b: b, "labels", 4, PAD)
    data = toy_dataset().select(range(10))
    state = torch.get_rng_state()
    found = encoder(net, data)
    torch.testing.assert_close(torch.get_rng_state(), state, rtol=0, atol=0)
    assert net.training
    assert found.shape == (10, 16)
    with evaluating(net), torch.no_grad():
        for i in range(10):
            net(**{k: v for k, v in collate([data[i]]).items() if k != "labels"})
            torch.testing.assert_close(listener.take(pool({}))[0], found[i])


def test_a_frozen_body_is_left_alone(tmp_path):
    net = model(dropout=0.1)
    for p in net.bert.parameters():
        p.requires_grad_(False)
    trainer = toy_trainer(tmp_path, net=net)
    before = parameters(trainer)
    trainer.train()
    after = parameters(trainer)
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert moved == {"classifier.weight", "classifier.bias"}


@pytest.mark.parametrize("name", MODELS)
def test_every_architecture_trains(tmp_path, name):
    trainer = toy_trainer(tmp_path, net=model(name, dropout=0.1), max_steps=3, weight_refresh_steps=2)
    trainer.train()
    weights = trainer.weights_result.weights
    assert torch.isfinite(weights).all()
    assert weights.mean() == pytest.approx(1, abs=1e-5)
    assert weights.std() > 0
