"""`hf-otw compare`: which way of training suits the data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hf_otw.cli import data_options as o

EPILOG = "Example: `hf-otw compare reviews.csv --text review --label stars`"


def compare(
    data: o.Data,
    label: o.Label = "label",
    text: o.Text = None,
    image: o.Picture = None,
    features: o.Features = None,
    model: o.Model = None,
    split: o.Split = "train",
    max_rows: o.MaxRows = None,
    encoding: o.Encoding = None,
    metric: Annotated[str, typer.Option(help="balanced_accuracy, accuracy or macro_f1.")] = "balanced_accuracy",
    repeats: Annotated[int, typer.Option(min=2, help="Random splits, a fifth of the rows tested in each.")] = 10,
    seed: o.Seed = 0,
    json: Annotated[Path | None, typer.Option(help="Write the numbers of every split.")] = None,
) -> None:
    """Compare cross-entropy, class weights, logit adjustment and optimal transport on your rows, and recommend one.

    Linear classifiers over fixed features stand in for the network: seconds in place of hours, and a hint in place of
    a proof. Test rows carry the labels as given: where those are wrong, all scores are too low.
    """
    rows = o.load(data, label, text, image, features, model, split, None, max_rows, encoding)
    from hf_otw.audit.compare import compare as run
    from hf_otw.cli.tables import comparison_table, say

    o.remark(rows)
    found = run(
        rows.features,
        rows.labels,
        metric=metric,
        repeats=repeats,
        seed=seed,
        class_names=rows.class_names,
        track=o.track,
    )
    say(comparison_table(found))
    say(found.recommendation())
    if json is not None:
        from hf_otw.recipe.publish import write_json

        scores = {name: values.tolist() for name, values in found.scores.items()}
        told = {"metric": found.metric, "scores": scores, "recommendation": found.recommendation()}
        write_json({**told, "data": data, "rows": len(rows.labels), "features": rows.model, "seed": seed}, json)
        say(f"Written: {json}")
