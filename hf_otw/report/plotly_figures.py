"""The figures of the report, in the colours of the light theme; the page swaps them in the dark one."""

from __future__ import annotations

import html
import math
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hf_otw.report.formatting import by_size, times

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from hf_otw.report.data import ReportData

# Role -> colour. The page's style sheet is written from the same two tables.
LIGHT = {
    "page": "#f6f7f9",
    "surface": "#ffffff",
    "ink": "#1a2230",
    "muted": "#586474",
    "grid": "#e2e6eb",
    "plain": "#748092",
    "ot": "#0d7a70",
    "ot-soft": "rgba(13,122,112,0.16)",
    "ot-dots": "rgba(13,122,112,0.38)",
    "worse": "#b4480c",
}
DARK = {
    "page": "#10151c",
    "surface": "#182029",
    "ink": "#e7ebf0",
    "muted": "#a3afbd",
    "grid": "#2d3742",
    "plain": "#93a0b0",
    "ot": "#45c8b8",
    "ot-soft": "rgba(69,200,184,0.18)",
    "ot-dots": "rgba(69,200,184,0.42)",
    "worse": "#f2935c",
}

_LABEL_LENGTH = 20  # characters of a class name on an axis; the hover shows it whole
_NARROW_LENGTH = 11  # the same on a phone
_MAX_DOTS = 2400  # dots in the figure of weights, all classes together
_GOLDEN = (math.sqrt(5) - 1) / 2  # multiples of it, modulo 1, spread evenly: jitter without randomness


class Axis(NamedTuple):
    """A linear or logarithmic axis over given values; on a logarithmic one, smaller values are drawn at `low`."""

    kind: str
    low: float
    high: float
    ticks: list[float]

    def place(self, values: np.ndarray) -> np.ndarray:
        """Return where to draw `values`, any shape."""
        return np.clip(values, self.low, self.high)


def _plotly() -> ModuleType:
    """Import plotly on first use.

    Raises:
        ImportError: plotly is not installed.
    """
    try:
        import plotly.graph_objects as go
    except ImportError as error:
        raise ImportError(
            "The report needs plotly, which is not installed. "
            'Please run `pip install "hf_otw[report]"` or `pip install plotly`.'
        ) from error
    return go


def plotly_js() -> str:
    """Return the source of plotly.js, some 5 MB.

    Raises:
        ImportError: plotly is not installed.
    """
    _plotly()
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


def class_totals(data: ReportData) -> Figure:
    """Return figure (a): each class' share of the training examples and of the total weight."""
    go, order = _plotly(), by_size(data.class_counts)
    counts = np.array(data.class_counts, dtype=float)[order]
    before, after = counts / counts.sum(), np.array(data.class_totals)[order]  # (K,), (K,)
    axis = value_axis(np.concatenate([before, after, [1 / len(order)]]))
    factors = [times(share / count) if count else "–" for count, share in zip(before, after, strict=True)]
    hover = [
        f"<b>{_safe(data.class_names[k])}</b><br>{data.class_counts[k]:,} examples: {100 * before[i]:.3g} % of all"
        f"<br>{100 * after[i]:.3g} % of the weight<br>mean weight of an example {_safe(factors[i])}"
        for i, k in enumerate(order)
    ]
    colours = [LIGHT["ot"]] * len(order)
    figure = _dumbbell(go, axis.place(before), axis.place(after), colours, hover)
    _layout(figure, data, order, axis, _title("share", axis, after), lambda v: f"{100 * v:g}%")
    _reference(figure, 1 / len(order))
    for i, factor in enumerate(factors):
        figure.add_annotation(x=1, xref="paper", xanchor="left", xshift=8, y=i, text=_safe(factor), showarrow=False)
    return figure.update_layout(margin_r=60)


