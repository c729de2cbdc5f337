"""The figures of the report once more, with matplotlib: for TensorBoard during training, and as PNG files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hf_otw.report.formatting import by_size, times
from hf_otw.report.plotly_figures import LIGHT, Axis, short, value_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hf_otw.report.data import ReportData

ROW, HEAD = 0.32, 1.1  # inches
DPI = 150


def class_totals(names: Sequence[str], counts: Sequence[int], totals: Sequence[float]) -> Figure:
    """Each class's share of the training examples (hollow) and of the total weight (filled).

    Args:
        names: `(K,)`.
        counts: `(K,)`, training examples of each class.
        totals: `(K,)`, share of the total weight that each class holds.
    """
    order = by_size(counts)
    before = np.array(counts, dtype=float)[order] / sum(counts)
    after = np.array(totals)[order]
    axis = value_axis(np.concatenate([before, after, [1 / len(order)]]))
    figure, axes = new_figure([names[k] for k in order], axis, "share of the examples, and of the weight")
    axes.axvline(1 / len(order), color=LIGHT["muted"], linestyle="--", linewidth=1)
    dumbbell(axes, axis.place(before), axis.place(after), [LIGHT["ot"]] * len(order))
    for place, (count, total) in enumerate(zip(before, after, strict=True)):
        text = times(total / count) if count else "–"
        axes.annotate(text, (1.01, place), xycoords=("axes fraction", "data"), va="center", color=LIGHT["muted"])
    return figure


def weights(names: Sequence[str], counts: Sequence[int], values: np.ndarray, labels: np.ndarray) -> Figure:
    """The weights inside each class: quartiles as a box, 5 to 95 % as whiskers.

    Args:
        names: `(K,)`.
        counts: `(K,)`, training examples of each class.
        values: `(n,)`, weights.
        labels: `(n,)`, in `0..K-1`.
    """
    order = by_size(counts)
    axis = value_axis(np.append(values, 1.0))
    figure, axes = new_figure([names[k] for k in order], axis, "weight")
    axes.axvline(1.0, color=LIGHT["muted"], linestyle="--", linewidth=1)
    for place, k in enumerate(order):
        own = values[labels == k]
        if len(own):
            low, q1, median, q3, high = axis.place(np.quantile(own, [0.05, 0.25, 0.5, 0.75, 0.95]))
            axes.hlines(place, low, high, color=LIGHT["ot"], linewidth=1.2)
            axes.barh(place, q3 - q1, left=q1, height=0.55, color=LIGHT["ot"], alpha=0.25)
            axes.vlines(median, place - 0.28, place + 0.28, color=LIGHT["ot"], linewidth=2)
    return figure


def recall(
    names: Sequence[str], counts: Sequence[int], after: Sequence[float], before: Sequence[float] | None
) -> Figure:
    """Recall of each class, before (hollow) and after (filled).

    Args:
        names: `(K,)`.
        counts: `(K,)`, training examples of each class.
        after, before: `(K,)`, NaN where it was not measured; None without a plain run.
    """
    order = by_size(counts)
    new = np.array(after, dtype=float)[order]
    old = np.full_like(new, np.nan) if before is None else np.array(before, dtype=float)[order]
    figure, axes = new_figure([names[k] for k in order], Axis("linear", 0.0, 1.0, [0, 0.25, 0.5, 0.75, 1]), "recall")
    dumbbell(axes, old, new, [LIGHT["worse"] if a < b else LIGHT["ot"] for a, b in zip(new, old, strict=True)])
    return figure


def save_figures(folder: str | Path, data: ReportData) -> list[Path]:
    """Write the three figures of a report as PNG files.

    Args:
        folder: made where it is missing.
        data: of the report.

    Returns:
        the files: `class_totals.png`, `weights.png`, `recall.png`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    made = {
        "class_totals": class_totals(data.class_names, data.class_counts, data.class_totals),
        "weights": weights(data.class_names, data.class_counts, data.weights, data.labels),
        "recall": recall(data.class_names, data.class_counts, data.ot_recall, data.plain_recall),
    }
    paths = []
    for name, figure in made.items():
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1], dpi=DPI, metadata={"Software": None})
    return paths


def new_figure(names: Sequence[str], axis: Axis, title: str) -> tuple[Figure, Axes]:
    """Axes with a row a class, the first on top. No window system and no global state is touched.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "Drawings need matplotlib, which is not installed. Run `pip install matplotlib` or "
            '`pip install "hf_otw[report]"`.'
        ) from error
    figure = Figure(figsize=(7, HEAD + ROW * len(names)), layout="constrained", facecolor=LIGHT["surface"])
    axes = figure.add_subplot(facecolor=LIGHT["surface"])
    axes.set_xscale("log" if axis.kind == "log" else "linear")
    pad = 1.05 if axis.kind == "log" else 1.0
    axes.set_xlim(axis.low / pad, axis.high * pad + (0.02 if pad == 1 else 0))
    axes.set_xticks(axis.ticks, [f"{tick:g}" for tick in axis.ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(names)), [escaped(short(name)) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel(f"{title} (log scale)" if axis.kind == "log" else title, color=LIGHT["muted"])
    axes.tick_params(colors=LIGHT["muted"], length=0)
    axes.grid(color=LIGHT["grid"], linewidth=0.8)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)
    return figure, axes


def dumbbell(axes: Axes, before: np.ndarray, after: np.ndarray, colours: Sequence[str]) -> None:
    """Hollow dots, filled dots and the lines between, one row a class; NaN draws nothing."""
    for place, (a, b, colour) in enumerate(zip(before, after, colours, strict=True)):
        if math.isfinite(a) and math.isfinite(b):
            axes.hlines(place, min(a, b), max(a, b), color=colour, linewidth=2.5, alpha=0.45)
    rows = np.arange(len(before))
    axes.scatter(before, rows, s=55, facecolor=LIGHT["surface"], edgecolor=LIGHT["plain"], linewidth=2, zorder=3)
    axes.scatter(after, rows, s=55, color=list(colours), zorder=4)


def escaped(text: str) -> str:
    """Text that matplotlib does not read as mathematics."""
    return text.replace("$", r"\$")
