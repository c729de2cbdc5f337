"""Images, sound, pairs of image and text, points and adapters: one set of invariants for every kind of model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import Trainer, TrainingArguments

from hf_otw import OTWeightedTrainer, OTWeightedTrainingArguments
from hf_otw.features.head import HeadInput, find_heads
from hf_otw.features.pooling import one_vector
from hf_otw.weighting import CleanPosterior
from tests.modalities import NORMED, PLAIN_NETS, TOYS, PointNet, logits_of, mean_loss, net, rows, stack
from tests.toys import PAD, history, host_args, logged, parameters, toy_trainer

# A step of plain descent shows its gradient; Adam's would blow up rounding where a gradient is zero.
DESCENT = {"optim": "sgd", "learning_rate": 0.1, "max_grad_norm": 100.0, "train_sampling_strategy": "sequential"}
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def run(tmp_path, name, **kw):
    own = {"net": net(name), "data": rows(name), "trainer_data_collator": stack, "max_steps": 2}
    trainer = toy_trainer(tmp_path, **(own | kw))
    trainer.train()
    return trainer


def buffers(trainer):
    return {name: b.detach().clone() for name, b in trainer.model.named_buffers() if name.endswith(STATISTICS)}


def build(kind):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind()


def inputs_of(batch):
    return {name: value for name, value in batch.items() if name != "labels"}


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


# ---- Features -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TOYS)
def test_the_feature_reproduces_the_logits(name):
    """Kills: another layer of the head than the last, a factor of an adapter, a projection before the pooling."""
    model, batch = net(name, dropout=0.1).eval(), stack(rows(name).items[:6])
    (head,) = find_heads(model, 3)
    assert head is model.get_submodule(TOYS[name].head)
    listener = HeadInput([head])
    with torch.no_grad(), torch.random.fork_rng():
        logits = logits_of(model(**inputs_of(batch)))
        z = listener.take(lambda z: one_vector(z, batch, PAD))
        listener.remove()
        close(head(z), logits)
    assert z.shape == (6, head.in_features)
    assert z.std(dim=0).max() > 1e-3


@pytest.mark.parametrize(("name", "body"), [("resnet", "resnet.pooler"), ("convnext", "convnext.layernorm")])
def test_another_place_with_the_same_feature_gives_the_same_weights(tmp_path, name, body):
    """The pooler averages a feature map, as we do; a layer norm over the vector changes it. Kills: a mean over the
    wrong axes of `(B, D, H, W)`.
    """
    head, other = (run(tmp_path, name, **kw).weights_result.weights for kw in ({}, {"feature_module": body}))
    if name == "resnet":
        close(other, head)
    else:
        assert (other - head).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("name", "layer"), [("whisper", "projector"), ("ast", "audio_spectrogram_transformer.layernorm")]
)
def test_frames_are_averaged(tmp_path, name, layer):
    """The input of a layer over `(B, T, D)` is averaged over the frames: the projector's, sent through it, is what the
    head receives.
    """
    trainer = run(tmp_path, name, feature_module=layer, learning_rate=0.0)
    model, kept = trainer.model.eval(), []
    hook = model.get_submodule(layer).register_forward_pre_hook(lambda module, args: kept.append(args[0]))
    data = trainer.training_data
    with torch.no_grad():
        model(**inputs_of(stack([rows(name)[i] for i in data.train_rows])))
    hook.remove()
    assert kept[0].ndim == 3
    found = trainer._session.reweighter.memory.read(torch.as_tensor(data.train_rows))
    torch.testing.assert_close(found, kept[0].mean(dim=1), rtol=1e-2, atol=1e-2)  # of bfloat16


# ---- Scale ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TOYS)
def test_uniform_is_the_stock_trainer(tmp_path, name):
    """Without accumulation the stock Trainer divides rightly: loss, gradient norm, parameters and running statistics
    agree. Kills: labels that a model needs and does not get, a feature hook that changes what the head receives.
    """
    settings = DESCENT | {"max_steps": 3}
    own_loss = None if hasattr(net(name), "config") else mean_loss
    stock = Trainer(
        net(name),
        TrainingArguments(**host_args(tmp_path, **settings)),
        stack,
        rows(name),
        compute_loss_func=own_loss,
    )
    stock.train()
    ours = run(tmp_path, name, weighting="uniform", **settings)
    for key in ("loss", "grad_norm"):
        close(logged(ours, key), logged(stock, key))
    close(parameters(ours), parameters(stock))
    close(buffers(ours), buffers(stock))
    start = dict(net(name).named_parameters())
    assert any((p - start[n]).abs().max() > 1e-3 for n, p in parameters(ours).items())


def gradient(model, items, weights):
    """Of the weighted mean of the examples' losses, by hand."""
    batch = stack(items)
    losses = F.cross_entropy(logits_of(model.train()(**inputs_of(batch))), batch["labels"], reduction="none")
    (torch.as_tensor(weights, dtype=losses.dtype) * losses).mean().backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", TOYS)
