"""Figures of `hf-otw weights` and `hf-otw audit` on packaged texts with planted errors: benchmarks/results/files.json.

    python -m benchmarks.files               # what is missing in the results file
    python -m benchmarks.files --fresh       # all again

Tickets: eight groups of 20 Newsgroups, 500 to 20 rows each, 14.5 % wrong labels; a linear classifier over TF-IDF, with
the weights of the command's defaults. Audit: whole data sets with wrong labels, the command's defaults; what is
flagged, how much of it is wrong in truth and by estimate, and what a classifier gains by the cleaned copy. The test
rows chose no setting of the commands.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from hf_otw.audit.features import word_features
from hf_otw.audit.fix import SURE
from hf_otw.audit.judge import judge
from hf_otw.audit.weigh import weigh
from hf_otw.recipe.imbalance import uniform_noise
from recipes.catalogue.sources import SOURCES

RESULTS = Path(__file__).parent / "results" / "files.json"
QUEUES, LARGEST, SMALLEST, TICKET_NOISE = 8, 500, 20, 0.145
SEEDS = 3
#: Name of a data set, share of wrong labels, and whether each class is mistaken for the next one.
AUDITS = (
    ("newsgroups", 0.1, False),
    ("newsgroups", 0.2, True),
    ("newsgroups", 0.0, False),
    ("reuters_r8", 0.1, False),
    ("reuters_r8", 0.2, True),
)


def split_of(name: str, split: str) -> tuple[list[str], np.ndarray]:
    """Texts and labels."""
    rows = SOURCES[name]()[split]
    return rows["text"][:], np.array(rows["label"][:])


def tickets(seed: int) -> dict[str, float]:
    """Balanced accuracy of a linear classifier, per kind of weight."""
    rng = np.random.default_rng(seed)
    texts, labels = split_of("newsgroups", "train")
    test_texts, test_labels = split_of("newsgroups", "test")
    groups = rng.permutation(int(labels.max()) + 1)[:QUEUES]
    sizes = np.geomspace(LARGEST, SMALLEST, QUEUES).round().astype(int)
    rows = [rng.permutation(np.flatnonzero(labels == k))[:n] for k, n in zip(groups, sizes, strict=True)]
    clean = np.repeat(np.arange(QUEUES), [len(part) for part in rows])
    texts = [texts[row] for row in np.concatenate(rows)]
    given = uniform_noise(clean, QUEUES, TICKET_NOISE, seed=seed)
    number = {int(k): place for place, k in enumerate(groups)}
    held = [(text, number[int(k)]) for text, k in zip(test_texts, test_labels, strict=True) if int(k) in number]
    features, _ = word_features(texts)
    kinds: dict[str, np.ndarray | None] = {
        "plain": None,
        "class_weight=balanced": len(given) / (QUEUES * np.bincount(given, minlength=QUEUES)[given]),
        "weights (default)": weigh(features, given).weights,
        "weights --target-mass square_root": weigh(features, given, target_mass="square_root").weights,
        "weights --target-mass class_prior": weigh(features, given, target_mass="class_prior").weights,
    }
    counter = TfidfVectorizer(sublinear_tf=True)
    x, x_test = counter.fit_transform(texts), counter.transform([text for text, _ in held])
    truth = np.array([k for _, k in held])
    found = {}
    for name, weights in kinds.items():
        model = LogisticRegression(max_iter=1000).fit(x, given, sample_weight=weights)
        guess = model.predict(x_test)
        found[name] = round(float(balanced_accuracy_score(truth, guess)), 4)
        found[f"{name}: recall of the rarest"] = round(float((guess[truth == QUEUES - 1] == QUEUES - 1).mean()), 4)
    return found


def audited(name: str, rate: float, to_next: bool) -> dict[str, Any]:
    """What an audit flags, and what the cleaned copies are worth."""
    texts, labels = split_of(name, "train")
    test_texts, test_labels = split_of(name, "test")
    num_classes = int(labels.max()) + 1
    flipped = np.random.default_rng(0).random(len(labels)) < rate
    uniform = uniform_noise(labels, num_classes, rate, seed=0) if rate else labels
    given = np.where(flipped, (labels + 1) % num_classes, labels) if to_next else uniform
    wrong = given != labels
    started = time.perf_counter()
    features, _ = word_features(texts)
    found = judge(features, given)
    seconds = time.perf_counter() - started
    flagged = found.is_doubted
    sure = flagged & (found.probability >= SURE)
    counter = TfidfVectorizer(sublinear_tf=True)
    x, x_test = counter.fit_transform(texts), counter.transform(test_texts)

    def accuracy(rows: np.ndarray, targets: np.ndarray) -> float:
        model = LogisticRegression(max_iter=1000, C=10).fit(x[rows], targets[rows])
        return round(float(accuracy_score(test_labels, model.predict(x_test))), 4)

    everything = np.ones(len(labels), dtype=bool)
    return {
        "rows": len(labels),
        "wrong": int(wrong.sum()),
        "flagged": int(flagged.sum()),
        "precision": round(float(wrong[flagged].mean()), 4) if flagged.any() else None,
        "precision by estimate": round(found.precision, 4),
        "recall": round(float(flagged[wrong].mean()), 4) if wrong.any() else None,
        "rate": round(float(wrong.mean()), 4),
        "rate by estimate": round(found.rate, 4),
        "relabelled": int(sure.sum()),
        "relabelled rightly": round(float((found.suggested[sure] == labels[sure]).mean()), 4) if sure.any() else None,
        "test accuracy": accuracy(everything, given),
        "test accuracy, --how drop": accuracy(~flagged, given),
        "test accuracy, --how relabel": accuracy(everything, np.where(sure, found.suggested, given)),
        "test accuracy, true labels": accuracy(everything, labels),
        "seconds": round(seconds, 1),
    }


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fresh", action="store_true", help="run again what is in the results file")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    if RESULTS.is_file() and not options.fresh:
        found = json.loads(RESULTS.read_text(encoding="utf-8"))
    todo: dict[str, Callable[[], dict[str, Any]]] = {
        f"audit {name}, {rate:.0%} wrong{' (next class)' if to_next else ''}": partial(audited, name, rate, to_next)
        for name, rate, to_next in AUDITS
    } | {f"tickets, seed {seed}": partial(tickets, seed) for seed in range(SEEDS)}
    for name, run in todo.items():
        if name not in found:
            found[name] = run()
            print(name, json.dumps(found[name]), flush=True)
            RESULTS.write_text(json.dumps(dict(sorted(found.items())), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
