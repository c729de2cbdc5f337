"""Full fine-tuning of MiniLM, every method through the Trainer, for as many steps as the best baseline needs.

    python -m benchmarks.quality.fine_tuning --converge       # how many steps each cell takes
    python -m benchmarks.quality.fine_tuning                  # what is missing in the results file
    python -m benchmarks.quality.fine_tuning --methods default logit_adjustment --seeds 1
    python -m benchmarks.quality.fine_tuning --development    # variants of the default, on held-out training rows
    python -m benchmarks.quality.fine_tuning --steps 4 --results runs/tuned-smoke.json --cells sst2 --seeds 1

One setting a method: a grid takes a GPU. Meta-learning by second derivatives (learning to reweight, Meta-Weight-Net)
is not among them: a step takes three to four times as long. Nor is SelfMix, whose mixup is inside the model.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from tqdm import tqdm

from benchmarks.quality.convergence import BASELINES, CONVERGENCE_RESULTS, best_scores, enough, ladder, steps_of
from benchmarks.quality.convergence import REGIME as CONVERGENCE
from benchmarks.quality.development import DEVELOPMENT_RESULTS, FIRST_SEED, held_out_rows
from benchmarks.quality.frozen import load
from benchmarks.quality.human_noise import NEWS_NOISE, noisy_ag_news
from benchmarks.quality.prepared import cleaned
from benchmarks.quality.problems import META_PER_CLASS, Cell, corrupt, keep_every_class, split_off, subset
from benchmarks.quality.results import RESULTS, Row, describe, key, read, write
from benchmarks.quality.scores import scores
from benchmarks.quality.tuned_methods import (
    CONTINUED_STEPS,
    METHODS,
    VARIANTS,
    Corrected,
    Drawn,
    channel_of,
    meta_rows_alone,
    problem_of,
)
from hf_otw import OTWeightedTrainer, OTWeightedTrainingArguments
from recipes.catalogue.sources import SOURCES, minilm_path

REGIME = "fine_tuning"
BATCH_SIZE, LEARNING_RATE, MAX_TOKENS = 32, 3e-4, 48
#: 500 * 50 ** (-rank / 5), TREC's rarest type the rarest here.
TREC_TAIL = (229, 500, 10, 105, 22, 48)
NEWS_TAIL = (600, 221, 81, 30)
CELLS = (
    Cell("trec", counts=TREC_TAIL),
    Cell("trec", counts=TREC_TAIL, label_noise=0.4),
    Cell("trec", counts=TREC_TAIL, label_noise=0.4, noise_kind="similar"),
    Cell("sst2", counts=(50, 500)),
    Cell("sst2", counts=(100, 500), label_noise=0.2),
    Cell("emoji", label_noise=0.4),
    Cell("noisy_ag_news", counts=(500,) * 4, label_noise=NEWS_NOISE, noise_kind="human"),
    Cell("noisy_ag_news", counts=NEWS_TAIL, label_noise=NEWS_NOISE, noise_kind="human"),
)
#: Where the frozen features of a data set have another name.
FROZEN_NAMES = {"emoji": "emoji_names"}


class Texts(NamedTuple):
    """A data set. Shape: labels `(N,)`, true; given `(N,)`, as people gave them, or None; test_labels `(T,)`."""

    texts: np.ndarray
    labels: np.ndarray
    test_texts: list[str]
    test_labels: list[int]
    given: np.ndarray | None = None


class Job(NamedTuple):
    """One training run; `steps` of 0: as many as the rule says."""

    cell: Cell
    method: str
    seed: int
    development: bool = False
    steps: int = 0


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cells", default="", help="run those whose name holds this")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS | VARIANTS))
    parser.add_argument("--processes", type=int, default=2, help="that run side by side, of a thread each")
    parser.add_argument("--steps", type=int, default=0, help="in place of what the rule of convergence says")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--development", action="store_true", help="variants, on held-out training rows")
    which.add_argument("--converge", action="store_true", help="find the number of steps, on held-out training rows")
    parser.add_argument("--results", type=Path)
    options = parser.parse_args()
    if options.converge:
        converge(options)
        return
    results = options.results or (DEVELOPMENT_RESULTS if options.development else RESULTS)
    run_all(jobs(options, {key(row) for row in read(results)}), options.processes, results)


def run_all(todo: list[Job], processes: int, results: Path, more: Row | None = None) -> None:
    """Run jobs and write each row, with more columns if there are any, when it is there."""
    for name in {job.cell.dataset for job in todo}:
        load(FROZEN_NAMES.get(name, name))
    versions = {name: metadata.version(name) for name in ("hf_otw", "torch", "transformers", "cleanlab")}
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for row in tqdm(pool.imap(run, todo), total=len(todo), unit="run"):
            write([row | (more or {})], versions, results)


def converge(options: argparse.Namespace) -> None:
    """Train the baselines longer and longer, on held-out training rows, until the rule says that it is enough."""
    results = options.results or CONVERGENCE_RESULTS
    for cell in CELLS:
        if options.cells not in cell.name:
            continue
        for steps in ladder():
            if enough(best_scores(read(results), cell.name)) is not None:
                break
            done = {(row["cell"], row["method"], row["steps"]) for row in read(results)}
            todo = [
                Job(cell, method, FIRST_SEED, development=True, steps=steps)
                for method in BASELINES
                if (cell.name, method, steps) not in done
            ]
            run_all(todo, options.processes, results, {"regime": f"{CONVERGENCE}_{steps}"})


def jobs(options: argparse.Namespace, done: set[tuple[str, str, str, int]]) -> list[Job]:
    """What is not done, the first seed of every cell first."""
    first = FIRST_SEED if options.development else 0
    methods = options.methods or (["default", *VARIANTS] if options.development else list(METHODS))
    return [
        Job(cell, method, seed, options.development, options.steps or steps_of(cell.name))
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
    drawn = draw(job.cell, job.seed, development=job.development)
    tokenizer = AutoTokenizer.from_pretrained(minilm_path())

    def fresh() -> Any:
        set_seed(job.seed)
        return AutoModelForSequenceClassification.from_pretrained(minilm_path(), num_labels=drawn.num_classes)

    runner = Runner(job, drawn, tokenizer)
    started = time.perf_counter()
    weights = None
    if method.weigh is not None:
        weights = method.weigh(runner.problem(fresh() if method.weigh is cleaned else None), job.seed).weights
    prepared = method.prepare(drawn)
    if weights is not None:
        prepared = prepared._replace(train=prepared.train.add_column("weight", weights.tolist()))
    example_loss = None
    if method.corrected:
        answers = runner.predict(runner.train(fresh(), drawn.train, {"weighting": "uniform"}, job.steps), drawn.meta)
        example_loss = Corrected(channel_of(answers.softmax(1), torch.tensor(drawn.meta["label"]), drawn.num_classes))
    trainer = runner.train(fresh(), prepared.train, method.arguments, job.steps, example_loss)
    if method.continued:
        meta = meta_rows_alone(drawn).train
        trainer = runner.train(trainer.model, meta, {"weighting": "uniform"}, CONTINUED_STEPS)
    seconds = time.perf_counter() - started
    counts = torch.bincount(torch.tensor(prepared.train["label"]), minlength=drawn.num_classes)
    logits = method.adjust(runner.predict(trainer, drawn.test), counts)
    labels = torch.tensor(drawn.test["label"])
    found = {name: round(value, 4) for name, value in scores(logits, labels, labels, counts).items()}
    common = {"regime": REGIME, **describe(job.cell), "method": job.method, "seed": job.seed}
    return {**common, "steps": job.steps, **found, "seconds": round(seconds, 1)}


class Runner(NamedTuple):
    """Trains and predicts on one drawing of a cell."""

    job: Job
    drawn: Drawn
    tokenizer: Any

    def encode(self, part: Dataset) -> Dataset:
        """Token numbers in place of texts."""
        texts = part.map(
            lambda rows: self.tokenizer(rows["text"], truncation=True, max_length=MAX_TOKENS), batched=True
        )
        return texts.remove_columns("text")

    def train(
        self, model: Any, train: Dataset, arguments: dict[str, Any], steps: int, example_loss: Any = None
    ) -> OTWeightedTrainer:
        """A trainer that has trained."""
        with tempfile.TemporaryDirectory() as folder:
            args = OTWeightedTrainingArguments(
                output_dir=folder,
                max_steps=steps,
                per_device_train_batch_size=BATCH_SIZE,
                per_device_eval_batch_size=64,
                learning_rate=LEARNING_RATE,
                warmup_steps=0.1,
                seed=self.job.seed,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                use_cpu=not torch.cuda.is_available(),
                **arguments,
            )
            trainer = OTWeightedTrainer(
                model,
                args,
                train_dataset=self.encode(train),
                meta_dataset=self.encode(self.drawn.meta),
                processing_class=self.tokenizer,
                example_loss=example_loss,
            )
            trainer.train()
        return trainer

    def predict(self, trainer: OTWeightedTrainer, part: Dataset) -> Tensor:
        """Logits of some texts, `(T, K)`."""
        return torch.tensor(trainer.predict(self.encode(part)).predictions)

    def problem(self, model: Any | None) -> Any:
        """The training rows as a problem of heads, by features after an epoch; without a model there are none."""
        train, meta = self.drawn.train, self.drawn.meta
        if model is None:
            return problem_of(torch.randn(len(train), 2), torch.randn(len(meta), 2), self.drawn)
        epoch = -(-len(train) // BATCH_SIZE)
        trainer = self.train(model, train, {"weighting": "uniform", "example_loss": "logit_adjusted"}, epoch)
        model.config.output_hidden_states = True
        found = [pooled(trainer, self.encode(part)) for part in (train, meta)]
        return problem_of(*found, self.drawn)


@torch.no_grad()
def pooled(trainer: OTWeightedTrainer, part: Dataset) -> Tensor:
    """Mean of the last hidden states over the tokens of each text, `(n, D)`."""
    found = []
    model = trainer.model.eval()
    for batch in trainer.get_test_dataloader(part):
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        mask = inputs["attention_mask"][..., None]
        hidden = model(**inputs).hidden_states[-1]
        found.append(((hidden * mask).sum(1) / mask.sum(1)).float().cpu())
    return torch.cat(found)


def texts_of(name: str) -> Texts:
    """A data set's texts."""
    if name == "noisy_ag_news":
        news = noisy_ag_news()
        return Texts(
            np.array(news.texts, dtype=object), news.labels, news.test_texts, news.test_labels.tolist(), news.given
        )
    data = SOURCES[name]()
    texts = np.array(data["train"]["text"], dtype=object)
    return Texts(texts, np.array(data["train"]["label"]), list(data["test"]["text"]), list(data["test"]["label"]))


