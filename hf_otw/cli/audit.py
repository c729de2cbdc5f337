"""`hf-otw audit`: which labels are probably wrong, and which rows are like no others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hf_otw.cli import data_options as o

if TYPE_CHECKING:
    from hf_otw.audit.findings import Finding

EPILOG = (
    "Examples: `hf-otw audit reviews.csv --text review --label stars --html audit.html`; "
    "`hf-otw audit photos/ --model facebook/dinov2-small --csv audit.csv`."
)


def audit(
    data: o.Data,
    label: o.Label = "label",
    text: o.Text = None,
    image: o.Picture = None,
    features: o.Features = None,
    model: o.Model = None,
    split: o.Split = "train",
    meta: o.Meta = None,
    meta_per_class: o.MetaPerClass = 10,
    max_rows: o.MaxRows = None,
    seed: o.Seed = 0,
    show: Annotated[int, typer.Option(min=0, help="Rows to print.")] = 20,
    csv: Annotated[Path | None, typer.Option(help="Write every row, worst first.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the worst rows as a page.")] = None,
    html_rows: Annotated[int, typer.Option(min=1, help="Rows of each kind on that page.")] = 100,
) -> None:
    """Rank suspected label errors, then rows that are far from all others: as a table, CSV and HTML.

    A low quality is a reason to look, not a proof: rare but correct rows get low values too.
    """
    from hf_otw.audit.findings import findings, write_csv
    from hf_otw.audit.judge import judge
    from hf_otw.audit.page import write_page
    from hf_otw.audit.weigh import doubts, weigh
    from hf_otw.cli.tables import say

    rows = o.load(data, label, text, image, features, model, split, meta, max_rows)
    o.remark(rows)
    weighed = weigh(
        rows.features,
        rows.labels,
        rows.meta_features,
        rows.meta_labels,
        weighting=doubts(),
        meta_per_class=meta_per_class,
        seed=seed,
        class_names=rows.class_names,
    )
    verdicts = judge(rows.features, rows.labels, weighed, seed=seed)
    found = findings(rows, verdicts)
    say(audit_table(found[:show]))
    say(
        f"{int(verdicts.is_doubted.sum()):,} of {len(found):,} labels are doubted, "
        f"{int(verdicts.is_far.sum()):,} rows are far from all others."
    )
    if csv is not None:
        write_csv(csv, found)
        say(f"Written: {csv}")
    if html is not None:
        write_page(html, rows, verdicts, found, title=Path(data).name, limit=html_rows)
        say(f"Written: {html}")


def audit_table(found: list[Finding]) -> object:
    """The worst rows."""
    from hf_otw.cli.tables import table

    rows = [
        [
            str(f.example_index),
            f.kind or "–",
            f.label,
            f"{f.suggested} ({100 * f.probability:.0f} %)" if f.suggested != f.label else "–",
            f"{f.quality:.2f}",
            f"{f.distance:.3f}",
            f.preview,
        ]
        for f in found
    ]
    columns = ["row", "suspected", "label", "suggested", "quality", "distance", "example"]
    return table("Rows to look at, worst first", columns, rows, texts=7)
