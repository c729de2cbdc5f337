"""The figures in docs/performance.md and docs/scale.md: what the benchmarks of speed wrote.

python -m benchmarks.performance      # write the tables into both pages
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.plan import plan_table
from benchmarks.record import RESULTS, read
from benchmarks.targets import targets_table
from recipes.readme import fill

ROOT = Path(__file__).resolve().parent.parent
NOT_RUN = "Not run."
Row = dict[str, Any]

MODE_TITLES = {
    "stock": "stock `Trainer`",
    "uniform": '`weighting="uniform"`',
    "dataset": "transport over the data set, features written in every step",
    "dataset, mapped": "the same, features in a memory-mapped file",
    "default": "default preset, without its meta term",
    "default, meta term": "default preset, with its meta term (8 examples more a step)",
    "batch": "transport in every batch",
    "paper": '`preset="paper"`, second stage: head only, whole meta set in the loss',
    "reference": "the paper's loop: two more forward passes, unrolled Sinkhorn, whole meta set in the loss",
    "l2rw": "L2RW, second-order",
    "meta_weight_net": "Meta-Weight-Net, second-order",
}
SCALE_TITLES = {
    "closed_form": "closed form",
    "sinkhorn": "Sinkhorn to 1e-3 (`own_class`)",
    "clean_posterior": "default (`clean_posterior`)",
}


def step_table(rows: list[Row]) -> str:
    """A table a model and device: time of a step beside that of the others."""
    parts = []
    for device, model in sorted({(row["device"], row["model"]) for row in rows}):
        found = {row["mode"]: row for row in rows if (row["device"], row["model"]) == (device, model)}
        lines = [f"`{model}` on `{device}`, {_machine(next(iter(found.values())))}:", ""]
        lines += ["| | x uniform | x stock | ms a step | weighting, ms | peak memory, MB | steps |"]
        lines += ["|---|---:|---:|---:|---:|---:|---:|"]
        for mode, title in MODE_TITLES.items():
            if mode in found:
                lines.append(_step_row(title, found[mode]))
        parts.append("\n".join(lines))
    return "\n\n".join(parts) or NOT_RUN


def _step_row(title: str, row: Row) -> str:
    ratios = [
        f"{row[f'to_{name}']:.3f} ± {row[f'to_{name}_error']:.3f}" if f"to_{name}" in row else "-"
        for name in ("uniform", "stock")
    ]
    own = [value for name, value in row["parts_ms"].items() if name.startswith("weighting")]
    cells = [*ratios, f"{row['cpu_ms' if row['device'] == 'cpu' else 'median_ms']:,.0f}"]
    cells += [f"{sum(own):.2f}" if own else "-", _or_dash(row["peak_memory_mb"]), str(row["repeats"])]
    return f"| {title} | " + " | ".join(cells) + " |"


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def memory_table(rows: list[Row]) -> str:
    """Bytes that weighting holds, and the feature memory among them."""
    lines = ["| model | training | examples | bytes held | of these features |", "|---|---|---:|---:|---:|"]
    for row in rows:
        if row.get("feature_bytes"):
            title = MODE_TITLES[row["mode"]]
            figures = f"{row['examples']:,} | {row['weighting_bytes']:,} | {row['feature_bytes']:,}"
            lines.append(f"| `{row['model']}` | {title} | {figures} |")
    return "\n".join(lines) if len(lines) > 2 else NOT_RUN


def kept_table(rows: list[Row]) -> str:
    """What a feature memory costs in a step, by how it is kept and the number of processes."""
    if not rows:
        return NOT_RUN
    lines = ["| features | processes | processor, ms a step | clock, ms | bytes a process | examples |"]
    lines += ["|---|---:|---:|---:|---:|---:|"]
    for row in sorted(rows, key=lambda row: (row["ranks"], row["feature_memory"])):
        times = f"{row['weighting_cpu_ms']:.2f} | {row['weighting_ms']:.2f}"
        sizes = f"{row['feature_bytes']:,} | {row['examples']:,}"
        lines.append(f"| {row['feature_memory']} | {row['ranks']} | {times} | {sizes} |")
    return "\n".join(lines)


def solver_table(rows: list[Row]) -> str:
    """A table a device and accuracy: milliseconds, sizes in columns."""
    parts = []
    for device in sorted({row["device"] for row in rows}):
        for target in sorted({row["target"] for row in rows}, reverse=True):
            found = [row for row in rows if (row["device"], row["target"]) == (device, target)]
            parts.append(_solver_table(found, device, target))
    return "\n\n".join(parts) or NOT_RUN


def _solver_table(rows: list[Row], device: str, target: float) -> str:
    sizes = sorted({(row["n"], row["m"]) for row in rows})
    cells = {(row["solver"], row["n"], row["m"]): row for row in rows}
    names = sorted({row["solver"] for row in rows}, key=lambda name: (not name.startswith("fused"), name))
    lines = [f"Relative error {target:.0e}, `{device}`, {_machine(rows[0])}, milliseconds (`*`: on the clock):", ""]
    lines += ["| | " + " | ".join(f"{n:,} x {m:,}" for n, m in sizes) + " |", "|---|" + "---:|" * len(sizes)]
    for name in names:
        shown = []
        for n, m in sizes:
            row = cells.get((name, n, m))
            missed = row is not None and row["rel_error"] > target
            star = "*" if row is not None and row["clock"] == "wall" else ""
            error = f" ({row['rel_error']:.0e})" if missed else ""
            shown.append("-" if row is None else f"{row['median_ms']:.3g}{star}{error}")
        lines.append(f"| {name} | " + " | ".join(shown) + " |")
    for other in ("OTT-JAX, kernel", "OTT-JAX, log-sum-exp", "POT, kernel", "POT, ot.solve", "GeomLoss"):
        ratios = []
        for n, m in sizes:
            ours, theirs = cells.get(("fused", n, m)), cells.get((other, n, m))
            both = ours is not None and theirs is not None and ours["clock"] == theirs["clock"]  # of one run
            ratios.append(f"{theirs['median_ms'] / ours['median_ms']:.1f} x" if both else "-")
        lines.append(f"| *{other} over fused* | " + " | ".join(ratios) + " |")
    return "\n".join(lines)


def scale_table(rows: list[Row]) -> str:
    """Seconds, ratio to the product, and memory."""
    if not rows:
        return NOT_RUN
    lines = ["| device | rows | | processes | seconds | processor | product's | ratio | peak GB |"]
    lines += ["|---|---:|---|---:|---:|---:|---:|---:|---:|"]
    for row in sorted(rows, key=lambda row: (row["device"], row["mode"], row["n"], row["ranks"])):
        cells = [row["device"], f"{row['n']:,}", SCALE_TITLES[row["mode"]], str(row["ranks"])]
        cells += [f"{row[name]:.2f}" for name in ("seconds", "cpu_seconds", "matmul_cpu_seconds", "ratio")]
        lines.append("| " + " | ".join([*cells, f"{row['peak_rss_gb']:.2f}"]) + " |")
    return "\n".join(lines)


def _machine(row: Row) -> str:
    about = row["hardware"]
    return f"{about.get('accelerator') or about['processor']}, {about['threads']} thread"


#: Page -> name of a table -> what makes it.
PAGES: dict[str, dict[str, Callable[[], str]]] = {
    "performance.md": {
        "targets": lambda: targets_table(*(read(RESULTS / f"{name}.json") for name in ("step", "solvers", "scale"))),
        "step": lambda: step_table(read(RESULTS / "step.json")),
        "memory": lambda: memory_table(read(RESULTS / "step.json")),
        "kept": lambda: kept_table(read(RESULTS / "memory.json")),
        "solvers": lambda: solver_table(read(RESULTS / "solvers.json")),
        "scale": lambda: scale_table(read(RESULTS / "scale.json")),
    },
    "scale.md": {"plan": lambda: plan_table(read(RESULTS / "scale.json"), read(RESULTS / "step.json"))},
}


def fill_page(name: str, page: str) -> str:
    """The page's text with the figures that were measured."""
    for table, make in PAGES[name].items():
        page = fill(page, table, make())
    return page


def main() -> None:
    """Write the tables."""
    for name in PAGES:
        path = ROOT / "docs" / name
        path.write_text(fill_page(name, path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
