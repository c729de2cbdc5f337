"""Which labels are wrong? Weights as suspicion, against cleanlab, on labels that people or a program got wrong.

    python -m benchmarks.quality.audit                                  # what is missing in the results file
    python -m benchmarks.quality.audit --methods default --fresh        # again, of one method
    python -m benchmarks.quality.audit --cells trec --seeds 1

A method gives every training row a quality; low means suspected. The rows' true labels are known to the judge only.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import NearestNeighbors
from tqdm import tqdm

from benchmarks.quality.cells import TREC_TAIL, human_cells
from benchmarks.quality.frozen import load
from benchmarks.quality.problems import Cell, Problem, draw
from benchmarks.quality.results import Row, describe, key, read, write
from hf_otw import learn_weights
from hf_otw.audit.weigh import doubts

RESULTS = Path(__file__).parents[1] / "results" / "label_audit.json"
REGIME = "label_audit"
BASES = (
    Cell("trec", counts=TREC_TAIL),
    Cell("trec"),
    Cell("reuters_r8"),
    Cell("fashion_mnist", 100),
    Cell("sst2", counts=(100, 1000)),
    Cell("rotten_tomatoes"),
    Cell("emoji_names"),
)
NOISES = ((0.2, "uniform"), (0.4, "uniform"), (0.2, "similar"), (0.4, "similar"))
FOLDS = 5
#: From strong to weak regularisation; the search stops where held-out log-loss rises.
INVERSE_PENALTIES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
SOLVER_ITERATIONS = 100
NEIGHBOURS = 20

Qualities = dict[str, np.ndarray]


def by_transport(method: str, **options: Any) -> Callable[[Problem, int], Qualities]:
    """The weights of `learn_weights`; the features are standardised already."""

    def scorer(problem: Problem, seed: int) -> Qualities:
        found = learn_weights(
            problem.features,
            problem.labels,
            problem.meta_features,
            problem.meta_labels,
            standardize_features=False,
            **options,
        )
        return {method: found.weights.double().numpy()}

    return scorer


def by_neighbours(problem: Problem, seed: int) -> Qualities:
    """Share of the nearest rows, by cosine, that have the row's own label."""
    unit = torch.nn.functional.normalize(problem.features, dim=1).numpy()
    count = min(NEIGHBOURS, len(unit) - 1)
    index = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(unit)
    nearest = index.kneighbors(return_distance=False)  # (n, count), without the row itself
    labels = problem.labels.numpy()
    return {"nearest_neighbours": (labels[nearest] == labels[:, None]).mean(1)}


def by_cleanlab(suffix: str, with_meta: bool) -> Callable[[Problem, int], Qualities]:
    """Cleanlab's scores of out-of-fold probabilities, which may or may not come from meta examples too."""

    def scorer(problem: Problem, seed: int) -> Qualities:
        from cleanlab.rank import get_label_quality_scores

        labels, probabilities = problem.labels.numpy(), held_out_probabilities(problem, seed, with_meta)
        margin = {"method": "normalized_margin"}
        return {
            f"{name}{suffix}": get_label_quality_scores(labels, probabilities, **options)
            for name, options in (
                ("cleanlab_self_confidence", {"method": "self_confidence"}),
                ("cleanlab_margin", margin),
                ("cleanlab_adjusted_margin", margin | {"adjust_pred_probs": True}),
            )
        }

    return scorer


def held_out_probabilities(problem: Problem, seed: int, with_meta: bool) -> np.ndarray:
    """Class probabilities `(n, K)` of logistic regressions that have not seen the row, in five folds.

    The strength of regularisation has the smallest log-loss on the held-out rows, with the labels as they are given.
    It is a single number: using the same folds twice flatters the probabilities, and cleanlab with them, by little.
    """
    x, labels = problem.features.double().numpy(), problem.labels.numpy()
    extra = (problem.meta_features.double().numpy(), problem.meta_labels.numpy())
    if not with_meta:
        extra = (extra[0][:0], extra[1][:0])
    models = [LogisticRegression(max_iter=SOLVER_ITERATIONS, warm_start=True, tol=1e-3) for _ in range(FOLDS)]
    best, least = np.empty(0), np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the cap is meant
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)  # it is in some folds only
        folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(x, labels))
        for C in INVERSE_PENALTIES:
            found = np.zeros((len(labels), problem.num_classes))
            for model, (seen, held) in zip(models, folds, strict=True):
                model.set_params(C=C)
                model.fit(np.concatenate([x[seen], extra[0]]), np.concatenate([labels[seen], extra[1]]))
                found[np.ix_(held, model.classes_)] = model.predict_proba(x[held])
            loss = log_loss(labels, found, labels=np.arange(problem.num_classes))
            if loss >= least:
                break
            best, least = found, loss
    return best


