"""What the default might have been: choices that were compared on held-out training rows, never on a test split.

python -m benchmarks.quality.run --development      # writes benchmarks/results/quality_development.json
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from unittest import mock

import numpy as np
import torch

from benchmarks.quality.cells import FASHION_KINDS
from benchmarks.quality.method import Method
from benchmarks.quality.methods import METHODS, adjusted
from benchmarks.quality.prepared import Prepared, transport, weighted
from benchmarks.quality.problems import Cell, Frozen, Problem
from benchmarks.quality.results import RESULTS
from hf_otw.weighting import CleanPosterior
from hf_otw.weighting.models import clean_posterior, gaussians
from hf_otw.weighting.target import square_root_mass

DEVELOPMENT_RESULTS = RESULTS.with_name("quality_development.json")
HELD_OUT = 0.3
MOST_HELD_OUT = 4000
#: The first seeds belong to the comparison itself.
FIRST_SEED = 100
#: Tail of TREC out of what is left when rows are held out.
TREC_TAIL = (319, 700, 14, 146, 30, 67)
NOISES = ((0.0, "uniform"), (0.4, "uniform"), (0.4, "similar"))


def development_cells() -> list[Cell]:
    """Clean, and with four labels in ten wrong."""
    bases = [
        Cell("trec", counts=TREC_TAIL),
        Cell("fashion_mnist", 100),
        Cell("sst2", counts=(100, 1000)),
        *(Cell(name) for name in ("emoji_names", "reuters_r8", "rotten_tomatoes", "spam_assassin", "trec")),
    ]
    noisy = [base._replace(label_noise=rate, noise_kind=kind) for base in bases for rate, kind in NOISES]
    return [
        *noisy,
        Cell("sst2", counts=(20, 1000)),
        Cell("fashion_mnist", 200),
        Cell("fashion_mnist", 100, merged=FASHION_KINDS),
        *(bases[0]._replace(meta=meta, label_noise=0.4) for meta in ("split", "noisy")),
    ]


def development(data: Frozen) -> Frozen:
    """Training rows in place of the test split, at most a third of each class, and the others to train on."""
    rest, test = held_out_rows(data.labels)
    return Frozen(data.features[rest], data.labels[rest], data.features[test], data.labels[test])


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


def with_meta_rows(problem: Problem, seed: int, *, prepare: Callable[[Problem, int], Prepared]) -> Prepared:
    """The meta examples too, each with the weight of a row that is surely right."""
    weights = prepare(problem, seed).weights
    both = problem._replace(
        features=torch.cat([problem.features, problem.meta_features]),
        labels=torch.cat([problem.labels, problem.meta_labels]),
    )
    return weighted(both, torch.cat([weights, weights.max().expand(len(problem.meta_labels))]))


def with_one_covariance(problem: Problem, seed: int) -> Prepared:
    """The posterior under Gaussians that differ in their means alone."""
    with mock.patch.object(gaussians, "MOST_COVARIANCES", 0):
        return _posterior()(problem, seed)


def with_own_covariances(problem: Problem, seed: int) -> Prepared:
    """The posterior under a covariance a class from the first round on."""
    with mock.patch.object(clean_posterior, "COMMON_ROUNDS", 0):
        return _posterior()(problem, seed)


def _default(coefficient: float, prepare: Callable[[Problem, int], Prepared]) -> Method:
    return Method(prepare=prepare, example_loss=adjusted, meta_coefficient=lambda setting: coefficient)


def _posterior(target_mass: str = "square_root") -> Callable[[Problem, int], Prepared]:
    return transport(weighting="clean_posterior", target_mass=target_mass)


VARIANTS: dict[str, Method] = {
    "class_prior_mass": _default(0.1, _posterior("class_prior")),
    "balanced_mass": _default(0.1, _posterior("balanced")),
    "without_meta_term": _default(0.0, _posterior()),
    "meta_term_0.3": _default(0.3, _posterior()),
    "meta_term_1": _default(1.0, _posterior()),
    "meta_rows_in_training": _default(0.1, partial(with_meta_rows, prepare=_posterior())),
    "meta_rows_in_its_place": _default(0.0, partial(with_meta_rows, prepare=_posterior())),
    "one_covariance": _default(0.1, with_one_covariance),
    "own_covariances": _default(0.1, with_own_covariances),
    "always_believed": _default(0.1, transport(weighting=CleanPosterior(class_mass=square_root_mass, beliefs=(1.0,)))),
    "agreement": _default(0.1, transport(weighting="agreement")),
}
#: What the variants stand beside.
BESIDE = ("default", "logit_adjustment", "logit_adjustment_meta_term", "inverse_frequency", "closed_form")


def development_methods() -> dict[str, Method]:
    """Variants, and what they stand beside."""
    return {name: METHODS[name] for name in BESIDE} | VARIANTS
