"""`hf-otw predict`: classes of new rows, by the model of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hf_otw.cli import data_options as o
from hf_otw.cli import terminal

EPILOG = "Example: `hf-otw predict runs/tickets new.csv -o predicted.csv`"


def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a run of `hf-otw train FILE --label COLUMN`.")],
    data: Annotated[str, typer.Argument(help="CSV, JSON or Parquet file, or folder, with the same columns.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="CSV or Parquet file to write.")] = Path(
        "predicted.csv"
    ),
    encoding: o.Encoding = None,
) -> None:
    """Predict the class of each row, with calibrated probabilities.

    The class is the one that the model chooses, which was trained to serve rare classes too; the probabilities are
    fitted to held-out rows as they are, so that a rare class may be chosen at a low probability.
    """
    if output.suffix.lower() not in (".csv", ".parquet"):
        raise typer.BadParameter(f"Expected --output to end with .csv or .parquet, got {output}.")
    if not run.is_dir():
        raise ValueError(f"Expected the folder of a run, found none at {run}. Run `hf-otw train FILE --label COLUMN`.")
    o.check_place(data)
    if Path(data).expanduser().exists() and output.exists() and output.samefile(data):
        raise typer.BadParameter("Expected another file for --output than the data.")
    from hf_otw.audit.output import write_table
    from hf_otw.cli.progress import silence
    from hf_otw.recipe.predict import predict_file

    silence()
    table = predict_file(run, data, encoding=encoding, tell=o.tell)
    write_table(output, table)
    counts: dict[str, int] = {}
    for name in table.column("predicted").to_pylist():
        counts[name or "none"] = counts.get(name or "none", 0) + 1
    listed = ", ".join(f"{name}: {count:,}" for name, count in sorted(counts.items(), key=lambda item: -item[1])[:20])
    terminal.tell(f"{listed}\nWritten: {output}")