def weights(data: ReportData) -> Figure:
    """Return figure (b): the weights inside each class, as a box and dots."""
    go, order = _plotly(), by_size(data.class_counts)
    axis = value_axis(np.append(data.weights, 1.0))
    per_class = min(150, max(10, _MAX_DOTS // len(order)))
    boxes, x, y, hover = [], [], [], []
    for i, k in enumerate(order):
        rows = np.flatnonzero(data.labels == k)
        if len(rows) == 0:
            continue
        rows = rows[np.argsort(data.weights[rows], kind="stable")]
        boxes.append((i, *np.quantile(data.weights[rows], [0.05, 0.25, 0.5, 0.75, 0.95])))
        shown = rows[np.unique(np.linspace(0, len(rows) - 1, per_class).round().astype(int))]
        x.append(axis.place(data.weights[shown]))
        y.append(i + 0.6 * ((np.arange(len(shown)) * _GOLDEN) % 1 - 0.5))
        hover += [
            f"<b>{_safe(data.class_names[k])}</b><br>row {row}: weight {times(data.weights[row])}" for row in shown
        ]
    position, *quantiles = np.array(boxes).T  # each (K',), classes with examples only
    low, q1, median, q3, high = (axis.place(values) for values in quantiles)
    figure = go.Figure()
    figure.add_scatter(
        x=np.concatenate(x),
        y=np.concatenate(y),
        mode="markers",
        marker={"size": 4, "color": LIGHT["ot-dots"]},
        text=hover,
        hovertemplate="%{text}<extra></extra>",
    )
    figure.add_box(
        y=position,
        q1=q1,
        median=median,
        q3=q3,
        lowerfence=low,
        upperfence=high,
        orientation="h",
        line={"color": LIGHT["ot"], "width": 1.5},
        fillcolor=LIGHT["ot-soft"],
        width=0.62,
        hoverinfo="skip",
    )
    _layout(figure, data, order, axis, _title("weight", axis, data.weights), lambda v: f"×{v:g}")
    _reference(figure, 1.0)
    return figure


def recall(data: ReportData) -> Figure:
    """Return figure (c): recall of each class, before and after."""
    go, order = _plotly(), by_size(data.class_counts)
    after = np.array(data.ot_recall, dtype=float)[order]  # (K,)
    before = (
        np.full_like(after, np.nan) if data.plain_recall is None else np.array(data.plain_recall, dtype=float)[order]
    )
    low = float(np.nanmin(np.concatenate([before, after, [1.0]])))
    axis = _linear(0.0 if low < 0.5 else math.floor(10 * low - 0.5) / 10, 1.0)
    hover = []
    for i, k in enumerate(order):
        lines = [f"<b>{_safe(data.class_names[k])}</b> ({data.class_counts[k]:,} training examples)"]
        lines += [
            f"{name} {100 * value:.1f} %"
            for name, value in (("before", before[i]), ("after", after[i]))
            if value == value
        ]
        hover.append("<br>".join(lines))
    colours = [LIGHT["worse"] if after[i] < before[i] else LIGHT["ot"] for i in range(len(order))]
    figure = _dumbbell(go, before, after, colours, hover)
    return _layout(figure, data, order, axis, "recall", lambda v: f"{100 * v:g}%")


def _dumbbell(go: ModuleType, before: np.ndarray, after: np.ndarray, colours: list[str], hover: list[str]) -> Figure:
    """Return hollow dots (before), filled dots (after) and the lines between, one row a class; inputs (K,)."""
    figure = go.Figure()
    for colour in sorted(set(colours)):
        rows = [i for i, own in enumerate(colours) if own == colour]
        x = [value for i in rows for value in (before[i], after[i], None)]
        y = [value for i in rows for value in (i, i, None)]
        figure.add_scatter(x=x, y=y, mode="lines", line={"color": colour, "width": 3}, opacity=0.45, hoverinfo="skip")
    shared: dict[str, Any] = {
        "y": list(range(len(hover))),
        "mode": "markers",
        "text": hover,
        "hovertemplate": "%{text}<extra></extra>",
    }
    hollow = {"size": 11, "color": LIGHT["surface"], "line": {"color": LIGHT["plain"], "width": 2.5}}
    figure.add_scatter(x=before, marker=hollow, **shared)
    figure.add_scatter(x=after, marker={"size": 11, "color": colours, "line": {"width": 0}}, **shared)
    return figure


def _layout(
    figure: Figure, data: ReportData, order: list[int], axis: Axis, title: str, tick: Callable[[float], str]
) -> Figure:
    """Set axes, size and colours; row i of the figure is class `order[i]`, the first on top."""
    names, narrow = (
        [_safe(short(data.class_names[k], size)) for k in order] for size in (_LABEL_LENGTH, _NARROW_LENGTH)
    )
    log, tall = axis.kind == "log", len(order) > 20
    span = [math.log10(axis.low), math.log10(axis.high)] if log else [axis.low, axis.high]
    pad = 0.03 * (span[1] - span[0])
    figure.update_xaxes(
        type=axis.kind,
        range=[span[0] - pad, span[1] + pad],
        tickvals=axis.ticks,
        ticktext=[tick(value) for value in axis.ticks],
        title={"text": title, "standoff": 8},
        side="top" if tall else "bottom",
        tickangle=0,
        gridcolor=LIGHT["grid"],
        zeroline=False,
    )
    figure.update_yaxes(
        range=[len(order) - 0.4, -0.6],
        tickvals=list(range(len(order))),
        ticktext=names,
        gridcolor=LIGHT["grid"],
        zeroline=False,
        automargin=True,
        ticklabelstandoff=6,
    )
    return figure.update_layout(
        template="none",
        height=64 + len(order) * (24 if tall else 36),
        margin={"l": 8, "r": 24, "t": 48 if tall else 8, "b": 8 if tall else 48},
        meta={"narrow": narrow},  # read by the page's script
        paper_bgcolor=LIGHT["surface"],
        plot_bgcolor=LIGHT["surface"],
        font={
            "family": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif",
            "size": 13,
            "color": LIGHT["muted"],
        },
        hoverlabel={
            "bgcolor": LIGHT["surface"],
            "bordercolor": LIGHT["muted"],
            "font": {"color": LIGHT["ink"]},
            "align": "left",
        },
        showlegend=False,
        dragmode=False,
        hovermode="closest",
    )


def _reference(figure: Figure, value: float) -> None:
    """Draw the dashed vertical line that the caption explains."""
    figure.add_vline(x=value, layer="above", line={"color": LIGHT["muted"], "width": 1.5, "dash": "dash"})


def value_axis(values: np.ndarray, floor: float = 1e-4) -> Axis:
    """Choose a scale: logarithmic where the values, all >= 0, span more than a factor of 8.

    Values below `floor` times the largest are drawn at the edge.
    """
    high = float(values.max())
    positive = values[values > 0]
    low = max(float(positive.min()), floor * high)
    if high / low <= 8:
        return _linear(0.0, high)
    low, high = low / (1.15 if len(positive) == len(values) else 3), high * 1.15
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high / low < 20 else (1, 3) if high / low < 300 else (1,)
    ticks = [float(f"{step}e{decade}") for decade in decades for step in steps]
    return Axis("log", low, high, [value for value in ticks if low <= value <= high])


def _linear(low: float, high: float) -> Axis:
    step = next(s * 10**e for e in range(-4, 6) for s in (1, 2, 5) if (high - low) / (s * 10**e) <= 6)
    first = math.ceil(round(low / step, 6))
    return Axis("linear", low, high, [round(i * step, 6) for i in range(first, math.floor(round(high / step, 6)) + 1)])


def _title(name: str, axis: Axis, values: np.ndarray) -> str:
    edge = ", smaller at the edge" if values.min() < axis.low else ""
    return f"{name} (log scale{edge})" if axis.kind == "log" else name


def short(name: str, size: int = _LABEL_LENGTH) -> str:
    """The beginning of a name that is too long for an axis."""
    return name if len(name) <= size else name[: size - 1] + "…"


def _safe(text: str) -> str:
    """Escape what plotly would read as mark-up in a label."""
    return html.escape(" ".join(text.split()), quote=False)
