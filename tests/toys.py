"""Toy models, data and arguments: built from configurations, no network, one layer, hidden size 16."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    Trainer,
)

from hf_otw import OTWeightedTrainer, OTWeightedTrainingArguments
from hf_otw.config.options import WEIGHTINGS
from hf_otw.config.settings import SHARED

# Matrices of 16 columns: a second thread costs thirty times what it saves where cores are shared. The Trainer collects
# garbage at every start, and half a second of it goes through what the imports above left.
torch.set_num_threads(1)
gc.freeze()

NUM_CLASSES, VOCABULARY, PAD = 3, 50, 0
SPREAD = 0.3  # with the usual 0.02 the features of 16 columns are equal up to rounding, and transport sees noise
COUNTS = (28, 14, 6)  # 48 examples, imbalanced

#: Plain weighted cross-entropy: what a test does not set, it must not depend on.
PLAIN = {
    "example_loss": "cross_entropy",
    "weight_scope": "dataset",
    "weight_warmup": 0.0,
    "meta_loss_coefficient": 0.0,
    "cost": "feature",
    "target_mass": "class_prior",
    "target_points": "prototypes",
    "standardize_features": True,
    "meta_examples_per_class": 2,
}
PLAIN_KWARGS = {"reg": 0.1, "steps": 3}


def bert(dropout: float = 0.0, **config: Any) -> BertForSequenceClassification:
    return BertForSequenceClassification(BertConfig(**_encoder(dropout), **config))


def roberta(dropout: float = 0.0) -> RobertaForSequenceClassification:
    return RobertaForSequenceClassification(RobertaConfig(**_encoder(dropout)))


def distilbert(dropout: float = 0.0) -> DistilBertForSequenceClassification:
    config = DistilBertConfig(
        vocab_size=VOCABULARY,
        dim=16,
        hidden_dim=16,
        n_layers=1,
        n_heads=2,
        max_position_embeddings=32,
        num_labels=NUM_CLASSES,
        pad_token_id=PAD,
        dropout=dropout,
        attention_dropout=dropout,
        seq_classif_dropout=dropout,
        initializer_range=SPREAD,
    )
    return DistilBertForSequenceClassification(config)


def deberta(dropout: float = 0.0) -> DebertaV2ForSequenceClassification:
    return DebertaV2ForSequenceClassification(DebertaV2Config(pooler_hidden_size=16, **_encoder(dropout)))


def modernbert(dropout: float = 0.0) -> ModernBertForSequenceClassification:
    config = ModernBertConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=32,
        num_labels=NUM_CLASSES,
        pad_token_id=PAD,
        cls_token_id=1,
        sep_token_id=2,
        bos_token_id=1,
        eos_token_id=2,
        attention_dropout=dropout,
        embedding_dropout=dropout,
        mlp_dropout=dropout,
        classifier_dropout=dropout,
        initializer_range=SPREAD,
        initializer_cutoff_factor=2.0,
    )
    return ModernBertForSequenceClassification(config)


def llama(dropout: float = 0.0) -> LlamaForSequenceClassification:
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=32,
        num_labels=NUM_CLASSES,
        pad_token_id=PAD,
        bos_token_id=1,
        eos_token_id=2,
        attention_dropout=dropout,
        initializer_range=SPREAD,
    )
    return LlamaForSequenceClassification(config)


MODELS = {
    "bert": bert,
    "roberta": roberta,
    "distilbert": distilbert,
    "deberta": deberta,
    "modernbert": modernbert,
    "llama": llama,
}


def _encoder(dropout: float) -> dict[str, Any]:
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_position_embeddings": 32,
        "num_labels": NUM_CLASSES,
        "pad_token_id": PAD,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
        "initializer_range": SPREAD,
    }


def model(name: str = "bert", *, seed: int = 0, dropout: float = 0.0) -> torch.nn.Module:
    """The same parameters for the same seed, and the global random state as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return MODELS[name](dropout)


