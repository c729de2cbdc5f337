"""A training script as people write it for the stock Trainer, and what its first step must do to the parameters.

A `Script` is built twice, once over `Trainer` and once over `OTWeightedTrainer`; nothing else differs. Its first step
is one of plain SGD with a learning rate of 1, so that what a parameter loses is its gradient. The right gradient is
written by hand: that of the weighted mean of the rows' own losses.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import datasets
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainingArguments,
    default_data_collator,
)

from hf_otw import OTWeightedTrainer, OTWeightedTrainingArguments
from hf_otw.types import Weights
from hf_otw.weighting import WeightModel

BATCH, SIZE, LENGTH = 8, 16, 6
COUNTS = (20, 12, 8)
BERT = {
    "vocab_size": 40,
    "hidden_size": SIZE,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 32,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.3,
}


def bert(num_labels: int = 3, **config: Any) -> nn.Module:
    return BertForSequenceClassification(BertConfig(**BERT, num_labels=num_labels, **config))


def rows(counts: Sequence[int] = COUNTS) -> list[dict[str, Any]]:
    """Distinct rows in random order; the first token tells the class."""
    rng = np.random.default_rng(0)
    made = [
        {"input_ids": [3 + k, *rng.integers(10, 40, LENGTH - 1).tolist()], "labels": k}
        for k, n in enumerate(counts)
        for _ in range(n)
    ]
    return [made[i] for i in rng.permutation(len(made))]


def table(counts: Sequence[int] = COUNTS, **columns: Callable[[dict[str, Any]], Any]) -> datasets.Dataset:
    """`rows` as a data set; a column that is named is computed from each row, and replaces one of that name."""
    return datasets.Dataset.from_list(
        [row | {name: make(row) for name, make in columns.items()} for row in rows(counts)]
    )


def known_weights(n: int) -> Tensor:
    """A weight for each row, mean 1, no two neighbours alike."""
    w = 0.2 + (torch.arange(n) * 7 % 10) / 5
    return w / w.mean()


class Known(WeightModel):
    """Serves `known_weights`, or ones."""

    needs_transport = False

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.known = weights

    def forward(self, index: Tensor, source: Any, target: Any, cost: Any) -> Weights:
        one = torch.ones(())
        return Weights(self.known[index], one, one, one * 0)


def own_loss(net: nn.Module, batch: Mapping[str, Any]) -> Tensor:
    """What the model itself returns for its labels."""
    outputs = net(**batch)
    return outputs["loss"] if isinstance(outputs, dict) else outputs[0]


def mean_of_own_losses(script: Script, net: nn.Module, items: list[Any], weights: Tensor) -> Tensor:
    """The weighted mean of the losses that the model returns for each row alone."""
    return torch.stack(
        [own_loss(net, script.collate([item])) * w for item, w in zip(items, weights, strict=True)]
    ).mean()


@dataclass(frozen=True)
class Script:
    """What a user wrote.

    Attributes:
        model, data: made anew for each run; `data` is the training set.
        collate: the user's.
        args, keywords: of `TrainingArguments` and of `Trainer`; `keywords` is called, so that objects are made anew.
        subclass: what the user derived from the trainer's class.
        value: `(script, model, items, weights (n,)) -> ()`, the right loss of the first step.
        first: row numbers of the first step, or a function that finds them out; the first ones by default.
        options: of the weighting, in all runs.
        loss: the example loss that is the stock one, in the runs whose gradients are compared.
        stock_off_by: what the stock gradient has to be multiplied by to be right, where the host's is known to be
            wrong (https://github.com/huggingface/transformers/issues/47688); None: not compared.
        prepare: called with each trainer before it is trained.
        after: `(stock trainer, weighted trainer)`, both trained for the first step with weights of one: asserts.
        refused: part of the reason, for what cannot be weighted.
        tolerance: of gradients, absolute.
    """

    model: Callable[[], Any] = bert
    data: Callable[[], Any] = table
    collate: Callable[[list[Any]], Any] = default_data_collator
    args: Mapping[str, Any] = field(default_factory=dict)
    keywords: Callable[[], Mapping[str, Any]] = dict
    subclass: Callable[[type], type] = lambda base: base
    value: Callable[[Script, nn.Module, list[Any], Tensor], Tensor] = mean_of_own_losses
    first: Sequence[int] | Callable[[], Sequence[int]] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    loss: str | None = "cross_entropy"
    stock_off_by: float | None = 1.0
    prepare: Callable[[Trainer], Any] = lambda trainer: None
    after: Callable[[Trainer, Trainer], None] | None = None
    refused: str | None = None
    tolerance: float = 2e-6

    def net(self) -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return self.model()

    def trainer(self, base: type[Trainer], *, args: Mapping[str, Any], **keywords: Any) -> Trainer:
        common = {
            "output_dir": tempfile.mkdtemp(),
            "per_device_train_batch_size": BATCH,
            "train_sampling_strategy": "sequential",
            "report_to": "none",
            "save_strategy": "no",
            "logging_steps": 1,
            "use_cpu": True,
            "disable_tqdm": True,
            "dataloader_pin_memory": False,
        }
        made = OTWeightedTrainingArguments if issubclass(base, OTWeightedTrainer) else TrainingArguments
        # The user's own come last: what they set is part of the script.
        given = made(**{**common, **args, **self.args, **(self.options if made is not TrainingArguments else {})})
        given_data = {"train_dataset": self.data(), "data_collator": self.collate}
        own = self.keywords()
        net = None if "model_init" in own else self.net()
        trainer = self.subclass(base)(net, given, **{**given_data, **own, **keywords})
        self.prepare(trainer)
        return trainer

    @property
    def step(self) -> dict[str, Any]:
        """One step whose change of the parameters is the gradient."""
        return {
            "max_steps": 1,
            "optim": "sgd",
            "learning_rate": 1.0,
            "max_grad_norm": 0.0,
            "lr_scheduler_type": "constant",
        }

    @property
    def rows_of_first_step(self) -> list[int]:
        if self.first is not None:
            return list(self.first() if callable(self.first) else self.first)
        size = self.args.get("per_device_train_batch_size", BATCH) * self.args.get("gradient_accumulation_steps", 1)
        return list(range(size))

    def stock(self) -> tuple[Trainer, dict[str, Tensor]]:
        """The stock trainer and the gradient of its first step."""
        trainer = self.trainer(Trainer, args=self.step)
        return trainer, gradient(trainer)

    def weighted(self, weights: Tensor) -> tuple[OTWeightedTrainer, dict[str, Tensor]]:
        """Ours with known weights, and the gradient of its first step."""
        options = {"weight_warmup": 0.0, "meta_loss_coefficient": 0.0, "example_loss": self.loss}
        model = Known(weights)
        trainer = self.trainer(OTWeightedTrainer, args={**self.step, **options}, weighting=model)
        return trainer, gradient(trainer)

    def by_hand(self, weights: Tensor) -> dict[str, Tensor]:
        """The right gradient of the first step."""
        net, data = self.net(), self.data()
        net.train()
        chosen = self.rows_of_first_step
        self.value(self, net, [data[i] for i in chosen], weights[chosen]).backward()
        return {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in net.named_parameters()}

    def default(self) -> OTWeightedTrainer:
        """Ours with all defaults, trained to the end."""
        trainer = self.trainer(OTWeightedTrainer, args={"num_train_epochs": 2, "learning_rate": 1e-3})
        trainer.train()
        return trainer


def gradient(trainer: Trainer) -> dict[str, Tensor]:
    """Train for one step and return what each parameter lost."""
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    trainer.train()
    after = dict(trainer.model.named_parameters())
    return {name: p - after[name].detach() for name, p in before.items()}


def assert_equal_gradients(
    found: Mapping[str, Tensor], right: Mapping[str, Tensor], *, what: str, tolerance: float
) -> None:
    """Name by name, with the wrappers' prefixes left out, as far as both have them."""
    for name, value in right.items():
        torch.testing.assert_close(
            found[name], value, rtol=1e-4, atol=tolerance, msg=lambda text, name=name: f"{what}, {name}: {text}"
        )


def cross_entropy(script: Script, net: nn.Module, items: list[Any], weights: Tensor) -> Tensor:
    """The weighted mean of the cross-entropies."""
    batch = dict(script.collate(items))
    labels = batch.pop("labels").long().view(-1)
    outputs = net(**batch)
    logits = outputs["logits"] if isinstance(outputs, dict) else outputs[-1]
    return (F.cross_entropy(logits, labels, reduction="none") * weights).mean()
