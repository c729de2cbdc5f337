"""Scripts whose run is what differs: precision, saving, resuming, searching, what comes after training."""

from __future__ import annotations

import copy
import functools
import io
import tempfile
import warnings
from typing import Any

import datasets
import numpy as np
import torch
from torch import Tensor, nn
from transformers import EarlyStoppingCallback, T5Config, T5ForConditionalGeneration, Trainer

from tests.host_programs.losses import class_weighted, class_weighted_value, focal_value
from tests.host_programs.models import Focal, texts
from tests.host_programs.script import Script, bert, cross_entropy, table


def pickled(stock: Trainer, ours: Trainer) -> None:
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in ours.model.modules()]
    assert sum(hooks) == 0
    torch.save(ours.model, io.BytesIO())
    copy.deepcopy(ours.model)


def quantised(stock: Trainer, ours: Trainer) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = torch.ao.quantization.quantize_dynamic(ours.model, {nn.Linear}, dtype=torch.qint8)
    assert small(input_ids=torch.ones(1, 6, dtype=torch.long)).logits.isfinite().all()


def accuracy(prediction: Any) -> dict[str, float]:
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


def same_metrics(stock: Trainer, ours: Trainer) -> None:
    ours.model.load_state_dict(stock.model.state_dict())
    a, b = stock.evaluate(), ours.evaluate()
    assert a["eval_accuracy"] == b["eval_accuracy"]
    assert abs(a["eval_loss"] - b["eval_loss"]) < 1e-5
    np.testing.assert_allclose(
        stock.predict(table()).predictions, ours.predict(table()).predictions, rtol=1e-5, atol=1e-6
    )
    unlabelled = table().remove_columns("labels")
    np.testing.assert_allclose(
        stock.predict(unlabelled).predictions, ours.predict(unlabelled).predictions, rtol=1e-5, atol=1e-6
    )


def t5() -> nn.Module:
    config = T5Config(
        vocab_size=40,
        d_model=16,
        d_kv=8,
        d_ff=16,
        num_layers=1,
        num_heads=2,
        dropout_rate=0.0,
        pad_token_id=0,
        decoder_start_token_id=0,
    )
    return T5ForConditionalGeneration(config)


def bf16_value(script: Script, net: nn.Module, items: list[Any], weights: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return cross_entropy(script, net, items, weights)


def set_another_training_set(trainer: Trainer) -> None:
    """Replaced after the trainer was made."""
    trainer.train_dataset = table()


def resumes(stock: Trainer, ours: Trainer) -> None:
    """A run of two steps, saved at each, goes on from the first as if it had not stopped."""
    extra = {"save_strategy": "steps", "save_steps": 1, "max_steps": 2, "output_dir": tempfile.mkdtemp()}
    script = Script()
    whole = script.trainer(type(ours), args={**script.step, **extra})
    whole.train()
    again = script.trainer(type(ours), args={**script.step, **extra})
    again.train(resume_from_checkpoint=f"{extra['output_dir']}/checkpoint-1")
    for a, b in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)


def searched(stock: Trainer, ours: Trainer) -> None:
    ours.args.max_steps, ours.args.num_train_epochs = 2, 1
    best = ours.hyperparameter_search(
        lambda trial: {"learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2)},
        n_trials=2,
        backend="optuna",
        compute_objective=lambda metrics: metrics["eval_loss"],
    )
    assert np.isfinite(best.objective)


def made_anew() -> dict[str, Any]:
    def model_init() -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return bert()

    return {"model_init": model_init, "eval_dataset": table()}


def own_optimizer(base: type) -> type:
    class Derived(base):
        def create_optimizer(self, *args, **kwargs):
            if self.optimizer is None:
                self.optimizer = torch.optim.SGD(self.model.parameters(), lr=self.args.learning_rate)
            return self.optimizer

    return Derived


def of_many_lengths() -> datasets.Dataset:
    return table(input_ids=lambda row: row["input_ids"][: 3 + sum(row["input_ids"]) % 4])


def pad(items: list[Any]) -> dict[str, Tensor]:
    width = max(len(item["input_ids"]) for item in items)
    ids = [list(item["input_ids"]) for item in items]
    return {
        "input_ids": torch.tensor([row + [0] * (width - len(row)) for row in ids]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids]),
        "labels": torch.tensor([int(item["labels"]) for item in items]),
    }


def focal_bf16_value(script: Script, net: nn.Module, items: list[Any], weights: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return focal_value(script, net, items, weights)


@functools.cache
def first_of_grouped() -> list[int]:
    """Rows of the first batch of the stock trainer, which the sampler draws at random."""
    known = [tuple(row) for row in of_many_lengths()["input_ids"]]
    seen: list[list[int]] = []

    def record(items: list[Any]) -> dict[str, Tensor]:
        seen.append([known.index(tuple(item["input_ids"])) for item in items])
        return pad(items)

    args = {"train_sampling_strategy": "group_by_length"}
    script = Script(data=of_many_lengths, collate=record, args=args)
    script.stock()
    return seen[0]


EVALUATES = {
    "eval_strategy": "steps",
    "eval_steps": 1,
    "save_strategy": "steps",
    "save_steps": 1,
    "load_best_model_at_end": True,
    "metric_for_best_model": "eval_loss",
}

SCRIPTS = {
    "gradient accumulation": Script(
        args={"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}, stock_off_by=1 / 4
    ),
    "pickled after training": Script(after=pickled),
    "quantised after training": Script(after=quantised),
    "metrics and predictions": Script(
        keywords=lambda: {"eval_dataset": table((8, 8, 8)), "compute_metrics": accuracy}, after=same_metrics
    ),
    "two evaluation sets": Script(
        keywords=lambda: {"eval_dataset": {"a": table((4, 4, 4)), "b": table((9, 2, 2))}},
        args={"eval_strategy": "steps", "eval_steps": 1},
    ),
    "early stopping": Script(
        args=EVALUATES,
        keywords=lambda: {"eval_dataset": table((4, 4, 4)), "callbacks": [EarlyStoppingCallback(3)]},
    ),
    "resumed": Script(after=resumes),
    "hyper-parameter search": Script(keywords=made_anew, after=searched),
    "bf16": Script(args={"bf16": True}, value=bf16_value, tolerance=3e-3),
    "focal loss in forward, bf16": Script(
        loss=None, model=Focal, args={"bf16": True}, value=focal_bf16_value, tolerance=5e-3
    ),
    "class weights, super not called, compiled": Script(
        subclass=class_weighted,
        value=class_weighted_value,
        args={"torch_compile": True, "torch_compile_backend": "eager"},
    ),
    "compiled": Script(args={"torch_compile": True, "torch_compile_backend": "eager"}),
    "gradient checkpointing": Script(args={"activation_checkpointing": True}),
    "grouped by length": Script(
        data=of_many_lengths,
        collate=pad,
        args={"train_sampling_strategy": "group_by_length"},
        first=first_of_grouped,
    ),
    "sequence to sequence": Script(model=t5, data=texts, loss="cross_entropy", options={"group_column": "group"}),
    "training set replaced before training": Script(prepare=set_another_training_set),
    "NEFTune": Script(args={"neftune_noise_alpha": 1e-9}),
    "own optimizer": Script(subclass=own_optimizer),
    "batch size found by halving": Script(args={"auto_find_batch_size": True}),
}
