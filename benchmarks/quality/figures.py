"""The pictures of the report. The same numbers give the same file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from benchmarks.quality.statistics import cliques

INK, MUTED, OURS = "#1a2230", "#748092", "#0d7a70"
STYLE = {"svg.hashsalt": "hf_otw", "font.family": "DejaVu Sans", "font.size": 9, "svg.fonttype": "path"}
ROW = 0.24  # inches a method


class Ranked(NamedTuple):
    """A method's mean rank."""

    name: str
    rank: float
    ours: bool


class Priced(NamedTuple):
    """A method's time, in multiples of cross-entropy's, and its mean gain in points."""

    name: str
    time: float
    gain: float
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


def cost_diagram(panels: Sequence[tuple[str, Sequence[Priced]]], path: Path) -> None:
    """Gain over cross-entropy against time, a panel for each set of cells."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.4 * len(panels), 4.3), layout="constrained")
        found = figure.subplots(1, len(panels), sharex=True, squeeze=False)
        for axes, (heading, methods) in zip(found[0], panels, strict=True):
            axes.axhline(0, color=MUTED, linewidth=0.7)
            axes.set_xscale("log")
            axes.set_title(heading, fontsize=9, color=INK)
            axes.set_xlabel("time, in multiples of cross-entropy's")
            axes.spines[["top", "right"]].set_visible(False)
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_locator(NullLocator())
            for method in methods:
                axes.plot(method.time, method.gain, "o", color=OURS if method.ours else MUTED, markersize=5)
            annotate(axes, methods)
        found[0][0].set_ylabel("balanced accuracy above cross-entropy, points")
    save(figure, path)


def annotate(axes: Axes, methods: Sequence[Priced]) -> None:
    """Names beside the dots, at heights that do not overlap."""
    if not methods:
        return
    low, high = axes.get_ylim()
    ordered = sorted(methods, key=lambda method: (method.gain, method.name))
    heights = spread([method.gain for method in ordered], (high - low) / 28)
    for method, height in zip(ordered, heights, strict=True):
        axes.annotate(
            method.name,
            (method.time, method.gain),
            xytext=(1.02, height),
            textcoords=("axes fraction", "data"),
            fontsize=7.5,
            va="center",
            color=OURS if method.ours else INK,
            arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": MUTED},
        )


def spread(wanted: Sequence[float], step: float) -> list[float]:
    """Heights at least `step` apart, near the wanted ones, which ascend: neighbours that collide share their mean."""
    blocks: list[list[float]] = []
    for value in wanted:
        blocks.append([value])
        while len(blocks) > 1 and top_of(blocks[-2], step) + step > bottom_of(blocks[-1], step):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    return [bottom_of(block, step) + place * step for block in blocks for place in range(len(block))]


def bottom_of(block: Sequence[float], step: float) -> float:
    """Lowest height of names that are `step` apart around the mean of the wanted heights."""
    return sum(block) / len(block) - step * (len(block) - 1) / 2


def top_of(block: Sequence[float], step: float) -> float:
    """The highest of them."""
    return bottom_of(block, step) + step * (len(block) - 1)
