"""How many steps fine-tuning takes: as many as the best baseline needs, by one rule, the same for every method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.quality.results import RESULTS, Row, read

CONVERGENCE_RESULTS = RESULTS.with_name("quality_convergence.json")
REGIME = "convergence"
#: Trained for so many steps, then for half as many again, until the best gains less than `LEAST_GAIN`.
FIRST_STEPS = 160
GROWTH = 1.5
LEAST_GAIN = 0.005
MOST_STEPS = 4000
BASELINES = ("cross_entropy", "logit_adjustment", "meta_in_training_logit_adjustment")


def ladder() -> list[int]:
    """The numbers of steps that are tried, in ascending order."""
    found = [FIRST_STEPS]
    while found[-1] * GROWTH <= MOST_STEPS:
        found.append(round(found[-1] * GROWTH))
    return found


def enough(best: Mapping[int, float]) -> int | None:
    """The smallest number of steps from which the next gains less than `LEAST_GAIN`; none if that is not known yet.

    Args:
        best: steps of the ladder -> the best baseline's score, on held-out training rows.
    """
    steps = [step for step in ladder() if step in best]
    for now, after in zip(steps, steps[1:], strict=False):
        if best[after] - best[now] < LEAST_GAIN:
            return now
    return steps[-1] if steps and steps[-1] == ladder()[-1] else None


def best_scores(rows: Sequence[Row], cell: str) -> dict[int, float]:
    """Steps -> the score of the baseline that is best there, mean over the seeds."""
    found: dict[int, dict[str, list[float]]] = {}
    for row in rows:
        if row["cell"] == cell:
            found.setdefault(row["steps"], {}).setdefault(row["method"], []).append(row["balanced_accuracy"])
    complete = {steps: of for steps, of in found.items() if set(of) >= set(BASELINES)}
    return {steps: max(float(np.mean(values)) for values in of.values()) for steps, of in complete.items()}


def steps_of(cell: str) -> int:
    """Steps of every method in a cell.

    Raises:
        ValueError: the rule has not been run to the end.
    """
    found = enough(best_scores(read(CONVERGENCE_RESULTS), cell))
    if found is None:
        raise ValueError(
            f"Expected runs of the baselines up to convergence for {cell} in {CONVERGENCE_RESULTS.name}, found too "
            "few. Run `python -m benchmarks.quality.fine_tuning --converge` first."
        )
    return found