def draw(cell: Cell, seed: int, *, development: bool = False) -> Drawn:
    """Long-tailed training set with its wrong labels, clean meta set, and the official test split; held-out training
    rows in its place for development.
    """
    data = texts_of(cell.dataset)
    labels, texts = data.labels, data.texts
    num_classes = int(labels.max()) + 1
    pool, held = held_out_rows(labels) if development else (np.arange(len(labels)), None)
    meta, rest = (pool[rows] for rows in split_off(labels[pool], META_PER_CLASS, np.random.default_rng(seed)))
    rows = rest[subset(labels[rest], num_classes, cell, seed)]
    if data.given is not None and cell.noise_kind == "human":
        given = keep_every_class(labels[rows], data.given[rows].copy())
    else:
        features = load(FROZEN_NAMES.get(cell.dataset, cell.dataset)).features
        given = corrupt(labels[rows], features[rows], num_classes, cell, seed)

    def part(chosen: np.ndarray, classes: np.ndarray) -> Dataset:
        return Dataset.from_dict({"text": texts[chosen].tolist(), "label": classes.tolist()})

    test = Dataset.from_dict({"text": data.test_texts, "label": data.test_labels})
    if held is not None:
        test = part(held, labels[held])
    return Drawn(part(rows, given), part(meta, labels[meta]), test, rows, num_classes, labels[rows])


if __name__ == "__main__":
    main()