def toy_dataset(counts: tuple[int, ...] = COUNTS, *, seed: int = 0, length: int | None = None) -> datasets.Dataset:
    """Token ids that tell the class, of varying length unless `length` is given; rows in random order, all
    distinct.
    """
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    ids, seen = [], set()
    for k in labels:
        while True:
            words = 5 + 10 * k + rng.integers(0, 12, size=length or rng.integers(3, 9))
            row = (1, *(int(w) for w in words))
            if row not in seen:
                break
        seen.add(row)
        ids.append(list(row))
    return datasets.Dataset.from_dict(
        {"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids], "label": labels.tolist()}
    )


def mislabelled(data: datasets.Dataset, every: int = 4) -> datasets.Dataset:
    """Each fourth label wrong: on right labels the default weighting leaves all weights at 1, which proves nothing."""
    return data.map(lambda row, i: {"label": (row["label"] + (i % every == 0)) % NUM_CLASSES}, with_indices=True)


def collate(items: list[dict[str, Any]], side: str = "right") -> dict[str, torch.Tensor]:
    """Pad; keep only the keys that the model takes."""
    length = max(len(item["input_ids"]) for item in items)

    def pad(values: Any, fill: int) -> list[int]:
        padding = [fill] * (length - len(values))
        values = [int(v) for v in values]
        return values + padding if side == "right" else padding + values

    batch = {
        "input_ids": torch.tensor([pad(item["input_ids"], PAD) for item in items]),
        "attention_mask": torch.tensor([pad(item["attention_mask"], 0) for item in items]),
    }
    name = next((name for name in ("label", "labels") if name in items[0]), None)
    if name is not None:
        batch["labels"] = torch.tensor([int(item[name]) for item in items])
    return batch


def host_args(tmp_path: Path, **kw: Any) -> dict[str, Any]:
    return {
        "output_dir": str(tmp_path),
        "max_steps": 4,
        "per_device_train_batch_size": 8,
        "per_device_eval_batch_size": 16,
        "learning_rate": 1e-2,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "use_cpu": True,
    } | kw


def plain_args(**kw: Any) -> dict[str, Any]:
    """`PLAIN` with the closed form over the data set, and what is given; without what the weighting does not read, and
    for the default weighting, which has its own target, without that of `PLAIN`.
    """
    weighting = kw.setdefault("weighting", "closed_form")
    option = WEIGHTINGS.get(weighting) or WEIGHTINGS["closed_form"]  # None: the weighting is an object
    idle = {name for name in SHARED if name not in option.uses}
    if weighting == "none":
        idle = set(PLAIN)
    elif weighting == "clean_posterior":
        idle |= {"target_points"}
    elif not option.needs_transport and not kw.get("meta_loss_coefficient"):
        idle |= {"meta_examples_per_class"}
    found = {name: value for name, value in PLAIN.items() if name not in idle} | kw
    if weighting is not None:
        kwargs = option.merged(kw.get("weighting_kwargs") or {}, PLAIN_KWARGS)
        found["weighting_kwargs"] = kwargs or None
    return found


def toy_args(tmp_path: Path, **kw: Any) -> OTWeightedTrainingArguments:
    """`PLAIN` with transport over the data set, unless told otherwise."""
    return OTWeightedTrainingArguments(**host_args(tmp_path, **plain_args(**kw)))


def toy_trainer(tmp_path: Path, *, net: Any = None, data: Any = None, **kw: Any) -> OTWeightedTrainer:
    """A trainer over toys; `trainer_*` keywords go to the trainer, the others to the arguments."""
    own = {name.removeprefix("trainer_"): kw.pop(name) for name in list(kw) if name.startswith("trainer_")}
    if "weighting" in own:
        kw["weighting"] = None
    if "cost" in own:
        kw["cost"] = None
    if "example_loss" in own:
        kw["example_loss"] = None
    return OTWeightedTrainer(
        model=model() if net is None else net,
        args=toy_args(tmp_path, **kw),
        train_dataset=toy_dataset() if data is None else data,
        **({"data_collator": collate} | own),
    )


def parameters(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in trainer.model.named_parameters()}


TIMES = ("runtime", "per_second", "milliseconds", "total_flos")


def history(trainer: Trainer, after: int = 0) -> list[dict[str, float]]:
    """The log without what a clock measured, from step `after` on (exclusive)."""
    return [
        {name: value for name, value in row.items() if not any(t in name for t in TIMES)}
        for row in trainer.state.log_history
        if row["step"] > after
    ]


def logged(trainer: Trainer, name: str) -> list[float]:
    found = [row[name] for row in trainer.state.log_history if name in row]
    assert found, f"nothing was logged under {name!r}: {json.dumps(trainer.state.log_history)[:500]}"
    return found


class Forwards:
    """Spies on the keywords of a model's forward passes."""

    def __init__(self, net: torch.nn.Module) -> None:
        self.calls: list[tuple[bool, frozenset[str]]] = []
        net.register_forward_pre_hook(
            lambda module, args, kwargs: self.calls.append((module.training, frozenset(kwargs))), with_kwargs=True
        )

    @property
    def names(self) -> set[str]:
        assert self.calls, "the model was never called"
        return set().union(*(names for _, names in self.calls))
