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
from tools.markdown import fill, table

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
    """Return one table per model and device: time of a step beside that of the others."""
    head = ["", "x uniform", "x stock", "ms a step", "weighting, ms", "peak memory, MB", "steps"]
    parts = []
    for device, model in sorted({(row["device"], row["model"]) for row in rows}):
        found = {row["mode"]: row for row in rows if (row["device"], row["model"]) == (device, model)}
        caption = f"`{model}` on `{device}`, {_machine(next(iter(found.values())))}:"
        cells = [_step_cells(title, found[mode]) for mode, title in MODE_TITLES.items() if mode in found]
        parts.append(f"{caption}\n\n{table(head, cells)}")
    return "\n\n".join(parts) or NOT_RUN


def _step_cells(title: str, row: Row) -> list[str]:
    ratios = [
        f"{row[f'to_{name}']:.3f} ± {row[f'to_{name}_error']:.3f}" if f"to_{name}" in row else "-"
        for name in ("uniform", "stock")
    ]
    own = [value for name, value in row["parts_ms"].items() if name.startswith("weighting")]
    peak = row["peak_memory_mb"]
    return [
        title,
        *ratios,
        f"{row['cpu_ms' if row['device'] == 'cpu' else 'median_ms']:,.0f}",
        f"{sum(own):.2f}" if own else "-",
        "-" if peak is None else f"{peak:,.0f}",
        str(row["repeats"]),
    ]


def kept_table(rows: list[Row]) -> str:
    """Return what a feature memory costs in a step, by how it is kept and the number of processes."""
    head = ["features", "processes", "processor, ms a step", "clock, ms", "bytes a process", "examples"]
    cells = [
        [
            row["feature_memory"],
            str(row["ranks"]),
            f"{row['weighting_cpu_ms']:.2f}",
            f"{row['weighting_ms']:.2f}",
            f"{row['feature_bytes']:,}",
            f"{row['examples']:,}",
        ]
        for row in sorted(rows, key=lambda row: (row["ranks"], row["feature_memory"]))
    ]
    return table(head, cells) if rows else NOT_RUN


def solver_table(rows: list[Row]) -> str:
    """Return one table per device and accuracy: milliseconds, sizes in columns."""
    parts = []
    for device in sorted({row["device"] for row in rows}):
        for target in sorted({row["target"] for row in rows}, reverse=True):
            found = [row for row in rows if (row["device"], row["target"]) == (device, target)]
            sizes = sorted({(row["n"], row["m"]) for row in found})
            cells = {(row["solver"], row["n"], row["m"]): row for row in found}
            names = sorted({row["solver"] for row in found}, key=lambda name: (not name.startswith("fused"), name))
            lines = [[name, *(_solver_cell(cells.get((name, *size)), target) for size in sizes)] for name in names]
            caption = (
                f"Relative error {target:.0e}, `{device}`, {_machine(found[0])}, milliseconds (`*`: on the clock):"
            )
            parts.append(f"{caption}\n\n{table(['', *(f'{n:,} x {m:,}' for n, m in sizes)], lines)}")
    return "\n\n".join(parts) or NOT_RUN


def _solver_cell(row: Row | None, target: float) -> str:
    if row is None:
        return "-"
    error = f" ({row['rel_error']:.0e})" if row["rel_error"] > target else ""
    return f"{row['median_ms']:.3g}{'*' if row['clock'] == 'wall' else ''}{error}"


def scale_table(rows: list[Row]) -> str:
    """Return seconds, ratio to the product, and memory."""
    if not rows:
        return NOT_RUN
    head = ["device", "weighting", "rows", "processes", "seconds", "processor", "product's", "ratio", "peak GB"]
    lines = []
    for row in sorted(rows, key=lambda row: (row["device"], row["mode"], row["n"], row["ranks"])):
        cells = [row["device"], SCALE_TITLES[row["mode"]], f"{row['n']:,}", str(row["ranks"])]
        cells += [f"{row[name]:.2f}" for name in ("seconds", "cpu_seconds", "matmul_cpu_seconds", "ratio")]
        lines.append([*cells, f"{row['peak_rss_gb']:.2f}"])
    return table(head, lines, texts=2)


def _machine(row: Row) -> str:
    about = row["hardware"]
    return f"{about.get('accelerator') or about['processor']}, {about['threads']} thread"


#: Page -> name of a table -> what makes it.
PAGES: dict[str, dict[str, Callable[[], str]]] = {
    "performance.md": {
        "targets": lambda: targets_table(*(read(RESULTS / f"{name}.json") for name in ("step", "solvers", "scale"))),
        "step": lambda: step_table(read(RESULTS / "step.json")),
        "kept": lambda: kept_table(read(RESULTS / "memory.json")),
        "solvers": lambda: solver_table(read(RESULTS / "solvers.json")),
        "scale": lambda: scale_table(read(RESULTS / "scale.json")),
    },
    "scale.md": {"plan": lambda: plan_table(read(RESULTS / "scale.json"), read(RESULTS / "step.json"))},
}


def fill_page(name: str, page: str) -> str:
    """The page's text with the figures that were measured."""
    for mark, make in PAGES[name].items():
        page = fill(page, mark, make())
    return page


def main() -> None:
    """Write the tables."""
    for name in PAGES:
        path = ROOT / "docs" / name
        path.write_text(fill_page(name, path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
