"""Figures of a run with matplotlib: on the report page, in trackers during training, and as PNG files."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hf_otw.report.axis import Axis, recall_axis, value_axis
from hf_otw.report.formatting import by_size, times
from hf_otw.report.theme import LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hf_otw.report.data import ReportData

WIDTH, HEAD = 9.0, 0.75  # inches
ROW, NARROW_ROW = 0.36, 0.25  # inches per class, up to and above `MANY` classes
MANY = 20
DPI = 120
_LABEL_LENGTH = 20  # characters of a class name on an axis
_MAX_DOTS = 1200  # in the figure of weights, all classes together
_GOLDEN = (math.sqrt(5) - 1) / 2  # multiples of it, modulo 1, spread evenly: jitter without randomness
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def report_figures(data: ReportData) -> dict[str, Figure]:
    """Return the figures of a report: `class_totals`, `weights`, `recall`."""
    names, counts = data.class_names, data.class_counts
    return {
        "class_totals": class_totals(names, counts, data.class_totals),
        "weights": weights(names, counts, data.weights, data.labels),
        "recall": recall(names, counts, data.ot_recall, data.plain_recall),
    }


def class_totals(names: Sequence[str], counts: Sequence[int], totals: Sequence[float]) -> Figure:
    """Draw each class's share of the training examples (hollow) and of the total weight (filled).

    Args:
        names: `(K,)`.
        counts: `(K,)`, training examples of each class.
        totals: `(K,)`, share of the total weight that each class holds.
    """
    order = by_size(counts)
    before = np.array(counts, dtype=float)[order] / sum(counts)
    after = np.array(totals)[order]
    axis = value_axis(np.concatenate([before, after, [1 / len(order)]]))
    figure, axes = new_figure([names[k] for k in order], axis, axis.title("share", after), _percent)
    axes.axvline(1 / len(order), color=LIGHT["muted"], linestyle="--", linewidth=1)
    dumbbell(axes, axis.place(before), axis.place(after), [LIGHT["ot"]] * len(order))
    for place, (count, total) in enumerate(zip(before, after, strict=True)):
        text = times(total / count) if count else "–"
        axes.annotate(text, (1.01, place), xycoords=("axes fraction", "data"), va="center", color=LIGHT["muted"])
    return figure


def weights(names: Sequence[str], counts: Sequence[int], values: np.ndarray, labels: np.ndarray) -> Figure:
    """Draw the weights inside each class: quartiles as a box, 5 to 95 % as whiskers, examples as dots.

    Args:
        names: `(K,)`.
        counts: `(K,)`, training examples of each class.
        values: `(n,)`, weights.
        labels: `(n,)`, in `0..K-1`.
    """
    order = by_size(counts)
    axis = value_axis(np.append(values, 1.0))
    figure, axes = new_figure([names[k] for k in order], axis, axis.title("weight", values), lambda v: f"×{v:g}")
    axes.axvline(1.0, color=LIGHT["muted"], linestyle="--", linewidth=1)
    per_class = min(150, max(10, _MAX_DOTS // len(order)))
    colour = LIGHT["ot"]
    for place, k in enumerate(order):
        own = np.sort(values[labels == k])
        if len(own) == 0:
            continue
        shown = own[np.unique(np.linspace(0, len(own) - 1, per_class).round().astype(int))]
        rows = place + 0.6 * ((np.arange(len(shown)) * _GOLDEN) % 1 - 0.5)
        axes.plot(axis.place(shown), rows, ".", color=colour, alpha=0.4, markersize=4.5, markeredgewidth=0)
        low, q1, median, q3, high = axis.place(np.quantile(own, [0.05, 0.25, 0.5, 0.75, 0.95]))
        axes.hlines(place, low, q1, color=colour, linewidth=1.2)
        axes.hlines(place, q3, high, color=colour, linewidth=1.2)
        axes.barh(place, q3 - q1, left=q1, height=0.6, facecolor=(colour, 0.16), edgecolor=colour, linewidth=1.2)
        axes.vlines(median, place - 0.3, place + 0.3, color=colour, linewidth=2)
    return figure


def recall(
    names: Sequence[str], counts: Sequence[int], after: Sequence[float], before: Sequence[float] | None
) -> Figure:
    """Draw the recall of each class, before (hollow) and after (filled).

    Args:
        names: `(K,)`.
        counts: `(K,)`, training examples of each class.
        after, before: `(K,)`, NaN where it was not measured; None without a plain run.
    """
    order = by_size(counts)
    new = np.array(after, dtype=float)[order]
    old = np.full_like(new, np.nan) if before is None else np.array(before, dtype=float)[order]
    axis = recall_axis(np.concatenate([old, new]))
    figure, axes = new_figure([names[k] for k in order], axis, "recall", _percent)
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
    paths = []
    for name, figure in report_figures(data).items():
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1], dpi=DPI, metadata={"Software": None})
    return paths


def new_figure(names: Sequence[str], axis: Axis, title: str, tick: Callable[[float], str]) -> tuple[Figure, Axes]:
    """Return axes with a row per class, the first on top. No window system and no global state is touched.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "Figures need matplotlib, which is not installed. Run `pip install matplotlib` or "
            '`pip install "hf_otw[report]"`.'
        ) from error
    many = len(names) > MANY
    height = HEAD + (NARROW_ROW if many else ROW) * len(names)
    figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor=LIGHT["surface"])
    axes = figure.add_subplot(facecolor=LIGHT["surface"])
    axes.set_xscale(axis.kind)
    axes.set_xlim(*axis.limits())
    axes.set_xticks(axis.ticks, [tick(value) for value in axis.ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(names)), [label(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel(title, color=LIGHT["muted"])
    axes.tick_params(colors=LIGHT["muted"], length=0)
    if many:
        axes.xaxis.tick_top()
        axes.xaxis.set_label_position("top")
    axes.grid(color=LIGHT["grid"], linewidth=0.8)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)
    return figure, axes


def dumbbell(axes: Axes, before: np.ndarray, after: np.ndarray, colours: Sequence[str]) -> None:
    """Draw hollow dots, filled dots and the lines between, one row per class; NaN draws nothing."""
    for place, (a, b, colour) in enumerate(zip(before, after, colours, strict=True)):
        if math.isfinite(a) and math.isfinite(b):
            axes.hlines(place, min(a, b), max(a, b), color=colour, linewidth=2.5, alpha=0.45)
    rows = np.arange(len(before))
    axes.scatter(before, rows, s=55, facecolor=LIGHT["surface"], edgecolor=LIGHT["plain"], linewidth=2, zorder=3)
    axes.scatter(after, rows, s=55, color=list(colours), zorder=4)


def label(name: str) -> str:
    """Return the beginning of a class name, as matplotlib draws it: no mathematics, no character that SVG lacks."""
    name = _NO_XML.sub("\ufffd", " ".join(name.split()))
    short = name if len(name) <= _LABEL_LENGTH else name[: _LABEL_LENGTH - 1] + "…"
    return short.replace("$", r"\$")


def _percent(value: float) -> str:
    return f"{100 * value:g}%"
