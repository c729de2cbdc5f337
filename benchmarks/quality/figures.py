"""The picture of ranks of the report. The same numbers give the same file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.quality.statistics import cliques

INK, MUTED, OURS = "#1a2230", "#748092", "#0d7a70"
STYLE = {"svg.hashsalt": "hf_otw", "font.family": "DejaVu Sans", "font.size": 9, "svg.fonttype": "path"}
ROW = 0.24  # inches a method


class Ranked(NamedTuple):
    """A method's mean rank."""

    name: str
    rank: float
    ours: bool


def save(figure: Figure, path: Path) -> None:
    """Write a picture that holds no date."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None}, facecolor="white")


def rank_diagram(methods: Sequence[Ranked], width: float, path: Path) -> None:
    """Critical-difference diagram (Demšar 2006): better ranks to the left, a bar over methods not told apart.

    Args:
        methods: at least two.
        width: the critical difference.
        path: of the picture.
    """
    ordered = sorted(methods, key=lambda method: (method.rank, method.name))
    bars = cliques([method.rank for method in ordered], width)
    half = (len(ordered) + 1) // 2
    with matplotlib.rc_context(STYLE):
        top = 0.55 + 0.09 * len(bars)  # inches from the axis to the first name
        height = 0.8 + top + ROW * (half - 1)
        figure = Figure(figsize=(7.6, height))
        axes = figure.add_axes((0, 0, 1, 1))
        highest = len(ordered)
        pad = 0.32 * (highest - 1)  # room for names on both sides
        axes.set_xlim(1 - pad, highest + pad)
        axes.set_ylim(height - 0.6, -0.6)  # inches below the axis, downwards
        axes.axis("off")
        draw_scale(axes, highest, width)
        for place, method in enumerate(ordered):
            left = place < half
            row = place if left else len(ordered) - 1 - place
            end = 1 - 0.04 * pad if left else highest + 0.04 * pad
            draw_method(axes, method, end, top + ROW * row, left)
        for place, (first, last) in enumerate(bars):
            y, margin = 0.16 + 0.09 * place, 0.004 * (highest - 1 + 2 * pad)
            ends = [ordered[first].rank - margin, ordered[last].rank + margin]
            axes.plot(ends, [y, y], color=INK, linewidth=3, solid_capstyle="butt")
    save(figure, path)


def draw_scale(axes: Axes, highest: int, width: float) -> None:
    """The axis of ranks, and the critical difference above it."""
    axes.plot([1, highest], [0, 0], color=INK, linewidth=1)
    for rank in range(1, highest + 1):
        axes.plot([rank, rank], [0, -0.06], color=INK, linewidth=1)
        axes.text(rank, -0.1, str(rank), ha="center", va="bottom", color=INK)
    shown = min(width, highest - 1)
    axes.plot([1, 1 + shown], [-0.36, -0.36], color=MUTED, linewidth=1.5, marker="|", markersize=6)
    axes.text(1 + shown / 2, -0.4, f"critical difference {width:.2f}", ha="center", va="bottom", color=MUTED)


def draw_method(axes: Axes, method: Ranked, end: float, y: float, left: bool) -> None:
    """A line from the axis down to the method's name."""
    color = OURS if method.ours else INK
    axes.plot([method.rank, method.rank, end], [0, y, y], color=color, linewidth=1.2 if method.ours else 0.7)
    axes.text(
        end,
        y,
        f" {method.name}  {method.rank:.1f} ",
        ha="right" if left else "left",
        va="center",
        color=color,
        fontweight="bold" if method.ours else "normal",
    )
