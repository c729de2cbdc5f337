"""`hf-otw audit`: which labels are probably wrong, which rows are like no others, and what to do about them."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hf_otw.cli import data_options as o

if TYPE_CHECKING:
    from hf_otw.audit.findings import Finding
    from hf_otw.audit.judge import Verdicts
    from hf_otw.audit.labelled import Labelled

EPILOG = (
    "Examples: `hf-otw audit reviews.csv --text review --label stars --html audit.html`; "
    "`hf-otw audit reviews.csv --label stars --decisions decisions.csv --fix clean.csv`; "
    "`hf-otw audit photos/ --model facebook/dinov2-small --csv audit.csv`."
)
#: Columns of the user's in the table of a terminal, at most.
SHOWN_COLUMNS = 2


class How(str, Enum):
    """What --fix does about doubted labels."""

    decided = "decided"
    drop = "drop"
    relabel = "relabel"
    weight = "weight"


def audit(
    data: o.Data,
    label: o.Label = "label",
    text: o.Text = None,
    image: o.Picture = None,
    features: o.Features = None,
    model: o.Model = None,
    split: o.Split = "train",
    meta: o.Meta = None,
    max_rows: o.MaxRows = None,
    encoding: o.Encoding = None,
    seed: o.Seed = 0,
    show: Annotated[int, typer.Option(min=0, help="Rows to print.")] = 20,
    suggest: Annotated[int, typer.Option(min=0, help="Name so many rows whose review helps most.")] = 0,
    csv: Annotated[Path | None, typer.Option(help="Write every row, worst first.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the worst rows as a page to decide on.")] = None,
    html_rows: Annotated[int, typer.Option(min=1, help="Rows of each kind on that page.")] = 100,
    decisions: Annotated[
        Path | None, typer.Option(help="What you decided on the page: such rows are trusted, or dropped.")
    ] = None,
    fix: Annotated[Path | None, typer.Option(help="Write a cleaned copy of the data; the original is kept.")] = None,
    how: Annotated[
        How | None,
        typer.Option(
            help="With --fix, doubted labels that you did not decide on: decided leaves them, drop drops the rows, "
            "relabel takes the suggestion where it is sure, weight adds a column to all rows. drop by default, or "
            "decided with --decisions."
        ),
    ] = None,
) -> None:
    """Rank suspected label errors, then rows that are far from all others: as a table, CSV and HTML.

    A low quality is a reason to look, not a proof: rare but correct rows get low values too.
    """
    if how is not None and fix is None:
        raise typer.BadParameter("Expected --fix FILE with --how.")
    if decisions is not None and not decisions.is_file():
        raise typer.BadParameter(f"Expected a file for --decisions, found none at {decisions}.")
    rows = o.load(data, label, text, image, features, model, split, meta, max_rows, encoding)
    from hf_otw.audit.decisions import decided, read_decisions
    from hf_otw.audit.fix import check_target
    from hf_otw.audit.judge import judge_rows
    from hf_otw.cli.tables import say

    o.remark(rows)
    if fix is not None:
        check_target(data, fix)
    said = read_decisions(decisions) if decisions is not None else []
    rows = decided(rows, said) if said else rows
    verdicts = judge_rows(rows, seed=seed)
    show_findings(rows, verdicts, show, suggest, csv, html, html_rows, Path(data).name)
    if fix is not None:
        chosen = how or (How.decided if said else How.drop)
        say(f"Written: {fix}. {write_fix(data, fix, label, rows, verdicts, said, chosen, split, encoding, seed)}.")


def show_findings(
    rows: Labelled,
    verdicts: Verdicts,
    show: int,
    suggest: int,
    csv: Path | None,
    html: Path | None,
    html_rows: int,
    title: str,
) -> None:
    """Print the worst rows, those to review and a summary; write CSV and page."""
    from hf_otw.audit.findings import findings, write_csv
    from hf_otw.audit.page import write_page
    from hf_otw.audit.suggest import rows_to_review
    from hf_otw.cli.tables import say

    found = findings(rows, verdicts)
    say(audit_table("Rows to look at, worst first", found[:show]))
    review = rows_to_review(rows, verdicts, suggest)
    if suggest:
        of_row = {finding.example_index: finding for finding in found}
        say(audit_table("Rows whose review helps most", [of_row[int(rows.index[row])] for row in review]))
    say(summary(verdicts))
    if csv is not None:
        write_csv(csv, found)
        say(f"Written: {csv}")
    if html is not None:
        reviewed = {int(rows.index[row]) for row in review}
        write_page(html, rows, verdicts, found, title=title, limit=html_rows, review=reviewed)
        say(f"Written: {html}")


def summary(verdicts: Verdicts) -> str:
    """How many labels are doubted, and how far that is to be believed."""
    total, doubted = len(verdicts.quality), int(verdicts.is_doubted.sum())
    right = f", about {100 * verdicts.precision:.0f} % of these rightly by estimate" if doubted else ""
    return (
        f"{doubted:,} of {total:,} labels are doubted{right}; {100 * verdicts.rate:.1f} % of all labels are wrong by "
        f"estimate. {int(verdicts.is_far.sum()):,} rows are far from all others."
    )


def write_fix(
    data: str,
    fix: Path,
    label: str,
    rows: Labelled,
    verdicts: Verdicts,
    decisions: list,  # type: ignore[type-arg]
    how: How,
    split: str,
    encoding: str | None,
    seed: int,
) -> str:
    """Write the cleaned copy and say what was changed."""
    from hf_otw.audit.fix import changes, write_fixed
    from hf_otw.audit.output import weights_table
    from hf_otw.audit.weigh import weigh_rows

    weights = None
    if how is How.weight:
        table = weights_table(rows, weigh_rows(rows, seed=seed)).to_pydict()
        weights = dict(zip(table["example_index"], table["weight"], strict=True))
    made = changes(rows, verdicts, decisions, how.value, weights)
    write_fixed(data, fix, label, made, split=split, encoding=encoding)
    return made.told()


def audit_table(title: str, found: list[Finding]) -> object:
    """Findings, with the first of the user's other columns that are short, such as an ID or a path."""
    from hf_otw.cli.tables import table

    theirs = list(found[0].others)[:SHOWN_COLUMNS] if found else []
    rows = [
        [
            str(f.example_index),
            *(shortened(f.others[name]) for name in theirs),
            f.kind or "–",
            f.label,
            f"{f.suggested} ({100 * f.probability:.0f} %)" if f.suggested != f.label else "–",
            f"{f.quality:.2f}",
            f"{f.distance:.3f}",
            f.preview if f.text else "",
        ]
        for f in found
    ]
    columns = ["row", *theirs, "suspected", "label", "suggested", "quality", "distance", "example"]
    return table(title, columns, rows, texts=len(columns))


def shortened(text: str, width: int = 30) -> str:
    """The beginning of a cell, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
