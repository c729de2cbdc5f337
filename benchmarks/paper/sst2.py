"""SST-2 with 20, 50 or 100 negative and 1,000 positive sentences: full fine-tuning of MiniLM.

The protocol is that of Hu et al. 2019 (https://arxiv.org/abs/1910.12795), which the paper follows, as far as the
data allow: 10 epochs in batches of 25, 10 + 10 clean meta examples. Their model is BERT-base, ours MiniLM (6 layers,
384 wide), whose learning rate is that of this project's comparison of methods, not chosen here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer, TrainingArguments, set_seed

from benchmarks.paper.job import Job, Row, work_folder
from benchmarks.paper.training import checkpoints, tested, train
from benchmarks.quality.problems import META_PER_CLASS, Cell, split_off, subset
from benchmarks.stepping.loops import L2RWTrainer
from hf_otw import OTWeightedTrainer, OTWeightedTrainingArguments
from recipes.catalogue.sources import SOURCES, minilm_path

PART = "sst2"
PROBLEMS = ("20-1000", "50-1000", "100-1000")
EPOCHS, BATCH_SIZE, LEARNING_RATE, WARMUP, MAX_TOKENS = 10, 25, 3e-4, 0.1, 48
SAVE_EVERY = 100  # steps

#: Arguments of `OTWeightedTrainer`.
METHODS: dict[str, dict[str, Any]] = {
    "plain": {"weighting": "none"},
    "class_weights": {"weighting": "inverse_frequency"},
    "default": {},
    "paper": {"preset": "paper"},
}
#: What the transport itself adds: the paper's two stages, effective-number weights and meta set without a step on the
#: weights, and the default without weights.
WITHOUT_TRANSPORT: dict[str, dict[str, Any]] = {
    "paper_without_transport": {"preset": "paper", "weighting_kwargs": {"lr": 0.0}},
    "logit_adjustment_meta": {"weighting": "uniform", "example_loss": "logit_adjusted", "meta_loss_coefficient": 0.1},
}
#: What of the paper's preset is changed one at a time.
ABLATION: dict[str, dict[str, Any]] = {
    "paper_feature_cost": {"preset": "paper", "cost": "feature"},
    "paper_label_cost": {"preset": "paper", "cost": "label"},
    "paper_whole_meta": {"preset": "paper", "target_points": "examples"},
    "paper_implicit": {"preset": "paper", "weighting": "net"},
}
ARGUMENTS = METHODS | WITHOUT_TRANSPORT | ABLATION
#: Second derivatives: a step costs about four times as much.
L2RW = "l2rw"


def jobs(seed: int) -> list[Job]:
    """The comparison without L2RW, which costs more than the rest together."""
    return [Job(PART, problem, method, seed) for problem in PROBLEMS for method in METHODS]


def l2rw_jobs(seed: int) -> list[Job]:
    """Learning to reweight."""
    return [Job(PART, problem, L2RW, seed) for problem in PROBLEMS]


def without_transport_jobs(seed: int) -> list[Job]:
    """The same losses without transport."""
    return [Job(PART, problem, method, seed) for problem in PROBLEMS for method in WITHOUT_TRANSPORT]


def ablation_jobs(seed: int) -> list[Job]:
    """The preset of the paper with one thing changed, on the problem in the middle."""
    return [Job(PART, PROBLEMS[1], method, seed) for method in ABLATION]


def run(job: Job, runs: Path) -> Row:
    """Train and test."""
    folder = work_folder(runs, job)
    train_rows, meta, test = draw(job.problem, job.seed)
    tokenizer = AutoTokenizer.from_pretrained(minilm_path())

    def encode(part: Dataset) -> Dataset:
        texts = part.map(lambda rows: tokenizer(rows["text"], truncation=True, max_length=MAX_TOKENS), batched=True)
        return texts.remove_columns("text")

    set_seed(job.seed)
    second_order = job.method == L2RW
    model = AutoModelForSequenceClassification.from_pretrained(
        minilm_path(),
        num_labels=2,
        attn_implementation="eager" if second_order else None,  # the fast one has no second derivative
    )
    shared: dict[str, Any] = {
        **checkpoints(folder, SAVE_EVERY),
        "num_train_epochs": EPOCHS,
        "per_device_train_batch_size": BATCH_SIZE,
        "per_device_eval_batch_size": 64,
        "learning_rate": LEARNING_RATE,
        "warmup_steps": WARMUP,
        "seed": job.seed,
        # Sentences of like length share a batch: half of the tokens would be padding otherwise.
        "train_sampling_strategy": "group_by_length",
    }
    encoded, meta_encoded = encode(train_rows), encode(meta)
    if second_order:
        batch = tokenizer.pad(meta_encoded.rename_column("label", "labels").to_dict(), return_tensors="pt")
        trainer: Any = L2RWTrainer(
            model,
            TrainingArguments(**shared),
            train_dataset=encoded,
            processing_class=tokenizer,
            meta_batch=dict(batch),
        )
    else:
        arguments = OTWeightedTrainingArguments(**shared, **ARGUMENTS[job.method])
        trainer = OTWeightedTrainer(
            model, arguments, train_dataset=encoded, meta_dataset=meta_encoded, processing_class=tokenizer
        )
    spent = train(trainer, folder)
    counts = np.bincount(train_rows["label"], minlength=2)
    unlabelled = encode(test).remove_columns("label")  # the second-order loss cannot be taken outside of training
    metrics = tested(trainer, unlabelled, np.array(test["label"]), counts)
    return {"metrics": metrics, **spent, "class_counts": counts.tolist(), "backbone": "MiniLM-L6 (all-MiniLM-L6-v2)"}


def draw(problem: str, seed: int) -> tuple[Dataset, Dataset, Dataset]:
    """Training rows, clean meta rows and the whole test split; the first two are disjoint."""
    data = SOURCES["sst2"]()
    labels, texts = np.array(data["train"]["label"]), np.array(data["train"]["text"], dtype=object)
    negative, positive = (int(count) for count in problem.split("-"))
    meta, rest = split_off(labels, META_PER_CLASS, np.random.default_rng(seed))
    rows = rest[subset(labels[rest], 2, Cell("sst2", counts=(negative, positive)), seed)]

    def part(chosen: np.ndarray) -> Dataset:
        return Dataset.from_dict({"text": texts[chosen].tolist(), "label": labels[chosen].tolist()})

    return part(rows), part(meta), data["test"]
