"""One self-contained HTML page about a finished run: what the weights are, and what they changed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from hf_otw.report.data import ReportData
from hf_otw.report.figures import report_figures
from hf_otw.report.formatting import (
    BIBTEX,
    METRICS,
    PAPER_URL,
    by_size,
    compare,
    metric_rows,
    percent,
    summarise,
    times,
)
from hf_otw.report.svg import inline_svg
from hf_otw.report.theme import DARK, LIGHT

TEMPLATE = Path(__file__).parent / "templates" / "report.html.jinja"

_EXAMPLES = 3  # highest- and lowest-weighted examples shown of each class
_PREVIEW = 240  # characters of a text before it is folded


def write_report(path: str | Path, data: ReportData) -> Path:
    """Write the page and return where it is. It is one file without scripts and loads nothing.

    Args:
        path (`str` or `Path`): the file to write; missing directories are made.
        data ([`ReportData`]): what to show.

    Raises:
        ImportError: matplotlib is not installed.
    """
    path = Path(path)
    page = render(data)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(page.encode("utf-8", errors="replace"))  # texts may hold lone surrogates
    return path


def render(data: ReportData) -> str:
    """Return the page as a string.

    Raises:
        ImportError: matplotlib is not installed.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        data=data,
        headline=_headline(data),
        facts=_facts(data),
        rows=metric_rows(data.plain, data.ot),
        seeds=max((len(values) for values in data.ot.values()), default=0),
        classes=_class_rows(data),
        examples=[_examples(data, k) for k in by_size(data.class_counts)],
        # matplotlib escapes what it draws.
        figures={name: Markup(inline_svg(figure, name)) for name, figure in report_figures(data).items()},
        alt=_alt(data),
        light=LIGHT,
        dark=DARK,
        bibtex=BIBTEX,
        paper_url=PAPER_URL,
    )


def _headline(data: ReportData) -> dict[str, str] | None:
    """Return the parts of the one-sentence result, None without any known metric."""
    name = next((name for name in METRICS if math.isfinite(summarise(data.ot.get(name)).mean)), None)
    if name is None:
        return None
    before = (data.plain or {}).get(name)
    gap = compare(before, data.ot[name]).mean
    verb = "measures" if math.isnan(gap) else "stays" if abs(gap) < 0.0005 else "rises" if gap > 0 else "falls"
    return {
        "metric": METRICS[name][0].lower() if name != "macro_f1" else METRICS[name][0],
        "verb": verb,
        "before": percent(summarise(before).mean),
        "after": percent(summarise(data.ot[name]).mean),
        "difference": percent(gap, signed=True),
    }


def _facts(data: ReportData) -> list[tuple[str, str, str]]:
    """Return the tiles below the heading: number, what it counts, what it means."""
    counts = [count for count in data.class_counts if count > 0]
    ratio, total = max(counts) / min(counts), data.weights.sum()
    ess = total**2 / (data.weights**2).sum()
    return [
        (f"{sum(counts):,}", "training examples", f"in {len(data.class_names)} classes"),
        (f"{ratio:,.{0 if ratio >= 100 else 1}f} : 1", "imbalance", "largest class to smallest"),
        (
            f"{ess:,.0f}",
            "effective examples",
            f"what the weights leave of {len(data.weights):,}: {100 * ess / len(data.weights):.0f}\u00a0%",
        ),
        (times(data.weights.max()), "largest weight", f"the smallest is {times(data.weights.min())}"),
    ]


def _class_rows(data: ReportData) -> list[dict[str, str]]:
    """Return the table behind the figures, largest class first."""
    total, before = sum(data.class_counts), data.plain_recall or [math.nan] * len(data.class_names)
    return [
        {
            "name": data.class_names[k],
            "count": f"{data.class_counts[k]:,}",
            "share": percent(data.class_counts[k] / total),
            "total": percent(data.class_totals[k]),
            "factor": times(data.class_totals[k] * total / data.class_counts[k]) if data.class_counts[k] else "–",
            "before": percent(before[k]),
            "after": percent(data.ot_recall[k]),
        }
        for k in by_size(data.class_counts)
    ]


def _examples(data: ReportData, k: int) -> dict[str, Any]:
    """Return the highest- and the lowest-weighted examples of class `k`; none is in both lists."""
    rows = np.flatnonzero(data.labels == k)
    rows = rows[np.argsort(-data.weights[rows], kind="stable")]  # (n_k,), highest weight first
    high = min(_EXAMPLES, math.ceil(len(rows) / 2))
    low = min(_EXAMPLES, len(rows) - high)
    return {
        "name": data.class_names[k],
        "count": len(rows),
        "high": [_example(data, int(row)) for row in rows[:high]],
        "low": [_example(data, int(row)) for row in rows[len(rows) - low :][::-1]],
    }


def _example(data: ReportData, row: int) -> dict[str, Any]:
    text = None if data.texts is None else data.texts[row].strip()
    folded = text is not None and len(text) > _PREVIEW
    preview = " ".join(text[:_PREVIEW].split()) + "…" if text is not None and folded else text
    return {
        "row": row,
        "weight": times(data.weights[row]),
        "preview": preview,
        "text": text if folded else None,
    }


def _alt(data: ReportData) -> dict[str, str]:
    """Return what a screen reader says instead of each figure; the numbers are in the table below them."""
    order = by_size(data.class_counts)
    large, small, total = order[0], order[-1], sum(data.class_counts)
    shares = [
        f"{data.class_names[k]}: {percent(data.class_counts[k] / total)} % of the examples, "
        f"{percent(data.class_totals[k])} % of the weight"
        for k in (large, small)
    ]
    medians = [float(np.median(own)) for own in (data.weights[data.labels == k] for k in order) if len(own)]
    known = [k for k in order if math.isfinite(data.ot_recall[k])]
    better = [k for k in known if data.plain_recall is not None and data.ot_recall[k] > data.plain_recall[k]]
    lowest = min((data.ot_recall[k] for k in known), default=math.nan)
    change = f"it rises in {len(better)} of {len(known)} classes; " if data.plain_recall is not None else ""
    return {
        "class_totals": f"Share of the examples and of the weight of {len(order)} classes. {'; '.join(shares)}.",
        "weights": f"Weights inside each class. The median weight of a class lies between {_between(medians)}.",
        "recall": f"Recall of each class on the test set: {change}the lowest afterwards is {percent(lowest)} %.",
    }


def _between(values: list[float]) -> str:
    """Return the smallest and the largest of `values` as factors, "×0.2 and ×3"."""
    return f"{times(min(values))} and {times(max(values))}"