CLEANLAB = tuple(f"cleanlab_{name}" for name in ("self_confidence", "margin", "adjusted_margin"))
CLEANLAB_WITH_META = tuple(f"{name}_with_meta" for name in CLEANLAB)
#: Names of the methods that share their work -> their qualities.
SCORERS: dict[tuple[str, ...], Callable[[Problem, int], Qualities]] = {
    ("default",): by_transport("default", weighting=doubts()),
    ("closed_form",): by_transport(
        "closed_form", weighting="closed_form", target_points="prototypes", target_mass="class_prior"
    ),
    ("agreement",): by_transport("agreement", weighting="agreement"),
    ("nearest_neighbours",): by_neighbours,
    CLEANLAB: by_cleanlab("", with_meta=False),
    CLEANLAB_WITH_META: by_cleanlab("_with_meta", with_meta=True),
}
METHODS = tuple(name for names in SCORERS for name in names)


def cells() -> list[Cell]:
    """The data sets, with each kind of noise; labels that people got wrong first."""
    made = [base._replace(label_noise=rate, noise_kind=kind) for base in BASES for rate, kind in NOISES]
    return [*human_cells(), *made]


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cells", default="", help="run those whose name holds this")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--fresh", action="store_true", help="run again what is in the results file")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = [cell for cell in cells() if options.cells in cell.name]
    todo = [(cell, seed) for seed in range(options.seeds) for cell in chosen]
    asked = {
        (REGIME, cell.name, method, seed) for cell, seed in todo for method in with_siblings(tuple(options.methods))
    }
    rows = [row for row in read(options.results) if not (options.fresh and key(row) in asked)]
    asked -= {key(row) for row in rows}
    versions = {name: metadata.version(name) for name in ("hf_otw", "torch", "scikit-learn", "cleanlab")}
    for cell, seed in tqdm(todo, unit="problem"):
        missing = tuple(method for method in METHODS if (REGIME, cell.name, method, seed) in asked)
        if missing:
            rows += audit(cell, seed, missing)
            write(rows, versions, options.results)
    print(f"{len(rows)} rows in {options.results}")


def with_siblings(methods: tuple[str, ...]) -> tuple[str, ...]:
    """The methods, and those that come with them at no cost."""
    return tuple(name for names in SCORERS if set(names) & set(methods) for name in names)


def audit(cell: Cell, seed: int, methods: tuple[str, ...]) -> list[Row]:
    """Rows of some methods on one drawing of a cell."""
    problem, wrong = draw_audited(cell, seed)
    found = []
    for names, scorer in SCORERS.items():
        if not set(names) & set(methods):
            continue
        started = time.perf_counter()
        qualities = scorer(problem, seed)
        seconds = round(time.perf_counter() - started, 2)
        for method in names:
            if method in methods:
                scores = judge(qualities[method], wrong)
                common = {"regime": REGIME, **describe(cell), "method": method, "seed": seed}
                found.append({**common, **scores, "seconds": seconds})
    return found


def draw_audited(cell: Cell, seed: int) -> tuple[Problem, np.ndarray]:
    """A cell's problem, and which of its training labels are wrong, `(n,)`."""
    problem = draw(load(cell.dataset), cell, seed)
    return problem, (problem.labels != problem.true_labels).numpy()


def judge(quality: np.ndarray, wrong: np.ndarray) -> dict[str, float]:
    """Area under the ROC curve of low quality for wrong labels, and precision at the true number of errors.

    Args:
        quality: `(n,)`, low where a label is suspected.
        wrong: `(n,)`, whether it is wrong.
    """
    return {
        "auc": round(float(roc_auc_score(wrong, -quality)), 4),
        "precision_at_errors": round(precision_at(quality, wrong, int(wrong.sum())), 4),
    }


def precision_at(quality: np.ndarray, wrong: np.ndarray, count: int) -> float:
    """Share of wrong labels among the `count` rows of lowest quality, in expectation over the order of ties."""
    limit = np.partition(quality, count - 1)[count - 1]
    below, tied = quality < limit, quality == limit
    return float((wrong[below].sum() + (count - below.sum()) * wrong[tied].mean()) / count)


if __name__ == "__main__":
    main()
