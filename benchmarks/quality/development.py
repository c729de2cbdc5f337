"""What the default might have been: choices compared on held-out *training* rows, never on a test split.

    python -m benchmarks.quality.development          # what is missing in benchmarks/results/quality_development.json

A choice here is how the posterior that a label is right becomes a weight, and how the meta rows are used. The
posterior of a problem is computed once, and the heads of all choices, each with every penalty, are trained together.
The score of a choice is that of its best penalty on the held-out rows, whose true labels are known: it favours all
choices alike.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from benchmarks.quality.cells import human_cells
from benchmarks.quality.frozen import load
from benchmarks.quality.head import Head, train_heads
from benchmarks.quality.judge import joined
from benchmarks.quality.method import META_BATCH
from benchmarks.quality.problems import Cell, Frozen, Problem, draw
from benchmarks.quality.results import RESULTS, Row, describe, key, read, write
from benchmarks.quality.scores import balanced_accuracy
from hf_otw.types import Measure
from hf_otw.weighting import CleanPosterior
from hf_otw.weighting.models.trust import trust_of, with_least_share

DEVELOPMENT_RESULTS = RESULTS.with_name("quality_development.json")
REGIME = "development"
PENALTIES = (1e-2, 1e-1, 0.3, 1.0, 3.0)
HELD_OUT = 0.3
MOST_HELD_OUT = 4000
#: The first seeds belong to the comparison itself.
FIRST_SEED = 100
#: Tail of TREC out of what is left when rows are held out.
TREC_TAIL = (319, 700, 14, 146, 30, 67)
NOISES = ((0.0, "uniform"), (0.4, "uniform"), (0.4, "similar"))
TINY = 1e-9


class Seen(NamedTuple):
    """What a choice of weights may use.

    Shape:
        - posterior: `(n,)`, that the label is right; labels: `(n,)`; wrong: `(n,)` bool, for the oracle alone.
    """

    posterior: Tensor
    labels: Tensor
    wrong: Tensor
    num_classes: int


class Choice(NamedTuple):
    """Trust in the rows `(n,)`, the coefficient of the meta term, and whether meta rows are training rows too."""

    trust: Callable[[Seen], Tensor]
    coefficient: float = 0.1
    meta_rows: bool = False


def favoured(benefit: float) -> Callable[[Seen], Tensor]:
    """The posterior with some log-odds added."""
    return lambda seen: trust_of(seen.posterior, benefit)


def nobody_doubted(seen: Seen) -> Tensor:
    """Every label is taken for right."""
    return torch.ones_like(seen.posterior)


def all_known(seen: Seen) -> Tensor:
    """Wrong labels are known."""
    return (~seen.wrong).float().clamp_min(1e-3)


def halved_log_odds(seen: Seen) -> Tensor:
    """A temperature of 2 on the posterior."""
    return torch.logit(seen.posterior, eps=1e-6).div(2).sigmoid()


def quarter_is_sure(seen: Seen) -> Tensor:
    """Trust is 1 from a posterior of 1/4 on, and falls in a line below."""
    return (4 * seen.posterior).clamp(0.02, 1)


def favoured_with_least_share(seen: Seen) -> Tensor:
    """Two added to the log-odds, and at least a third of each class."""
    return with_least_share(trust_of(seen.posterior, 2.0), seen.labels, seen.num_classes)[0]


CHOICES: dict[str, Choice] = {
    "no_doubts": Choice(nobody_doubted),
    "posterior": Choice(favoured(0.0)),
    "log_odds_plus_1": Choice(favoured(1.0)),
    "log_odds_plus_2": Choice(favoured(2.0)),
    "log_odds_plus_3": Choice(favoured(3.0)),
    "log_odds_plus_4": Choice(favoured(4.0)),
    "log_odds_plus_2_least_share": Choice(favoured_with_least_share),
    "log_odds_halved": Choice(halved_log_odds),
    "sure_from_a_quarter": Choice(quarter_is_sure),
    "no_doubts_meta_rows": Choice(nobody_doubted, 0.0, meta_rows=True),
    "log_odds_plus_2_meta_rows": Choice(favoured(2.0), 0.0, meta_rows=True),
    "log_odds_plus_2_meta_rows_and_term": Choice(favoured(2.0), 0.1, meta_rows=True),
    "oracle": Choice(all_known),
    "oracle_meta_rows": Choice(all_known, 0.0, meta_rows=True),
}


def development_cells() -> list[Cell]:
    """Labels that people got wrong, labels as they are, and with four in ten made wrong."""
    bases = [
        Cell("trec", counts=TREC_TAIL),
        Cell("fashion_mnist", 100),
        Cell("sst2", counts=(100, 1000)),
        Cell("emoji_names"),
        Cell("trec"),
    ]
    made = [base._replace(label_noise=rate, noise_kind=kind) for base in bases for rate, kind in NOISES]
    few = [base._replace(label_noise=0.15) for base in (bases[0], bases[3], bases[4])]
    meta = [bases[0]._replace(meta=meta, label_noise=0.4) for meta in ("split", "noisy")]
    return [*human_cells(), *made, *few, *meta]


def development(data: Frozen) -> Frozen:
    """Training rows in place of the test split, at most a third of each class, and the others to train on."""
    rest, test = held_out_rows(data.labels)
    given = None if data.given is None else data.given[rest]
    return Frozen(data.features[rest], data.labels[rest], data.features[test], data.labels[test], given)


def held_out_rows(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the training rows that stay, and of those that are held out."""
    rng = torch.Generator().manual_seed(12345)
    classes = torch.from_numpy(labels)
    held = torch.zeros(len(classes), dtype=torch.bool)
    for k in classes.unique():
        own = (classes == k).nonzero().flatten()
        own = own[torch.randperm(len(own), generator=rng)]
        held[own[: int(HELD_OUT * len(own))]] = True
    test = held.nonzero().flatten()
    test = test[torch.randperm(len(test), generator=rng)[:MOST_HELD_OUT]]
    return (~held).nonzero().flatten().numpy(), test.numpy()


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--cells", nargs="+", default=[""], help="run those whose name holds one of these")
    parser.add_argument("--results", type=Path, default=DEVELOPMENT_RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = [cell for cell in development_cells() if any(part in cell.name for part in options.cells)]
    todo = [(cell, seed) for seed in range(FIRST_SEED, FIRST_SEED + options.seeds) for cell in chosen]
    done = {key(row) for row in read(options.results)}
    versions = {name: metadata.version(name) for name in ("hf_otw", "torch")}
    for cell, seed in tqdm(todo, unit="problem"):
        if any((REGIME, cell.name, name, seed) not in done for name in CHOICES):
            problem = draw(development(load(cell.dataset)), cell, seed)
            write(rows_of(problem, cell, seed), versions, options.results)


def rows_of(problem: Problem, cell: Cell, seed: int) -> list[Row]:
    """A row a choice."""
    posterior = posterior_of(problem)
    wrong = problem.labels != problem.true_labels
    facts = {
        "noise_rate": round(float(wrong.float().mean()), 4),
        "doubt_of_right_rows": round(float(1 - posterior[~wrong].mean()), 4),
        "doubt_of_wrong_rows": round(float(1 - posterior[wrong].mean()), 4) if wrong.any() else None,
    }
    found = train_all(problem, Seen(posterior, problem.labels, wrong, problem.num_classes), seed)
    common = {"regime": REGIME, **describe(cell), "seed": seed, **facts}
    return [
        {**common, "method": name, "balanced_accuracy": max(scores), "by_penalty": scores}
        for name, scores in zip(CHOICES, found, strict=True)
    ]


def posterior_of(problem: Problem) -> Tensor:
    """That each label is right, `(n,)`."""
    n, m = len(problem.labels), len(problem.meta_labels)
    source = Measure(problem.features, problem.labels, torch.full((n,), 1 / n))
    target = Measure(problem.meta_features, problem.meta_labels, torch.full((m,), 1 / m))
    return 1 - CleanPosterior._doubt(source, target, problem.num_classes).float()


def train_all(problem: Problem, seen: Seen, seed: int) -> list[list[float]]:
    """Scores of each choice with each penalty."""
    both, meta_count = joined(problem), len(problem.meta_labels)
    parts = [row_weights(both, choice, choice.trust(seen), meta_count) for choice in CHOICES.values()]
    weights, log_prior = (torch.stack(part).repeat_interleave(len(PENALTIES), 0) for part in zip(*parts, strict=True))
    coefficients = torch.tensor([choice.coefficient for choice in CHOICES.values()]).repeat_interleave(len(PENALTIES))
    generator = torch.Generator().manual_seed(seed)

    def objective(heads: Head, rows: Tensor, step: int) -> Tensor:
        logits = heads(both.features[rows]) + log_prior[:, None]
        labels = both.labels[rows].expand(logits.shape[:2])
        losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape)
        drawn = torch.randperm(meta_count, generator=generator)[:META_BATCH]
        answers = heads(problem.meta_features[drawn]).log_softmax(-1)
        own = answers[:, torch.arange(len(drawn)), problem.meta_labels[drawn]]
        return (weights[:, rows] * losses).mean(1) - coefficients * own.mean(1)

    heads = train_heads(both, objective, PENALTIES * len(CHOICES), seed=seed)
    scores = [round(balanced_accuracy(head(problem.test_features), problem.test_labels), 4) for head in heads]
    return np.array(scores).reshape(len(CHOICES), len(PENALTIES)).tolist()


def row_weights(both: Problem, choice: Choice, trust: Tensor, meta_count: int) -> tuple[Tensor, Tensor]:
    """Weights of training and meta rows `(n + m,)`, classes scaled to the square root of their total, and the log of
    the prior that they leave `(K,)`. Meta rows that are not trained on have no weight.
    """
    trust = torch.cat([trust, torch.full((meta_count,), float(choice.meta_rows))])
    totals = torch.zeros(both.num_classes).index_add_(0, both.labels, trust)
    prior = totals.sqrt() / totals.sqrt().sum()
    weights = trust * (prior / totals.clamp_min(TINY))[both.labels]
    trained = len(trust) if choice.meta_rows else len(trust) - meta_count
    return weights / weights.sum() * trained, prior.clamp_min(TINY).log()


if __name__ == "__main__":
    main()
