"""What was to be reached, and what was: each target from the rows that it is about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Row = dict[str, Any]
NOT_RUN = "not run"


def targets_table(step: list[Row], solvers: list[Row], scale: list[Row]) -> str:
    """A line a target: what was wanted, what was measured, whether it is reached."""
    lines = ["| target | measured | |", "|---|---:|---|"]
    for wanted, measured, reached in (*_steps(step), *_solvers(solvers), *_scale(scale)):
        verdict = "" if measured == NOT_RUN else "reached" if reached else "**missed**"
        lines.append(f"| {wanted} | {measured} | {verdict} |")
    return "\n".join(lines)


def _steps(rows: list[Row]) -> Iterator[tuple[str, str, bool]]:
    for model in ("minilm", "vit"):
        found = {row["mode"]: row for row in rows if row["model"] == model and row["device"] == "cpu"}
        ours = found.get("dataset", {})
        for name, most in (("uniform", 1.01), ("stock", 1.02)):
            value, error = ours.get(f"to_{name}"), ours.get(f"to_{name}_error", 0.0)
            shown = NOT_RUN if value is None else f"{value:.3f} ± {error:.3f}"
            yield f"`{model}`: transport over the data set at most {most} x {name}", shown, (value or 9) <= most
        for other, least in (("reference", 2.0), ("meta_weight_net", 3.0)):
            both = ours and "to_uniform" in found.get(other, {})
            value = found[other]["to_uniform"] / ours["to_uniform"] if both else None
            shown = NOT_RUN if value is None else f"{value:.1f} x"
            yield f"`{model}`: at least {least:g} x faster than `{other}`", shown, (value or 0) >= least
        held = ours.get("weighting_bytes")
        shown = NOT_RUN if held is None else f"{held:,} of {ours['feature_bytes']:,}"
        yield f"`{model}`: memory at most 2 N D bytes", shown, held is not None and held <= ours["feature_bytes"]


def _solvers(rows: list[Row]) -> Iterator[tuple[str, str, bool]]:
    cells = {(row["n"], row["m"], row["target"], row["solver"]): row for row in rows if row["device"] == "cpu"}
    sizes = sorted({key[:3] for key in cells})
    for other, least in (("OTT-JAX", 1.0), ("POT, ot.solve", 2.5), ("POT, kernel", 2.5), ("GeomLoss", 40.0)):
        ratios = []
        for size in sizes:
            theirs = [row["median_ms"] for (*at, name), row in cells.items() if tuple(at) == size and other in name]
            if theirs and (*size, "fused") in cells:
                ratios.append(min(theirs) / cells[(*size, "fused")]["median_ms"])
        shown = f"{min(ratios):.1f} to {max(ratios):.1f} x, {len(ratios)} columns of 12" if ratios else NOT_RUN
        wanted = f"solver at least {least:g} x faster than {other}, in every column"
        yield wanted, shown, bool(ratios) and min(ratios) >= least


def _scale(rows: list[Row]) -> Iterator[tuple[str, str, bool]]:
    large = {row["mode"]: row for row in rows if (row["device"], row["n"], row["ranks"]) == ("cpu", 1_000_000, 1)}
    figures: tuple[tuple[str, str, str, float, Callable[[float], str]], ...] = (
        ("a million rows in closed form: at most 1.5 x the product", "closed_form", "ratio", 1.5, "{:.2f} x".format),
        ("a million rows in closed form: under 3 GB", "closed_form", "peak_rss_gb", 3.0, "{:.2f} GB".format),
        ("a million rows, Sinkhorn to 1e-3: at most 4 x the product", "sinkhorn", "ratio", 4.0, "{:.2f} x".format),
    )
    for wanted, mode, name, most, shown in figures:
        value = large.get(mode, {}).get(name)
        yield wanted, NOT_RUN if value is None else shown(value), value is not None and value <= most
