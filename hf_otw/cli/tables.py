"""Tables that commands print: for a terminal, and the same text where the output goes to a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hf_otw.recipe.printable import printable

if TYPE_CHECKING:
    from hf_otw.audit.compare import Comparison
    from hf_otw.audit.weigh import Weighed
    from hf_otw.recipe.plan import Plan


def say(what: Any) -> None:
    """Print a table, or text as it is. In a pipe nothing is cut off at the width of a terminal."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=200)
    if isinstance(what, str):
        console.print(printable(what), markup=False, soft_wrap=True)
    else:
        console.print(what)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int = 1) -> Table:
    """A table whose first `texts` columns are text and whose others are numbers."""
    made = Table(title=cell(title), title_justify="left", title_style="bold")
    for place, name in enumerate(columns):
        made.add_column(cell(name), justify="left" if place < texts else "right")
    for row in rows:
        made.add_row(*map(cell, row))
    return made


def cell(text: str) -> str:
    """A text as it is, on one line: no markup, nothing that a terminal obeys."""
    return escape(printable(text, one_line=True))


def metric_table(results: Mapping[str, Any], plain: Mapping[str, Any] | None = None) -> Table:
    """The metrics of a run, a mean over its seeds, beside those of a plain run where there is one."""
    names = [name for name in results["metrics"] if not name.startswith("perplexity/")]
    columns = ["metric", "plain", "this run"] if plain else ["metric", "this run"]
    rows = []
    for name in names:
        before = [f"{plain['metrics'][name]:.4f}" if name in plain["metrics"] else "–"] if plain else []
        rows.append([name.replace("_", " "), *before, f"{results['metrics'][name]:.4f}"])
    seeds = len(results["per_seed"])
    return table(f"{results['recipe']}, {seeds} seed{'s' * (seeds > 1)}, test rows", columns, rows)


def weight_table(names: Sequence[str], labels: Any, found: Weighed) -> Table:
    """Table of each class's share of the rows and of the weight, the largest first."""
    rows = []
    counts = [int((labels == k).sum()) for k in range(len(names))]
    for k in sorted(range(len(names)), key=lambda k: -counts[k]):
        share, total = counts[k] / len(labels), float(found.class_totals[k])
        factor = f"{total / share:.2f}" if counts[k] else "–"
        believed = f"{100 * float(found.kept[k]):.0f} %"
        rows.append([names[k], f"{counts[k]:,}", f"{100 * share:.1f} %", believed, f"{100 * total:.1f} %", factor])
    return table("Weights", ["class", "rows", "share", "believed", "share of weight", "mean weight"], rows)


def comparison_table(found: Comparison) -> Table:
    """Each method's mean, and its difference to the first."""
    rows = []
    for name, scores in found.scores.items():
        gap, half = found.difference(name)
        against = "" if name == next(iter(found.scores)) else f"{100 * gap:+.1f} ± {100 * half:.1f}"
        rows.append([name, f"{100 * scores.mean():.1f}", against])
    title = f"{found.metric.replace('_', ' ')}, per cent, {len(scores)} splits; difference with 95 % interval"
    return table(title, ["method", "mean", "against cross-entropy"], rows)


def plan_tables(plan: Plan) -> list[Table]:
    """Classes, rows and steps, memory."""
    total = sum(plan.classes.values())
    classes = [[name, f"{count:,}", f"{100 * count / total:.1f} %"] for name, count in plan.classes.items()]
    steps = [
        ["training rows", f"{plan.rows['train']:,}"],
        ["meta examples", f"{plan.rows['meta']:,}"],
        ["test rows", f"{plan.rows['test']:,}"],
        ["examples a step", f"{plan.batch:,}"],
        ["steps an epoch", f"{plan.epoch_steps:,}"],
        ["steps", f"{plan.steps:,}"],
        *([["steps before the first weights", f"{plan.warmup_steps:,}"]] if plan.warmup_steps is not None else []),
        ["parameters", f"{plan.parameters:,}"],
        ["of these trained", f"{plan.trained:,}"],
    ]
    memory = [[name, megabytes(size)] for name, size in plan.memory.items()]
    memory.append(["together, without activations", megabytes(sum(plan.memory.values()))])
    found = [table("Classes", ["class", "examples", "share"], classes)] if classes else []
    return [*found, table("Run", ["", "number"], steps), table("Memory, one process", ["for", "MB"], memory)]


def megabytes(size: int) -> str:
    """Bytes as megabytes."""
    return f"{size / 1e6:,.1f}"
