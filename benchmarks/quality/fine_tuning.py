"""Full fine-tuning of MiniLM, every method through the Trainer. One setting a method: a grid takes a GPU.

    python -m benchmarks.quality.fine_tuning                  # what is missing in the results file
    python -m benchmarks.quality.fine_tuning --methods default logit_adjustment --seeds 1
    python -m benchmarks.quality.fine_tuning --development    # variants of the default, on held-out training rows

All methods train for the same steps at the same learning rate. Meta-learning by second derivatives (learning to
reweight, Meta-Weight-Net) is not among them: a step takes three to four times as long.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from tqdm import tqdm

from benchmarks.quality.frozen import load
from benchmarks.quality.prepared import cleaned
from benchmarks.quality.problems import META_PER_CLASS, Cell, Problem, corrupt, split_off, subset
from benchmarks.quality.results import RESULTS, Row, describe, key, read, write
from benchmarks.quality.scores import scores
from benchmarks.quality.variants import DEVELOPMENT_RESULTS, FIRST_SEED, held_out_rows
from hf_otw import OTWeightedTrainer, OTWeightedTrainingArguments
from recipes.catalogue.sources import SOURCES, minilm_path

REGIME = "fine_tuning"
EPOCHS, BATCH_SIZE, LEARNING_RATE, MAX_TOKENS = 4, 32, 3e-4, 48
#: 500 * 50 ** (-rank / 5), TREC's rarest type the rarest here.
TREC_TAIL = (229, 500, 10, 105, 22, 48)
CELLS = (
    Cell("trec", counts=TREC_TAIL),
    Cell("trec", counts=TREC_TAIL, label_noise=0.4),
    Cell("trec", counts=TREC_TAIL, label_noise=0.4, noise_kind="similar"),
    Cell("sst2", counts=(50, 500)),
    Cell("sst2", counts=(100, 500), label_noise=0.2),
)


class Drawn(NamedTuple):
    """A cell's data: texts, labels as given, and row numbers of the pool."""

    train: Dataset
    meta: Dataset
    test: Dataset
    rows: np.ndarray
    num_classes: int


class FineTuned(NamedTuple):
    """A method: training arguments, what it does to the training set first, and what it does to the logits `(T, K)` in
    the end, given the training rows a class `(K,)`.
    """

    arguments: dict[str, Any]
    prepare: Callable[[Drawn, Cell, int], Drawn] = lambda drawn, cell, seed: drawn
    adjust: Callable[[Tensor, Tensor], Tensor] = lambda logits, counts: logits


def with_meta_rows(drawn: Drawn, cell: Cell, seed: int) -> Drawn:
    """Meta examples are training examples."""
    both = {name: [*drawn.train[name], *drawn.meta[name]] for name in ("text", "label")}
    return drawn._replace(train=Dataset.from_dict(both))


def with_cleaned_weights(drawn: Drawn, cell: Cell, seed: int) -> Drawn:
    """A column of 0 and 1 by confident learning on the pretrained features."""
    features = torch.from_numpy(load(cell.dataset).features[drawn.rows])
    labels = torch.tensor(drawn.train["label"])
    empty = torch.empty(0, dtype=torch.long)
    standardised = (features - features.mean(0)) / (features.std(0) + 1e-6)
    problem = Problem(standardised, labels, features, labels, features, labels, empty, drawn.num_classes)
    weights = cleaned(problem, seed).weights
    return drawn._replace(train=drawn.train.add_column("weight", weights.tolist()))


ADJUSTED = {"example_loss": "logit_adjusted"}
METHODS: dict[str, FineTuned] = {
    "cross_entropy": FineTuned({"weighting": "uniform"}),
    "logit_adjustment": FineTuned({"weighting": "uniform", **ADJUSTED}),
    "logit_adjustment_post_hoc": FineTuned(
        {"weighting": "uniform"}, adjust=lambda logits, counts: logits - counts.log()
    ),
    "logit_adjustment_meta_term": FineTuned({"weighting": "uniform", **ADJUSTED, "meta_loss_coefficient": 0.1}),
    "default": FineTuned({}),
    "meta_in_training_logit_adjustment": FineTuned({"weighting": "uniform", **ADJUSTED}, with_meta_rows),
    "confident_learning": FineTuned({"weighting": "column", **ADJUSTED}, with_cleaned_weights),
    "inverse_frequency": FineTuned({"weighting": "inverse_frequency"}),
    "focal": FineTuned({"weighting": "uniform", "example_loss": "focal"}),
    "effective_number": FineTuned({"weighting": "effective_number"}),
    "paper": FineTuned({"preset": "paper"}),
    "closed_form": FineTuned({"weighting": "closed_form", "target_mass": "class_prior"}),
}


