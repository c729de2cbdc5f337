"""The part of docs/quality-development.md on what the default might have been."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.quality.compared import Regime
from benchmarks.quality.results import Row
from benchmarks.quality.tables import markdown
from benchmarks.quality.targets import points

#: What the others are compared with.
AGAINST = "no_doubts"
#: Choice -> what it is.
CHOICE_TITLES = {
    "no_doubts": "every label taken for right",
    "posterior": "posterior as it is",
    "log_odds_plus_1": "log-odds + 1",
    "log_odds_plus_2": "log-odds + 2",
    "log_odds_plus_3": "log-odds + 3",
    "log_odds_plus_4": "log-odds + 4",
    "log_odds_plus_2_least_share": "log-odds + 2, at least a third of each class: **the default**",
    "log_odds_halved": "log-odds halved (temperature 2)",
    "sure_from_a_quarter": "full weight from a posterior of 1/4 on",
    "no_doubts_meta_rows": "every label taken for right, meta rows in training in place of the meta term",
    "log_odds_plus_2_meta_rows": "log-odds + 2, meta rows in training in place of the meta term",
    "log_odds_plus_2_meta_rows_and_term": "log-odds + 2, meta rows in training and the meta term",
    "oracle": "wrong labels known",
    "oracle_meta_rows": "wrong labels known, meta rows in training in place of the meta term",
}
KINDS: dict[str, Callable[[Row], bool]] = {
    "clean": lambda row: not row["label_noise"],
    "made wrong, any class": lambda row: row["noise_kind"] == "uniform" and row["meta"] == "clean",
    "made wrong, similar class": lambda row: row["noise_kind"] == "similar",
    "meta set wrong too": lambda row: row["meta"] != "clean",
    "by people: news": lambda row: row["dataset"] == "noisy_ag_news",
    "by people: CIFAR-10, 9 %": lambda row: row["dataset"] == "cifar10n_aggre",
    "by people: CIFAR-10, 17 %": lambda row: row["dataset"] == "cifar10n_random1",
    "by people: CIFAR-10, 40 %": lambda row: row["dataset"] == "cifar10n_worse",
}


def development_section(rows: Sequence[Row]) -> str:
    """Mean balanced accuracy of each choice over the cells of each kind, against taking every label for right."""
    regime = Regime.of(rows, "development")
    if not regime.rows:
        return ""
    seeds = len({row["seed"] for row in regime.rows})
    return (
        f"On held-out rows of the *training* splits, {seeds} seed{'s' * (seeds != 1)} a cell, other seeds than in the "
        "comparison (`python -m benchmarks.quality.development`, "
        "[results](../benchmarks/results/quality_development.json)): a choice of how the posterior that a label is "
        "right becomes the trust in the row, and of how the meta rows are used; each with its best penalty. Points "
        f"of balanced accuracy above *{CHOICE_TITLES[AGAINST]}*; cells in brackets.\n\n{choice_table(regime)}\n\n"
        f"What the posterior makes of right and wrong labels, means over the cells:\n\n{doubt_table(regime)}"
    )


def cells_of(regime: Regime) -> dict[str, list[str]]:
    """Kind -> cells that every choice has run in."""
    found = {
        kind: [
            cell
            for cell, row in regime.first.items()
            if holds(row) and all(regime.seeds(cell, name) for name in regime.methods)
        ]
        for kind, holds in KINDS.items()
    }
    return {kind: cells for kind, cells in found.items() if cells}


def choice_table(regime: Regime) -> str:
    """A line a choice, a column a kind of cells; bold: the best of a column, the oracles left out."""
    kinds = cells_of(regime)
    means = {
        name: [np.mean([gain(regime, cell, name) for cell in cells]) for cells in kinds.values()]
        for name in sorted(regime.methods, key=list(CHOICE_TITLES).index)
    }
    fair = [values for name, values in means.items() if "oracle" not in name]
    best = [max(column) for column in zip(*fair, strict=True)]
    lines = [
        [
            CHOICE_TITLES[name],
            *(
                bold(points(value), value == top and "oracle" not in name)
                for value, top in zip(values, best, strict=True)
            ),
            points(float(np.mean(values))),
        ]
        for name, values in means.items()
    ]
    heads = [f"{kind} ({len(cells)})" for kind, cells in kinds.items()]
    return markdown(["choice", *heads, "mean of the columns"], lines)


def gain(regime: Regime, cell: str, name: str) -> float:
    """A choice above taking every label for right, mean over the seeds that both have."""
    ours, theirs = regime.seeds(cell, name), regime.seeds(cell, AGAINST)
    return float(np.mean([ours[seed] - theirs[seed] for seed in ours.keys() & theirs.keys()]))


def bold(text: str, best: bool) -> str:
    """The text, in bold if it is the best."""
    return f"**{text}**" if best else text


def doubt_table(regime: Regime) -> str:
    """Noise rate, and mean doubt of right and of wrong labels, by kind of cells."""
    lines = []
    for kind, cells in cells_of(regime).items():
        rows = [regime.first[cell] for cell in cells]
        line = [kind]
        for column in ("noise_rate", "doubt_of_right_rows", "doubt_of_wrong_rows"):
            known = [row[column] for row in rows if row[column] is not None]
            line.append(f"{100 * float(np.mean(known)):.0f} %" if known else "–")
        lines.append(line)
    return markdown(["cells", "labels that are wrong", "mean doubt of right labels", "of wrong ones"], lines)