def test_zero_weight_is_an_example_removed(tmp_path, name):
    """Weights are rescaled to mean 1. With batch normalisation the example stays in the statistics of its batch, so
    the reference keeps it there and weights its loss by hand.
    """
    weights = np.tile([0.0, 1.0], 6)
    data = rows(name, (4, 4, 4), weights=weights)
    before = {n: p.detach().clone() for n, p in net(name).named_parameters()}
    trainer = run(
        tmp_path,
        name,
        data=data,
        weighting="column",
        per_device_train_batch_size=12,
        **DESCENT | {"max_steps": 1, "learning_rate": 1.0},
    )
    after = parameters(trainer)
    expected = gradient(net(name), data.items, 2 * weights)
    found = {n: before[n] - after[n] for n in expected}
    assert max(g.abs().max() for g in expected.values()) > 1e-2
    close(found, expected)
    removed = gradient(net(name), data.items[1::2], np.ones(6))
    if TOYS[name].normed:
        assert any((found[n] - removed[n]).abs().max() > 1e-3 for n in found)
    else:
        close(found, removed)


@pytest.mark.parametrize("name", PLAIN_NETS)
def test_every_cut_of_a_step_is_the_same(tmp_path, name):
    """Two micro-batches of 4 are one of 8, weighted. The last step has 6. Kills: a second division, a
    mean over the micro-batch. Batch normalisation depends on the cut by itself and is left out.
    """
    data = rows(name, (8, 8, 6), weights=np.random.default_rng(1).uniform(0, 3, 22))
    runs = [
        run(
            tmp_path,
            name,
            data=data,
            weighting="column",
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=8 // batch,
            **DESCENT | {"max_steps": 3},
        )
        for batch in (8, 4)
    ]
    for key in ("loss", "grad_norm"):
        torch.testing.assert_close(*(logged(trainer, key) for trainer in runs), rtol=2e-4, atol=2e-5)
    torch.testing.assert_close(*(parameters(trainer) for trainer in runs), rtol=2e-4, atol=2e-5)


# ---- Transport ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TOYS)
@pytest.mark.parametrize("scope", ["dataset", "batch"])
def test_the_default_preset_trains(tmp_path, name, scope):
    """As a user would start it, with dropout, and what evaluation and prediction make of the model's outputs. The
    preset in full, and, as its weighting is refused in batch scope, in that scope with another.
    """
    chosen = {} if scope == "dataset" else {"weight_scope": "batch", "weighting": "closed_form"}
    args = OTWeightedTrainingArguments(**host_args(tmp_path, meta_examples_per_class=2, **chosen))
    test = rows(name, (3, 3, 3), seed=1)
    trainer = OTWeightedTrainer(net(name, dropout=0.1), args, stack, rows(name), test)
    trainer.train()
    weights = trainer.weights_result.weights
    assert torch.isfinite(weights).all()
    assert (weights >= 0).all()
    # Two meta examples a class and no wrong label: the weights may all be 1, but they were solved for.
    assert np.isfinite(logged(trainer, "otw/objective")).any()
    if scope == "dataset":
        assert isinstance(trainer._session.reweighter.weight_model, CleanPosterior)
        assert trainer._session.reweighter.solved_at == 2  # of 4 steps
        assert weights.mean() == pytest.approx(1, abs=1e-5)
    assert all(np.isfinite(logged(trainer, "loss")))
    batch = stack(test.items)
    with torch.no_grad(), torch.random.fork_rng():
        outputs = trainer.model.eval()(**inputs_of(batch))
    predicted = trainer.predict(test)
    first = predicted.predictions[0] if isinstance(outputs, tuple) else predicted.predictions
    np.testing.assert_allclose(first, logits_of(outputs), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(predicted.label_ids, batch["labels"])
    expected = F.cross_entropy(logits_of(outputs), batch["labels"]).item()
    assert trainer.evaluate()["eval_loss"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["resnet", "wav2vec2", "pair", "pointnet_tuple"])
def test_resume_is_exact(tmp_path, name):
    """With dropout, masked frames, dropped layers and running statistics; a checkpoint in the second epoch."""
    settings = {"max_steps": 7, "weight_refresh_steps": 2, "weight_warmup": 2, "meta_loss_coefficient": 0.3}
    settings |= {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 4, "meta_batch_size": 4}
    settings |= {"save_strategy": "steps", "save_steps": 5}
    straight = run(tmp_path, name, net=net(name, dropout=0.1), **settings)
    assert straight.example_weights.std() > 1e-3, "weights that never moved prove nothing"
    resumed = toy_trainer(
        tmp_path / "b",
        net=net(name, dropout=0.1, seed=7),
        data=rows(name),
        trainer_data_collator=stack,
        **settings,
    )
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))
    for of in (parameters, buffers, lambda trainer: trainer.example_weights):
        torch.testing.assert_close(of(resumed), of(straight), rtol=0, atol=0)
    mine, other = ([row for row in history(t, after=5) if "train_loss" not in row] for t in (resumed, straight))
    assert mine == other
    assert len(mine) == 2


