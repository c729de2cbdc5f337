"""The ways of training that are compared, each as a trainer that is ready to run."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import default_collate
from transformers import Trainer, TrainingArguments

from benchmarks.stepping.loops import L2RWTrainer, MetaWeightNetTrainer, ReferenceTrainer
from benchmarks.stepping.models import META_PER_CLASS, NUM_CLASSES, SETTINGS, RandomExamples
from hf_otw import OTWeightedTrainer, OTWeightedTrainingArguments

#: Weights are solved for before the second step, and not again: a solve is a figure of its own.
ONCE = {"weight_warmup": 1, "weight_refresh_steps": 0}
WITHOUT_META_TERM = {"meta_loss_coefficient": 0.0}
MODES: dict[str, dict[str, Any]] = {
    "uniform": {"weighting": "uniform"},
    "dataset": {"weighting": "closed_form", **ONCE, **WITHOUT_META_TERM},
    "dataset, mapped": {"weighting": "closed_form", "feature_memory": "mapped", **ONCE, **WITHOUT_META_TERM},
    "dataset, sharded": {"weighting": "closed_form", "feature_memory": "sharded", **ONCE, **WITHOUT_META_TERM},
    "default": {**ONCE, **WITHOUT_META_TERM},
    "default, meta term": {**ONCE},
    "batch": {"weighting": "closed_form", "weight_scope": "batch", **ONCE, **WITHOUT_META_TERM},
    "paper": {"preset": "paper", "weight_warmup": 1},
}
OTHERS = {"reference": ReferenceTrainer, "l2rw": L2RWTrainer, "meta_weight_net": MetaWeightNetTrainer}
NAMES = ("stock", *MODES, *OTHERS)
#: How the feature memory may be kept; the second is for several processes: see `benchmarks.stepping.memory`.
KEPT = {"replicated": "dataset", "sharded": "dataset, sharded", "mapped": "dataset, mapped"}
IN_STEPS = tuple(name for name in NAMES if name != KEPT["sharded"])
#: Attention that can be differentiated twice.
TWICE = ("l2rw", "meta_weight_net")


def be_quiet() -> None:
    """Random features say nothing about random labels, of which the library warns: once is enough to know."""
    logging.getLogger("hf_otw").setLevel(logging.ERROR)


def build(mode: str, model: str, *, examples: int, steps: int, folder: Path, **host: Any) -> Trainer:
    """A trainer of one way, with a model of its own; all start from the same parameters.

    Args:
        mode: a name of `NAMES`.
        model: a name of `SETTINGS`.
        examples: of the training set.
        steps: to train for.
        folder: for what a trainer writes.
        host: more `TrainingArguments`.
    """
    setting = SETTINGS[model]
    torch.manual_seed(0)
    net = setting.build("eager" if mode in TWICE else "sdpa")
    arguments = {
        "output_dir": str(folder),
        "max_steps": steps,
        "per_device_train_batch_size": setting.batch_size,
        "per_device_eval_batch_size": setting.batch_size,
        "learning_rate": 1e-5,
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    } | host
    data = {"train_dataset": RandomExamples(setting, examples, seed=0), "data_collator": default_collate}
    meta = RandomExamples(setting, META_PER_CLASS * NUM_CLASSES, seed=1)
    if mode == "stock":
        return Trainer(net, TrainingArguments(**arguments), **data)
    if mode in OTHERS:
        batch = default_collate([meta[i] for i in range(len(meta))])
        return OTHERS[mode](net, TrainingArguments(**arguments), meta_batch=batch, **data)
    return OTWeightedTrainer(net, OTWeightedTrainingArguments(**arguments, **MODES[mode]), meta_dataset=meta, **data)
