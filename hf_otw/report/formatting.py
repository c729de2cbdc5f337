"""Format results as words and table rows, and the citation, for the report and the model card."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

PAPER_URL = "https://huggingface.co/papers/2208.02951"

BIBTEX = """\
@inproceedings{guo2022learning,
    title     = {Learning to Re-weight Examples with Optimal Transport for Imbalanced Classification},
    author    = {Guo, Dandan and Li, Zhuo and Zheng, Meixi and Zhao, He and Zhou, Mingyuan and Zha, Hongyuan},
    booktitle = {Advances in Neural Information Processing Systems},
    volume    = {35},
    year      = {2022},
    url       = {https://arxiv.org/abs/2208.02951}
}"""

# name -> (label, meaning), in the order of every table. All of them are fractions in [0, 1].
METRICS = {
    "balanced_accuracy": ("Balanced accuracy", "mean recall of the classes: each class counts the same"),
    "accuracy": ("Accuracy", "share of test examples that are right: large classes dominate"),
    "macro_f1": ("Macro F1", "mean F1 of the classes: also counts false alarms"),
    "many_shot": ("Many-shot accuracy", "mean recall of classes with more than 100 training examples"),
    "medium_shot": ("Medium-shot accuracy", "mean recall of classes with 20 to 100 training examples"),
    "few_shot": ("Few-shot accuracy", "mean recall of classes with fewer than 20 training examples"),
}

MISSING = "–"


class Summary(NamedTuple):
    """Mean and spread of one metric over seeds; `mean` is NaN when nothing was measured, `std` below two seeds."""

    mean: float
    std: float
    seeds: int


class MetricRow(NamedTuple):
    """One line of the table of results, ready to print; `trend` judges the difference against its own spread."""

    name: str
    label: str
    meaning: str
    plain: str
    ot: str
    difference: str
    trend: Literal["better", "worse", "even", "unknown"]


def summarise(values: Sequence[float] | None) -> Summary:
    """Return mean and sample standard deviation of the finite values, one a seed."""
    finite = [float(value) for value in values or () if math.isfinite(value)]
    mean = statistics.fmean(finite) if finite else math.nan
    return Summary(mean, statistics.stdev(finite) if len(finite) > 1 else math.nan, len(finite))


def check_metrics(metrics: Mapping[str, Sequence[float]] | None, name: str) -> None:
    """Check that the known metrics are fractions.

    Raises:
        ValueError: a known metric outside [0, 1], as percentages are.
    """
    for metric, values in (metrics or {}).items():
        if metric in METRICS:
            check_fractions(values, f"{name}[{metric!r}]")


def check_fractions(values: Sequence[float] | None, name: str) -> None:
    """Check that values lie in [0, 1]; NaN stands for "not measured".

    Raises:
        ValueError: one that does not.
    """
    wrong = [value for value in values or () if value < 0 or value > 1]
    if wrong:
        raise ValueError(f"Expected `{name}` in [0, 1], got {wrong[0]}. Please divide percentages by 100.")


def percent(value: float, *, signed: bool = False) -> str:
    """Return a fraction as percentage points with one decimal, without the sign "%"; NaN becomes a dash."""
    if not math.isfinite(value):
        return MISSING
    points = round(100 * value, 1) + 0.0  # + 0.0 turns -0.0 into 0.0
    sign = "+" if signed and points > 0 else "−" if points < 0 else ""
    return f"{sign}{abs(points):.1f}"


def by_size(class_counts: Sequence[int]) -> list[int]:
    """Return the classes, largest first; equal ones keep their order."""
    return sorted(range(len(class_counts)), key=lambda k: -class_counts[k])


def times(weight: float) -> str:
    """Return a weight as a factor: `×12.3`, `×1.20`, `×0.042`; anything positive below a thousandth is `<×0.001`."""
    if not math.isfinite(weight):
        return "–"
    if 0 < weight < 0.001:
        return "<×0.001"
    decimals = 0 if weight >= 100 or weight == 0 else 1 if weight >= 10 else 2 if weight >= 0.1 else 3
    return f"×{weight:.{decimals}f}"


def metric_rows(plain: Mapping[str, Sequence[float]] | None, ot: Mapping[str, Sequence[float]]) -> list[MetricRow]:
    """Return one row a metric that either side has: the known ones first, in their order, then the others."""
    plain = plain or {}
    names = [name for name in METRICS if name in plain or name in ot]
    names += sorted({*plain, *ot} - METRICS.keys())
    return [_row(name, plain.get(name), ot.get(name)) for name in names]


def _row(name: str, plain: Sequence[float] | None, ot: Sequence[float] | None) -> MetricRow:
    label, meaning = METRICS.get(name, (name.replace("_", " ").capitalize(), ""))
    before, after, difference = summarise(plain), summarise(ot), compare(plain, ot)
    return MetricRow(
        name,
        label,
        meaning,
        _with_spread(before, name),
        _with_spread(after, name),
        _with_spread(difference, name, signed=True),
        _trend(difference),
    )


def compare(plain: Sequence[float] | None, ot: Sequence[float] | None) -> Summary:
    """Return the difference OT - plain: seed by seed where both have the same seeds, otherwise of the means."""
    if plain and ot and len(plain) == len(ot):
        return summarise([after - before for before, after in zip(plain, ot, strict=True)])
    gap = summarise(ot).mean - summarise(plain).mean
    return Summary(gap, math.nan, 0 if math.isnan(gap) else 1)


def _with_spread(summary: Summary, name: str, *, signed: bool = False) -> str:
    if name in METRICS:
        mean, std = percent(summary.mean, signed=signed), percent(summary.std)
    else:  # a metric of the user: its unit is not known
        mean, std = (f"{value:.4f}" if math.isfinite(value) else MISSING for value in (summary.mean, summary.std))
        mean = f"+{mean}" if signed and summary.mean > 0 else mean
    return mean if summary.seeds < 2 else f"{mean} ± {std}"


def _trend(difference: Summary) -> Literal["better", "worse", "even", "unknown"]:
    if math.isnan(difference.mean):
        return "unknown"
    noise = 0.0 if math.isnan(difference.std) else difference.std
    if abs(difference.mean) <= max(noise, 0.0005):  # 0.0005 prints as 0.0 or 0.1
        return "even"
    return "better" if difference.mean > 0 else "worse"
