"""`hf-otw weights`: labelled rows in, a weight for each out, for any trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hf_otw.cli import data_options as o

EPILOG = (
    "Examples: `hf-otw weights reviews.csv --text review --label stars`; "
    "`hf-otw weights embeddings.parquet --features vector --meta trusted.parquet`."
)


def weights(
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
    weighting: Annotated[str, typer.Option(help="clean_posterior, agreement, ...")] = "clean_posterior",
    seed: o.Seed = 0,
    output: Annotated[Path, typer.Option(help="Parquet file to write.")] = Path("weights.parquet"),
) -> None:
    """Learn a weight for every row, and write example_index, label, weight and class_total as Parquet.

    example_index is the row's number in DATA. Give the weights to scikit-learn as sample_weight, or to a Trainer by
    joining the column and setting weighting="column".
    """
    from hf_otw.audit.weigh import weigh
    from hf_otw.cli.tables import say, weight_table
    from hf_otw.report.weights_table import write_weights

    rows = o.load(data, label, text, image, features, model, split, meta, max_rows)
    o.remark(rows)
    found = weigh(
        rows.features,
        rows.labels,
        rows.meta_features,
        rows.meta_labels,
        weighting=weighting,
        meta_per_class=meta_per_class,
        seed=seed,
        class_names=rows.class_names,
    )
    names = rows.class_names
    totals = dict(zip(names, found.class_totals.tolist(), strict=True))
    write_weights(output, rows.index, [names[k] for k in rows.labels], found.weights, totals)
    say(weight_table(names, rows.labels, found))
    say(f"Effective sample size: {found.ess:,.0f} of {len(rows.labels):,} rows.\nWritten: {output}")
