"""`hf-otw weights`: labelled rows in, a weight for each out, for any trainer."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hf_otw.cli import data_options as o

if TYPE_CHECKING:
    from hf_otw.audit.labelled import Labelled
    from hf_otw.audit.weigh import Weighed

EPILOG = (
    "Examples: `hf-otw weights reviews.csv --text review --label stars`; "
    "`hf-otw weights embeddings.parquet --features vector --meta trusted.parquet --output weights.parquet`."
)


class Mass(str, Enum):
    """How much weight each class gets."""

    balanced = "balanced"
    square_root = "square_root"
    class_prior = "class_prior"


class Judge(str, Enum):
    """What a weight is."""

    clean_posterior = "clean_posterior"
    agreement = "agreement"


#: What the weights did, for the table.
DONE = {
    "balanced": "every class has the same total; inside a class, doubtful labels count less",
    "square_root": "totals grow with the square root of what a class's rows are worth; doubtful labels count less",
    "class_prior": "a class has what its rows are worth; doubtful labels count less",
}


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
    encoding: o.Encoding = None,
    target_mass: Annotated[
        Mass, typer.Option(help="Total weight of the classes: equal, half way, or as the rows are.")
    ] = Mass.balanced,
    weighting: Annotated[Judge, typer.Option(help="What judges the labels.")] = Judge.clean_posterior,
    seed: o.Seed = 0,
    output: Annotated[Path, typer.Option(help="CSV or Parquet file to write.")] = Path("weights.csv"),
) -> None:
    """Learn a weight for every row, and write example_index, label, weight and class_total as CSV or Parquet.

    Give the weights to scikit-learn as sample_weight, with no class_weight beside it, or to a Trainer by joining the
    column and setting weighting="column". example_index is the row's number in DATA, the first being 0. Rows without a
    label have the weight 0.
    """
    if output.suffix.lower() not in (".csv", ".parquet"):
        raise typer.BadParameter(f"Expected --output to end with .csv or .parquet, got {output}.")
    rows = o.load(data, label, text, image, features, model, split, meta, max_rows, encoding)
    from hf_otw.audit.output import weights_table, write_table
    from hf_otw.audit.weigh import weigh_rows
    from hf_otw.cli.tables import say, weight_table

    o.remark(rows)
    found = weigh_rows(
        rows, weighting=weighting.value, target_mass=target_mass.value, meta_per_class=meta_per_class, seed=seed
    )
    write_table(output, weights_table(rows, found))
    say(weight_table(rows.class_names, rows.labels, found))
    say(f"Weights are {target_mass.value}: {DONE[target_mass.value]}.")
    warn_of_risk(rows, found)
    say(f"Effective sample size: {found.ess:,.0f} of {len(rows.labels):,} rows.\nWritten: {output}")


def warn_of_risk(rows: Labelled, found: Weighed) -> None:
    """Name the classes that keep less than a third of their rows' worth."""
    from hf_otw.audit.weigh import LITTLE

    for k, name in enumerate(rows.class_names):
        if not (rows.labels == k).any() or found.kept[k] >= LITTLE:
            continue
        doubts = (
            f"Warning: most labels of the class {name!r} are doubted: {100 * found.kept[k]:.0f} % of it is believed."
        )
        if found.levelled[k]:
            o.tell(f"{doubts} Its rows are weighted alike. Look at them with `hf-otw audit`, or give --meta examples.")
        else:
            o.tell(f"{doubts} Look at them with `hf-otw audit`.")
