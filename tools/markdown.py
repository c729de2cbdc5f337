"""Tables of results in Markdown pages."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """Return a Markdown table.

    Args:
        head: titles of the columns.
        rows: cells, as many a row as there are titles.
        texts: number of leading columns that are aligned left; the others hold numbers and are aligned right.
    """
    rule = "|---" * texts + "|---:" * (len(head) - texts) + "|"
    return "\n".join([_row(head), rule, *map(_row, rows)])


def _row(cells: Sequence[str]) -> str:
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


def span(values: Sequence[float]) -> str:
    """Return the mean, and the lowest and highest value where there are several."""
    shown = f"{statistics.fmean(values):.1f}"
    return shown if len(values) == 1 else f"{shown} ({min(values):.1f}–{max(values):.1f})"


def fill(page: str, name: str, body: str) -> str:
    """Return the text of a page with `body` between the marks `<!-- results:name -->` and `<!-- end of name -->`.

    Raises:
        ValueError: a page without the marks.
    """
    start, end = f"<!-- results:{name} -->", f"<!-- end of {name} -->"
    before, found_start, rest = page.partition(start)
    _, found_end, after = rest.partition(end)
    if not found_start or not found_end:
        raise ValueError(
            f"Expected the marks {start} and {end} in the page, found not both. Put them where they belong."
        )
    return f"{before}{start}\n{body}\n{end}{after}"