@pytest.mark.parametrize("name", NORMED)
@pytest.mark.parametrize("scope", ["dataset", "batch"])
def test_only_training_batches_move_running_statistics(tmp_path, name, scope):
    """A solve in every step and a meta term, at learning rate 0 so that all else is equal. Kills: an encoding or a
    meta forward pass that adds to the running mean and variance, or that counts as a batch.
    """
    settings = {"learning_rate": 0.0, "max_steps": 6, "trainer_meta_dataset": rows(name, (3, 3, 3), seed=9)}
    plain = run(tmp_path, name, weighting="uniform", **settings)
    ours = run(tmp_path, name, weight_scope=scope, weight_refresh_steps=1, meta_loss_coefficient=0.5, **settings)
    assert ours._session.reweighter.solved_at == 5
    torch.testing.assert_close(buffers(ours), buffers(plain), rtol=0, atol=0)
    assert all(b == 6 for n, b in buffers(ours).items() if n.endswith("num_batches_tracked"))
    # The comparison can fail: one forward pass over the meta set moves them.
    ours.model.train()(**inputs_of(stack(rows(name, (3, 3, 3), seed=9).items)))
    assert any(not torch.equal(b, buffers(plain)[n]) for n, b in buffers(ours).items())


def test_the_meta_term_normalises_by_its_own_batch(tmp_path):
    """Its gradient is that of the training mode. Kills: a meta term in evaluation mode, which keeps the statistics
    just as well.
    """
    meta, data = rows("pointnet", (2, 2, 2), seed=9), rows("pointnet", (4, 4, 4))
    settings = {"data": data, "trainer_meta_dataset": meta, "weighting": "uniform", "per_device_train_batch_size": 12}
    trainer = run(
        tmp_path, "pointnet", meta_loss_coefficient=0.5, **settings, **DESCENT | {"max_steps": 1, "learning_rate": 1.0}
    )
    before = {n: p.detach() for n, p in net("pointnet").named_parameters()}
    of_train = gradient(net("pointnet"), data.items, np.ones(12))
    of_meta = gradient(net("pointnet"), meta.items, np.ones(6))
    found = {n: before[n] - p for n, p in parameters(trainer).items()}
    close(found, {n: of_train[n] + 0.5 * of_meta[n] for n in found})


class Instances(PointNet):
    def __init__(self):
        super().__init__()
        self.each[1] = torch.nn.InstanceNorm1d(16, affine=True, track_running_stats=True)


def test_instance_normalisation_keeps_its_running_statistics_too(tmp_path):
    settings = {"learning_rate": 0.0, "trainer_meta_dataset": rows("pointnet", (3, 3, 3), seed=9)}
    runs = [
        buffers(run(tmp_path, "pointnet", net=build(Instances), **settings, **kw))
        for kw in ({"weighting": "uniform"}, {"weighting": "closed_form", "meta_loss_coefficient": 0.5})
    ]
    torch.testing.assert_close(*runs, rtol=0, atol=0)
