"""Why `preset="default"` is what it is: MiniLM fine-tuned on long-tailed TREC, clean and with wrong labels.

TREC question types, subsampled to 1000..20 training examples a class (imbalance factor 50), 10 clean meta examples a
class. Tested on
*training* questions that were left over, never on the test split: this is where settings are chosen. Every run appends
    a row to the
results file, and rows that are there are not run again, so the command can be stopped and started.

    python -m benchmarks.default_preset --data FOLDER_WITH_trec-train.jsonl --seeds 3
    python -m benchmarks.default_preset --table
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed
from transformers.utils import logging as transformers_logging

from hf_otw import OTWeightedTrainer, OTWeightedTrainingArguments
from hf_otw.metrics import make_compute_metrics
from recipes.sources import minilm_path

RESULTS = Path(__file__).parent / "results" / "default_preset.json"
COUNTS = (457, 1000, 20, 209, 44, 96)  # 1000 * 50 ** (-rank / 5), the rarest class of TREC being the rarest here
META_PER_CLASS, HELD_OUT_PER_CLASS = 10, 150
EPOCHS, BATCH_SIZE, LEARNING_RATE, MAX_TOKENS = 4, 32, 5e-4, 32
ADJUSTED = {"example_loss": "logit_adjusted"}
METHODS: dict[str, dict[str, Any]] = {
    "cross_entropy": {"weighting": "uniform"},
    "logit_adjustment": {"weighting": "uniform", **ADJUSTED},
    "default": {"preset": "default"},
    "fixed_strength": {"preset": "default", "reg": 0.1},
    "fixed_strength_without_meta_term": {"preset": "default", "reg": 0.1, "meta_loss_coefficient": 0.0},
    "logit_adjustment_and_meta_term": {"weighting": "uniform", **ADJUSTED, "meta_loss_coefficient": 0.1},
    "own_class": {"preset": "default", "weighting": "own_class"},
    "agreement": {"preset": "default", "weighting": "agreement"},
    "closed_form": {"preset": "default", "weighting": "closed_form", "cost": "combined"},
}


def main() -> None:
    """Run what is missing, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/text"), help="folder with trec-train.jsonl")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.0, 0.3])
    parser.add_argument("--methods", nargs="+", default=["logit_adjustment", "default"], choices=list(METHODS))
    parser.add_argument("--learning-rate", type=float, default=LEARNING_RATE)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print the table of the results that are there")
    options = parser.parse_args()
    rows = json.loads(options.results.read_text()) if options.results.exists() else []
    if options.table:
        print(table(rows))
        return
    transformers_logging.set_verbosity_error()
    for seed in range(options.seeds):
        for noise in options.noise:
            for method in options.methods:
                key = {"method": method, "noise": noise, "seed": seed, "learning_rate": options.learning_rate}
                if any(key.items() <= row.items() for row in rows):
                    continue
                rows.append({**key, **run(method, noise, seed, options)})
                options.results.write_text(json.dumps(rows, indent=1) + "\n")
                print(rows[-1], flush=True)
    print(table(rows))


def run(method: str, noise: float, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Train and test one method."""
    train, meta, held_out, wrong = make_data(options.data, noise, seed)
    path = minilm_path()
    tokenizer = AutoTokenizer.from_pretrained(path)

    def encode(part: Dataset) -> Dataset:
        texts = part.map(lambda rows: tokenizer(rows["text"], truncation=True, max_length=MAX_TOKENS), batched=True)
        return texts.remove_columns("text")

    set_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(path, num_labels=len(COUNTS))
    with tempfile.TemporaryDirectory() as folder:
        args = OTWeightedTrainingArguments(
            output_dir=folder,
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=BATCH_SIZE,
            per_device_eval_batch_size=64,
            learning_rate=options.learning_rate,
            warmup_steps=0.1,
            seed=seed,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=torch.cuda.is_available(),
            **METHODS[method],
        )
        trainer = OTWeightedTrainer(
            model=model,
            args=args,
            train_dataset=encode(train),
            eval_dataset=encode(held_out),
            processing_class=tokenizer,
            compute_metrics=make_compute_metrics(list(COUNTS), per_class=True),
            meta_dataset=encode(meta),
        )
        started = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - started
        found = trainer.evaluate()
    weights = trainer.weights.weights.numpy()
    row = {
        name: found[f"eval_{name}"]
        for name in ("balanced_accuracy", "accuracy", "macro_f1", "few_shot", "medium_shot")
        if f"eval_{name}" in found
    }
    row["weight_of_wrong_labels"] = float(weights[wrong].mean()) if wrong.any() else None
    return {**row, "weight_of_right_labels": float(weights[~wrong].mean()), "seconds": round(seconds, 1)}


def make_data(folder: Path, noise: float, seed: int) -> tuple[Dataset, Dataset, Dataset, np.ndarray]:
    """Long-tailed training set, meta set, held-out set, and which training labels are wrong."""
    file = folder / "trec-train.jsonl"
    if not file.exists():
        raise SystemExit(
            f"Expected {file} with one {{'text': ..., 'label': 0..5}} a line (TREC, 5,452 questions). Set --data."
        )
    items = [json.loads(line) for line in file.read_text().splitlines()]
    unique = list({item["text"]: item for item in items}.values())
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(unique))
    labels = np.array([unique[i]["label"] for i in order])
    parts: dict[str, list[int]] = {"train": [], "meta": [], "held_out": []}
    for k, count in enumerate(COUNTS):
        own = order[labels == k]
        parts["meta"] += own[:META_PER_CLASS].tolist()
        parts["train"] += own[META_PER_CLASS : META_PER_CLASS + count].tolist()
        parts["held_out"] += own[META_PER_CLASS + count :][:HELD_OUT_PER_CLASS].tolist()
    train, meta, held_out = (
        {"text": [unique[i]["text"] for i in part], "label": [unique[i]["label"] for i in part]}
        for part in parts.values()
    )
    given = np.array(train["label"])
    flipped = np.where(rng.random(len(given)) < noise, rng.integers(0, len(COUNTS), len(given)), given)
    train["label"] = flipped.tolist()
    return Dataset.from_dict(train), Dataset.from_dict(meta), Dataset.from_dict(held_out), flipped != given


def table(rows: list[dict[str, Any]]) -> str:
    """Mean and standard deviation over seeds, in per cent, of held-out balanced accuracy and accuracy."""
    cells = defaultdict(list)
    for row in rows:
        cells[row["method"], row["noise"], row["learning_rate"]].append(row)
    lines = [f"{'method':32}{'noise':>6}{'lr':>9}{'seeds':>6}{'balanced acc.':>16}{'accuracy':>16}{'w wrong':>9}"]
    for (method, noise, rate), found in sorted(cells.items(), key=lambda cell: (cell[0][1], cell[0][2], cell[0][0])):
        shown = [
            f"{100 * statistics.fmean(r[m] for r in found):.1f} ±{100 * _spread([r[m] for r in found]):.1f}"
            for m in ("balanced_accuracy", "accuracy")
        ]
        wrong = [row["weight_of_wrong_labels"] for row in found if row["weight_of_wrong_labels"] is not None]
        mean_wrong = f"{statistics.fmean(wrong):.2f}" if wrong else "-"
        lines.append(f"{method:32}{noise:>6}{rate:>9}{len(found):>6}{shown[0]:>16}{shown[1]:>16}{mean_wrong:>9}")
    return "\n".join(lines)


def _spread(values: list[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


if __name__ == "__main__":
    main()
