"""Options that the commands over labelled rows share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hf_otw.cli.terminal import tell

if TYPE_CHECKING:
    from hf_otw.audit.labelled import Labelled

Data = Annotated[
    str, typer.Argument(help="CSV, JSON, Parquet, a folder of pictures or of save_to_disk, or user/name.")
]
Label = Annotated[str, typer.Option(help="Column of the classes.")]
Text = Annotated[str | None, typer.Option(help="Column of texts; found by its type where there is one.")]
Picture = Annotated[str | None, typer.Option("--image", help="Column of pictures.")]
Features = Annotated[str | None, typer.Option(help="Column of lists of numbers, such as embeddings.")]
Model = Annotated[str | None, typer.Option(help="Pretrained model for features; tfidf, for texts, needs none.")]
Split = Annotated[str, typer.Option(help="Split of a name on the Hub.")]
Meta = Annotated[str | None, typer.Option(help="Trusted examples, same columns; else some rows are set aside.")]
MetaPerClass = Annotated[int, typer.Option(min=1, help="Rows of each class to set aside.")]
MaxRows = Annotated[int | None, typer.Option(min=4, help="Take no more than so many random rows.")]
Seed = Annotated[int, typer.Option(help="Of all draws.")]


def load(
    data: str,
    label: str,
    text: str | None,
    image: str | None,
    features: str | None,
    model: str | None,
    split: str,
    meta: str | None,
    max_rows: int | None,
) -> Labelled:
    """Load rows and make features, with a bar in a terminal."""
    from hf_otw.audit.labelled import Columns, load_labelled
    from hf_otw.cli.progress import silence

    silence()
    columns = Columns(label, text, image, features)
    return load_labelled(data, columns, model=model, split=split, meta=meta, max_rows=max_rows, track=track)


def track(steps: Sequence[Any]) -> Iterator[Any]:
    """Yield steps, with a bar in a terminal."""
    from rich.console import Console
    from rich.progress import track as bar

    console = Console(stderr=True)
    yield from bar(steps, description="working", console=console, transient=True, disable=not console.is_terminal)


def remark(labelled: Labelled) -> None:
    """Say what the features were made of, where better ones can be had."""
    if labelled.kind == "text" and labelled.model == "tfidf":
        hint = "--model sentence-transformers/all-MiniLM-L6-v2 sees meaning as well"
        tell(f"Features: words of the column {labelled.column!r} (tfidf); {hint}.", err=True)