#: Choices of the default, compared on held-out training rows.
VARIANTS: dict[str, FineTuned] = {
    "tau_1.5": FineTuned({"logit_adjustment_tau": 1.5}),
    "tau_2": FineTuned({"logit_adjustment_tau": 2.0}),
    "balanced_mass": FineTuned({"target_mass": "balanced"}),
}


class Job(NamedTuple):
    """One training run."""

    cell: Cell
    method: str
    seed: int
    development: bool = False


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cells", default="", help="run those whose name holds this")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS | VARIANTS))
    parser.add_argument("--processes", type=int, default=2, help="that run side by side, of a thread each")
    parser.add_argument("--development", action="store_true", help="variants, on held-out training rows")
    parser.add_argument("--results", type=Path)
    options = parser.parse_args()
    results = options.results or (DEVELOPMENT_RESULTS if options.development else RESULTS)
    rows = read(results)
    todo = jobs(options, {key(row) for row in rows})
    for name in {job.cell.dataset for job in todo}:
        load(name)
    versions = {name: metadata.version(name) for name in ("hf_otw", "torch", "transformers", "cleanlab")}
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for row in tqdm(pool.imap(run, todo), total=len(todo), unit="run"):
            rows.append(row)
            write(rows, versions, results)


def jobs(options: argparse.Namespace, done: set[tuple[str, str, str, int]]) -> list[Job]:
    """What is not done, the first seed of every cell first."""
    first = FIRST_SEED if options.development else 0
    methods = options.methods or (["default", *VARIANTS] if options.development else list(METHODS))
    return [
        Job(cell, method, seed, options.development)
        for seed in range(first, first + options.seeds)
        for cell in CELLS
        if options.cells in cell.name
        for method in methods
        if (REGIME, cell.name, method, seed) not in done
    ]


def run(job: Job) -> Row:
    """Train and test."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed
    from transformers.utils import logging

    torch.set_num_threads(1)
    logging.set_verbosity_error()
    method = (METHODS | VARIANTS)[job.method]
    drawn = method.prepare(draw(job.cell, job.seed, development=job.development), job.cell, job.seed)
    tokenizer = AutoTokenizer.from_pretrained(minilm_path())

    def encode(part: Dataset) -> Dataset:
        texts = part.map(lambda rows: tokenizer(rows["text"], truncation=True, max_length=MAX_TOKENS), batched=True)
        return texts.remove_columns("text")

    set_seed(job.seed)
    # In bfloat16 the plain attention is the fast one on a CPU.
    attention = "eager" if job.development else None
    model = AutoModelForSequenceClassification.from_pretrained(
        minilm_path(), num_labels=drawn.num_classes, attn_implementation=attention
    )
    with tempfile.TemporaryDirectory() as folder:
        args = OTWeightedTrainingArguments(
            output_dir=folder,
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=BATCH_SIZE,
            per_device_eval_batch_size=64,
            learning_rate=LEARNING_RATE,
            warmup_steps=0.1,
            seed=job.seed,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
            bf16=job.development,  # variants are compared with each other alone, in half the time
            **method.arguments,
        )
        trainer = OTWeightedTrainer(
            model, args, train_dataset=encode(drawn.train), meta_dataset=encode(drawn.meta), processing_class=tokenizer
        )
        started = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - started
        logits = torch.tensor(trainer.predict(encode(drawn.test)).predictions)
    labels = torch.tensor(drawn.test["label"])
    counts = torch.bincount(torch.tensor(drawn.train["label"]), minlength=drawn.num_classes)
    logits = method.adjust(logits, counts)
    found = {name: round(value, 4) for name, value in scores(logits, labels, labels, counts).items()}
    common = {"regime": REGIME, **describe(job.cell), "method": job.method, "seed": job.seed}
    return {**common, **found, "seconds": round(seconds, 1)}


def draw(cell: Cell, seed: int, *, development: bool = False) -> Drawn:
    """Long-tailed training set with its wrong labels, clean meta set, and the official test split; held-out training
    rows in its place for development.
    """
    data = SOURCES[cell.dataset]()
    labels, texts = np.array(data["train"]["label"]), np.array(data["train"]["text"], dtype=object)
    num_classes = int(labels.max()) + 1
    pool, held = held_out_rows(labels) if development else (np.arange(len(labels)), None)
    meta, rest = (pool[rows] for rows in split_off(labels[pool], META_PER_CLASS, np.random.default_rng(seed)))
    rows = rest[subset(labels[rest], num_classes, cell, seed)]
    given = corrupt(labels[rows], load(cell.dataset).features[rows], num_classes, cell, seed)

    def part(chosen: np.ndarray, classes: np.ndarray) -> Dataset:
        return Dataset.from_dict({"text": texts[chosen].tolist(), "label": classes.tolist()})

    test = data["test"] if held is None else part(held, labels[held])
    return Drawn(part(rows, given), part(meta, labels[meta]), test, rows, num_classes)


if __name__ == "__main__":
    main()
