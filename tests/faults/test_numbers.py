"""Data and numbers that go wrong in the middle of a run, and sizes at the edge: it works, or it says what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hf_otw import learn_weights
from tests.compare import assert_weights
from tests.toys import logged, model, parameters, toy_dataset, toy_trainer

METHODS: dict[str, dict[str, Any]] = {
    "closed_form": {"weighting": "closed_form"},
    "clean_posterior": {"weighting": "clean_posterior"},
    "agreement": {"weighting": "agreement"},
    "kl": {"weighting": "table", "weighting_kwargs": {"objective": "kl", "steps": 2}},
    "net": {"weighting": "net", "weighting_kwargs": {"steps": 2}},
}
#: Of these, those that are quick for very many rows.
DIRECT = ("closed_form", "clean_posterior", "agreement")
#: What these have in common: solves. `clean_posterior` has no batch scope, and encodes at each solve.
SOLVED = [("clean_posterior", "dataset")]
SOLVED += [(weighting, scope) for weighting in ("agreement", "closed_form", "table") for scope in ("dataset", "batch")]


def at_step(trainer: Any, step: int, action: Callable[[Any], None]) -> None:
    """Do something to the trainer once, before it computes the loss of optimizer step `step`."""
    compute, done = trainer.compute_loss, []

    def spoiled(*positional: Any, **keywords: Any) -> Any:
        if trainer.state.global_step == step and not done:
            done.append(step)
            action(trainer)
        return compute(*positional, **keywords)

    trainer.compute_loss = spoiled


def spoil(value: float) -> Callable[[Any], None]:
    def change(trainer: Any) -> None:
        with torch.no_grad():
            trainer.model.bert.pooler.dense.bias.fill_(value)
            trainer.model.bert.pooler.dense.weight.fill_(value)

    return change


def blobs(counts: list[int], width: int = 4, dtype: torch.dtype = torch.float32, m: int = 2) -> tuple[Tensor, ...]:
    """Classes that features tell apart."""
    g = torch.Generator().manual_seed(0)
    centres = 2 * torch.randn(len(counts), width, generator=g)
    y = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    y_meta = torch.arange(len(counts)).repeat_interleave(m)
    z, z_meta = (centres[k] + torch.randn(len(k), width, generator=g) for k in (y, y_meta))
    return z.to(dtype), y, z_meta.to(dtype), y_meta


@pytest.mark.parametrize(("weighting", "scope"), SOLVED)
def test_features_that_become_nan_stop_the_run(tmp_path: Any, weighting: str, scope: str) -> None:
    """Not at the first step, after the weights have been learned once. Kills a check that is made once: the host
    leaves NaN out of the losses that it logs, so nobody would see it.
    """
    trainer = toy_trainer(tmp_path, weighting=weighting, weight_scope=scope, weight_refresh_steps=2, max_steps=6)
    at_step(trainer, 3, spoil(float("nan")))
    with pytest.raises(ValueError, match="Expected finite .*NaN.*Check the inputs, lower the learning rate"):
        trainer.train()
    assert trainer.state.global_step in (3, 4)  # at the next solve
    assert torch.isfinite(trainer.example_weights).all()


def test_a_loss_that_is_nan_does_not_touch_the_weights(tmp_path: Any) -> None:
    """A NaN of the user's own loss is the host's to handle, as with the stock Trainer; the weights do not take it on.
    Kills weights that depend on the loss.
    """
    calls = []

    def example_loss(logits: Tensor, labels: Tensor, class_prior: Tensor) -> Tensor:
        calls.append(len(labels))
        loss = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
        return loss * torch.where(torch.tensor(len(calls) == 3), torch.nan, 1.0) if len(calls) == 3 else loss

    trainer = toy_trainer(
        tmp_path, trainer_example_loss=example_loss, max_steps=3, weight_refresh_steps=10, logging_nan_inf_filter=False
    )
    trainer.train()
    assert np.isnan(logged(trainer, "loss")).tolist() == [False, False, True]
    assert_weights(trainer.weights_result.weights, 42)


def test_a_class_that_no_batch_has(tmp_path: Any) -> None:
    """The sampler never yields the rarest class: its rows are encoded for the solve and keep their weight. Kills a
    memory that is read where it was never written, and a class prior of 0, whose logarithm is infinite.
    """
    trainer = toy_trainer(
        tmp_path, weight_warmup=2, weight_refresh_steps=2, max_steps=8, example_loss="logit_adjusted"
    )
    data = trainer.training_data
    served = [i for i, row in enumerate(data.train_rows) if data.labels[row] != 2]
    assert len(served) < len(data.train_rows)
    trainer._get_train_sampler = lambda *_: torch.utils.data.SubsetRandomSampler(
        served, generator=torch.Generator().manual_seed(0)
    )
    trainer.train()
    assert trainer.state.global_step == 8
    assert all(torch.isfinite(p).all() for p in parameters(trainer).values())
    assert_weights(trainer.weights_result.weights, 42)
    absent = trainer.example_weights[data.train_rows][data.labels[data.train_rows] == 2]
    assert absent.sum() > 0


@pytest.mark.parametrize(("weighting", "scope"), SOLVED)
def test_one_example_twice_in_a_batch(tmp_path: Any, weighting: str, scope: str) -> None:
    """A sampler with replacement: both occurrences get one weight. Kills an update that adds up over duplicates."""
    trainer = toy_trainer(tmp_path, weighting=weighting, weight_scope=scope, weight_refresh_steps=2, max_steps=4)
    trainer._get_train_sampler = lambda *_: [0, 0, 1, 1, 2, 3, 4, 4] * 4
    seen = []
    given = type(trainer)._started

    def watched(self: Any) -> Any:
        session = given(self)
        if not hasattr(session, "watched"):
            weights = session.weights
            session.watched = True

            def kept(step: int, index: Tensor, *more: Any) -> Tensor:
                found = weights(step, index, *more)
                seen.append((index.clone(), found.clone()))
                return found

            session.weights = kept
        return session

    trainer._started = watched.__get__(trainer)
    trainer.train()
    assert len(seen) == 4
    for index, weights in seen:
        assert len(index.unique()) < len(index)
        for row in index.unique():
            same = weights[index == row]
            torch.testing.assert_close(same, same[:1].expand_as(same), rtol=1e-5, atol=1e-6)
    assert torch.isfinite(trainer.example_weights).all()


@pytest.mark.parametrize("method", [name for name in METHODS if name != "clean_posterior"])  # which has no reg
def test_a_reg_at_which_all_underflows(method: str) -> None:
    """exp(-1 / 1e-6) is 0 in every precision. Kills a kernel that is not shifted by its maximum."""
    options = METHODS[method]
    kwargs = options.get("weighting_kwargs", {}) | {"reg": 1e-6}
    found = learn_weights(*blobs([20, 8, 3]), **options | {"weighting_kwargs": kwargs})
    assert_weights(found.weights, 31, atol=1e-3)
    assert np.isfinite(found.value) or method == "agreement"


def test_a_reg_beyond_rounding() -> None:
    """The rounding of C / 1e-20 is more than exp can take. Kills weights of NaN or infinity in place of an error."""
    with pytest.raises(ValueError, match="finite and not all zero, got a mean of .*Raise `reg`"):
        learn_weights(*blobs([20, 8, 3]), weighting="closed_form", weighting_kwargs={"reg": 1e-20})


@pytest.mark.slow
@pytest.mark.parametrize("method", DIRECT)
@pytest.mark.parametrize("target_mass", ["balanced", "class_prior"])
def test_a_million_to_one(method: str, target_mass: str) -> None:
    """The one row of the rare class is not lost: its share is what the target gives it, or what a judge leaves it.
    Kills sums in float32 in which 1e-6 disappears.
    """
    z, y, z_meta, y_meta = blobs([1_000_000, 1])
    options: dict[str, Any] = {"target_mass": target_mass}
    if method == "closed_form":
        options |= {"cost": "label", "weighting_kwargs": {"reg": 0.02}}
    elif method == "agreement":  # which has no target mass
        options = {}
    found = learn_weights(z, y, z_meta, y_meta, **METHODS[method], **options)
    w = found.weights.double()
    assert torch.isfinite(w).all()
    assert w.min() >= 0
    assert w.mean().item() == pytest.approx(1, abs=1e-3)
    assert w[y == 1].item() > 0
    if method == "closed_form":
        share = 0.5 if target_mass == "balanced" else 1e-6
        assert found.class_totals[1].item() == pytest.approx(share, rel=1e-2)


@pytest.mark.parametrize("method", METHODS)
def test_one_class(method: str) -> None:
    """K = 1: nothing to balance, still weights. Kills a division by `K - 1` or by the mass of other classes."""
    found = learn_weights(*blobs([30]), **METHODS[method])
    assert_weights(found.weights, 30)
    assert found.class_totals.tolist() == pytest.approx([1])


@pytest.mark.slow
@pytest.mark.parametrize("method", DIRECT)
def test_ten_thousand_classes(method: str) -> None:
    """Kills anything of `K x K` per row, or a loop over classes. Prototypes, so that there are 10,000 columns."""
    z, y, z_meta, y_meta = blobs([2] * 10_000, width=32, m=1)
    if method == "clean_posterior":  # learns K x K prices: would take 21 GB
        with pytest.raises(ValueError, match="at most 1000 classes.*got 10000.*agreement"):
            learn_weights(z, y, z_meta, y_meta, target_points="prototypes", **METHODS[method])
        return
    found = learn_weights(z, y, z_meta, y_meta, target_points="prototypes", **METHODS[method])
    assert_weights(found.weights, 20_000, atol=1e-3)
    assert len(found.class_totals) == 10_000


@pytest.mark.parametrize("width", [1, 16_384])
@pytest.mark.parametrize("method", METHODS)
def test_one_feature_and_very_many(method: str, width: int) -> None:
    """In one dimension a cosine is a sign: still weights. Kills a norm or a mean that overflows or is 0."""
    found = learn_weights(*blobs([20, 8, 3], width=width), **METHODS[method])
    assert_weights(found.weights, 31)


def test_half_precision_that_overflowed() -> None:
    """65,504 is the largest float16. Infinite features are refused; large finite ones are weighted in float32."""
    z, y, z_meta, y_meta = blobs([20, 8, 3], dtype=torch.float16)
    with pytest.raises(ValueError, match="1 of 31 rows hold NaN or infinity.*bfloat16 or float32"):
        learn_weights(torch.where(torch.arange(31)[:, None] == 3, z * 60_000, z), y, z_meta, y_meta)
    with pytest.raises(ValueError, match="Expected finite meta_features"):
        learn_weights(z, y, z_meta * 60_000, y_meta)
    found = learn_weights(z / z.abs().max() * 65_000, y, z_meta / z.abs().max() * 15_000, y_meta)
    assert found.weights.dtype == torch.float32
    assert_weights(found.weights, 31)


def test_large_features() -> None:
    """Kills a square or a sum that overflows without a word."""
    z, y, z_meta, y_meta = blobs([20, 8, 3])
    expected = learn_weights(z.double(), y, z_meta.double(), y_meta).weights
    found = learn_weights(z * 1e15, y, z_meta * 1e15, y_meta).weights
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("scope", ["dataset", "batch"])
def test_infinite_features_stop_the_trainer(tmp_path: Any, scope: str) -> None:
    """As float16 makes them. Kills `isnan` in place of `isfinite`."""
    trainer = toy_trainer(tmp_path, net=model(), weight_scope=scope, weight_refresh_steps=1, max_steps=4)

    def overflow(trainer: Any) -> None:
        trainer.model.bert.pooler.register_forward_hook(lambda module, args, out: out * float("inf"))

    at_step(trainer, 2, overflow)
    with pytest.raises(ValueError, match="Expected finite .*infin"):
        trainer.train()


def test_imbalance_in_the_trainer(tmp_path: Any) -> None:
    """300 : 2, of which one goes to the meta set. Kills a class without an example left to train on."""
    trainer = toy_trainer(tmp_path, data=toy_dataset((300, 4, 2)), weighting="clean_posterior", max_steps=4)
    trainer.train()
    counts = trainer.training_data.class_counts
    assert min(counts) >= 1
    assert_weights(trainer.weights_result.weights, sum(counts))
