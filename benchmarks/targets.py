"""What was to be reached, and what was: each target from the rows that it is about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tools.markdown import table

Row = dict[str, Any]
NOT_RUN = "not run"
#: Six sizes, two accuracies.
COLUMNS = 12


def targets_table(step: list[Row], solvers: list[Row], scale: list[Row]) -> str:
    """A line a target: what was wanted, what was measured, whether it is reached."""
    rows = (*_steps(step), *_solvers(solvers), *_scale(scale))
    cells = [(wanted, measured, "" if measured == NOT_RUN else verdict) for wanted, measured, verdict in rows]
    return table(["target", "measured", "verdict"], cells, texts=3)


def verdict_of(reached: bool) -> str:
    """In a word."""
    return "reached" if reached else "**missed**"


def verdict_within(value: float, error: float, most: float) -> str:
    """In a word, where the figure has a standard error: two of them decide."""
    return "undecided" if abs(value - most) < 2 * error else verdict_of(value <= most)


def _steps(rows: list[Row]) -> Iterator[tuple[str, str, str]]:
    for model in ("minilm", "vit"):
        found = {row["mode"]: row for row in rows if row["model"] == model and row["device"] == "cpu"}
        ours = found.get("dataset", {})
        for name, most in (("uniform", 1.01), ("stock", 1.02)):
            value, error = ours.get(f"to_{name}"), ours.get(f"to_{name}_error", 0.0)
            shown = NOT_RUN if value is None else f"{value:.3f} ± {error:.3f}"
            yield (
                f"`{model}`: transport over the data set at most {most} x {name}",
                shown,
                verdict_within(value or 9, error, most),
            )
        for other, least in (("reference", 2.0), ("meta_weight_net", 3.0)):
            both = ours and "to_uniform" in found.get(other, {})
            value = found[other]["to_uniform"] / ours["to_uniform"] if both else None
            shown = NOT_RUN if value is None else f"{value:.1f} x"
            yield f"`{model}`: at least {least:g} x faster than `{other}`", shown, verdict_of((value or 0) >= least)
        held = ours.get("weighting_bytes")
        shown = NOT_RUN if held is None else f"{held:,} of {ours['feature_bytes']:,}"
        yield f"`{model}`: memory at most 2 N D bytes", shown, verdict_of((held or 9) <= ours.get("feature_bytes", 0))


def _solvers(rows: list[Row]) -> Iterator[tuple[str, str, str]]:
    cells = {(row["n"], row["m"], row["target"], row["solver"]): row for row in rows if row["device"] == "cpu"}
    sizes = sorted({key[:3] for key in cells})
    for other, least in (("OTT-JAX", 1.0), ("POT, ot.solve", 2.5), ("POT, kernel", 2.5), ("GeomLoss", 40.0)):
        ratios = []
        for size in sizes:
            ours = cells.get((*size, "fused"))
            theirs = [row for (*at, name), row in cells.items() if tuple(at) == size and other in name]
            # Of one run: by the same clock.
            times = [row["median_ms"] for row in theirs if ours is not None and row["clock"] == ours["clock"]]
            if times:
                ratios.append(min(times) / ours["median_ms"])
        shown = f"{min(ratios):.1f} to {max(ratios):.1f} x, {len(ratios)} columns of {COLUMNS}" if ratios else NOT_RUN
        wanted = f"solver at least {least:g} x faster than {other}, in every column"
        reached = verdict_of(bool(ratios) and min(ratios) >= least)
        yield wanted, shown, reached + " where run" * (reached == "reached" and len(ratios) < COLUMNS)


def _scale(rows: list[Row]) -> Iterator[tuple[str, str, str]]:
    large = {row["mode"]: row for row in rows if (row["device"], row["n"], row["ranks"]) == ("cpu", 1_000_000, 1)}
    figures: tuple[tuple[str, str, str, float, Callable[[float], str]], ...] = (
        ("a million rows in closed form: at most 1.5 x the product", "closed_form", "ratio", 1.5, "{:.2f} x".format),
        ("a million rows in closed form: under 3 GB", "closed_form", "peak_rss_gb", 3.0, "{:.2f} GB".format),
        ("a million rows, Sinkhorn to 1e-3: at most 4 x the product", "sinkhorn", "ratio", 4.0, "{:.2f} x".format),
    )
    for wanted, mode, name, most, shown in figures:
        value = large.get(mode, {}).get(name)
        yield wanted, NOT_RUN if value is None else shown(value), verdict_of(value is not None and value <= most)
