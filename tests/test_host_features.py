"""What else the Trainer can do, with weights: those rows of the table in docs/reliability.md that need one process."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from datasets import IterableDataset

from hf_otw import OTWeightedTrainer
from tests.toys import collate, history, logged, mislabelled, model, parameters, toy_args, toy_dataset, toy_trainer

#: The parts that an extra or a missing forward pass would change: meta features, memory, meta term, re-solves.
RUN = {
    "weighting": "agreement",
    "example_loss": "logit_adjusted",
    "weight_warmup": 1,
    "weight_refresh_steps": 1,
    "meta_loss_coefficient": 0.1,
    "max_steps": 4,
    "optim": "sgd",
    "learning_rate": 0.1,
}
#: The default preset, with wrong labels to find: solved once, on features that are encoded for it.
DEFAULT = {
    "weighting": "clean_posterior",
    "weight_refresh_steps": 0,
    "data": mislabelled(toy_dataset()),
    "trainer_meta_dataset": toy_dataset((3, 3, 3), seed=9),
}
BOTH = pytest.mark.parametrize("preset", [{}, DEFAULT], ids=["several_solves", "default"])


def trained(tmp_path, **kw: Any) -> Any:
    trainer = toy_trainer(tmp_path, **(RUN | kw))
    trainer.train()
    weights = trainer.example_weights
    assert torch.isfinite(weights).all()
    assert weights.std() > 1e-4
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())
    return trainer


def check_same(ours, theirs, **near):
    torch.testing.assert_close(ours.example_weights, theirs.example_weights, **near)
    strip = "_orig_mod."
    found = {name.replace(strip, ""): value for name, value in parameters(ours).items()}
    torch.testing.assert_close(found, parameters(theirs), **near)
    torch.testing.assert_close(logged(ours, "loss"), logged(theirs, "loss"), **near)


@BOTH
@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")
def test_gradient_checkpointing(tmp_path, preset):
    """Recomputed forward passes are heard by the hook as well. Kills: features of the recomputation taken twice."""
    ours = trained(tmp_path, gradient_checkpointing=True, **preset)
    check_same(ours, trained(tmp_path, **preset), rtol=1e-5, atol=1e-6)


@BOTH
def test_compiled_model(tmp_path, preset):
    """Kills: a hook that the compiled graph has left out (its features would be those of an earlier batch)."""
    compiled = trained(tmp_path, torch_compile=True, torch_compile_backend="eager", **preset)
    check_same(compiled, trained(tmp_path, **preset), rtol=1e-5, atol=1e-6)


def test_bfloat16(tmp_path):
    """Features and losses leave autocast in float32. Near the float32 run, and not equal to it."""
    ours, theirs = (trained(tmp_path, bf16=bf16, weighting_kwargs={"reg": 1.0}) for bf16 in (True, False))
    assert ours.example_weights.dtype == torch.float32
    torch.testing.assert_close(ours.example_weights, theirs.example_weights, rtol=0.1, atol=0.05)
    assert logged(ours, "loss") != logged(theirs, "loss")


@BOTH
def test_model_in_bfloat16(tmp_path, preset):
    """Parameters, logits and features all in bfloat16."""
    trainer = trained(tmp_path, net=model().to(torch.bfloat16), **preset)
    assert trainer.example_weights.dtype == torch.float32


@BOTH
def test_neftune(tmp_path, preset):
    """Noise on the embeddings is for training: meta features come without it, and the hook goes away at the end."""
    noisy = trained(tmp_path, neftune_noise_alpha=5.0, **preset)
    assert logged(noisy, "loss") != logged(trained(tmp_path, **preset), "loss")
    again = trained(tmp_path, neftune_noise_alpha=5.0, **preset)
    check_same(noisy, again, rtol=0, atol=0)
    assert not noisy.model.get_input_embeddings()._forward_hooks


class Crowded(torch.nn.Module):
    """A model that runs out of memory with more than four examples in training."""

    def __init__(self) -> None:
        super().__init__()
        self.net = model()
        self.config = self.net.config

    def forward(self, input_ids, attention_mask=None, labels=None):
        if self.training and len(input_ids) > 4:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return self.net(input_ids=input_ids, attention_mask=attention_mask, labels=labels)


@BOTH
def test_auto_find_batch_size(tmp_path, preset):
    """The run starts again with a smaller batch, with a memory and weights of its own. Kills: hooks and weights of the
    first try that live on.
    """
    trainer = trained(tmp_path, net=Crowded(), auto_find_batch_size=True, per_device_train_batch_size=8, **preset)
    assert trainer._train_batch_size <= 4
    size = trainer._train_batch_size
    plain = trained(tmp_path, net=Crowded(), per_device_train_batch_size=size, meta_batch_size=size, **preset)
    check_same(trainer, plain, rtol=0, atol=0)
    assert not [module for module in trainer.model.modules() if module._forward_pre_hooks]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_hyperparameter_search(tmp_path):
    """Every trial learns its own weights, and our arguments can be searched. Kills: a trial that goes on with the
    weights, the hook or the model of the one before.
    """
    found = []

    def objective(metrics):
        weights = trainer.example_weights
        found.append((trainer.args.weighting_kwargs["reg"], weights, len(trainer.state.log_history)))
        return metrics["eval_loss"]

    trainer = OTWeightedTrainer(
        args=toy_args(tmp_path, **RUN),
        model_init=lambda trial: model(),
        train_dataset=toy_dataset(),
        eval_dataset=toy_dataset((6, 3, 3), seed=5),
        data_collator=collate,
    )
    trainer.hyperparameter_search(
        hp_space=lambda trial: {"weighting_kwargs": {"reg": trial.suggest_categorical("reg", [0.05, 2.0])}},
        compute_objective=objective,
        n_trials=3,
        backend="optuna",
        direction="minimize",
    )
    assert len(found) == 3
    for reg, weights, _ in found:
        alone = trained(tmp_path, weighting_kwargs={"reg": reg})
        torch.testing.assert_close(weights, alone.example_weights, rtol=1e-6, atol=1e-6)


def test_a_search_of_what_the_weighting_does_not_use_is_refused(tmp_path):
    """A search sets arguments after the constructor has checked them. Kills: trials that all come out the same."""
    args = toy_args(tmp_path, **(RUN | {"weighting": "clean_posterior"}))
    trainer = OTWeightedTrainer(
        args=args, model_init=lambda trial: model(), train_dataset=toy_dataset(), data_collator=collate
    )
    trainer.args.weighting_kwargs = {"reg": 0.05}
    with pytest.raises(ValueError, match="for 'clean_posterior' to hold what it takes.*got 'reg'"):
        trainer.train()


def test_grouping_by_length_and_workers(tmp_path):
    """Each row's feature lands in its own place whatever the order and whoever loads it: at the end the memory holds
    what the model says of each row.
    """
    trainer = trained(
        tmp_path,
        train_sampling_strategy="group_by_length",
        dataloader_num_workers=2,
        dataloader_persistent_workers=True,
        learning_rate=0.0,
        max_steps=12,
        per_device_train_batch_size=8,
    )
    session = trainer._session
    rows = session.reweighter.rows
    encoder = trainer._encoder()  # that of training has left the model
    expected = encoder(trainer.model, session.data.subset(rows.tolist()))
    torch.testing.assert_close(session.reweighter.memory.read(rows), expected, rtol=1e-2, atol=1e-2)


@BOTH
def test_balanced_batches(tmp_path, preset):
    trained(tmp_path, train_sampling_strategy="batch_rebalance", max_steps=8, **preset)


@BOTH
def test_evaluation_on_start_and_several_sets(tmp_path, preset):
    """Evaluation before the first step needs no weights; every set is measured by the plain mean."""
    sets = {"near": toy_dataset((6, 3, 3), seed=5), "far": toy_dataset((3, 3, 3), seed=6)}
    evaluated = {"eval_on_start": True, "eval_strategy": "steps", "eval_steps": 2, "trainer_eval_dataset": sets}
    trainer = trained(tmp_path, **evaluated, **preset)
    for name in sets:  # the host drops the log of the evaluation before the start
        assert [row["step"] for row in history(trainer) if f"eval_{name}_loss" in row] == [2, 4]
    quiet = trained(tmp_path, **preset)
    check_same(trainer, quiet, rtol=0, atol=0)


def test_a_stream_is_refused(tmp_path):
    """An example without a number cannot keep a weight: refused before training, with the way out."""

    def rows():
        yield from toy_dataset()

    with pytest.raises((TypeError, ValueError), match="Expected train_dataset"):
        toy_trainer(tmp_path, data=IterableDataset.from_generator(rows), **RUN)
