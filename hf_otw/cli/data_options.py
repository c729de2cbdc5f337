"""Options that the commands over labelled rows share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hf_otw.cli import terminal

if TYPE_CHECKING:
    from hf_otw.audit.labelled import Labelled

Data = Annotated[
    str, typer.Argument(help="CSV, JSON, Parquet, a folder of pictures or of save_to_disk, or user/name.")
]
Label = Annotated[str, typer.Option(help="Column of the classes.")]
Text = Annotated[list[str] | None, typer.Option(help="Column of texts, again for more; the longest by default.")]
Picture = Annotated[str | None, typer.Option("--image", help="Column of pictures.")]
Features = Annotated[
    list[str] | None,
    typer.Option(help="Column of lists of numbers, such as embeddings, or columns of numbers, such as 'gene*'."),
]
Model = Annotated[str | None, typer.Option(help="Pretrained model for features; tfidf, for texts, needs none.")]
Split = Annotated[str, typer.Option(help="Split of a name on the Hub.")]
Meta = Annotated[str | None, typer.Option(help="Trusted examples, same columns; else some rows are set aside.")]
MetaPerClass = Annotated[int, typer.Option(min=1, help="Rows of each class to set aside.")]
MaxRows = Annotated[int | None, typer.Option(min=4, help="Take no more than so many random rows.")]
Encoding = Annotated[str | None, typer.Option(help="Of a text file, such as cp1252; detected by default.")]
Seed = Annotated[int, typer.Option(help="Of all draws.")]

#: Ends of names of files; others are folders, or names on the Hub.
FILES = (".csv", ".tsv", ".tab", ".json", ".jsonl", ".parquet")


def load(
    data: str,
    label: str,
    text: list[str] | None,
    image: str | None,
    features: list[str] | None,
    model: str | None,
    split: str,
    meta: str | None,
    max_rows: int | None,
    encoding: str | None,
) -> Labelled:
    """Load rows and make features, with a bar in a terminal."""
    for place in (data, meta):
        if place is not None:
            check_place(place)
    from hf_otw.audit.labelled import Columns, load_labelled
    from hf_otw.cli.progress import silence

    silence()
    columns = Columns(label, tuple(text or ()), image, tuple(features or ()))
    return load_labelled(
        data,
        columns,
        model=model,
        split=split,
        meta=meta,
        max_rows=max_rows,
        encoding=encoding,
        track=track,
        tell=tell,
    )


def check_place(place: str) -> None:
    """Say at once that a file is not there, before anything heavy is imported.

    Raises:
        FileNotFoundError: a path to nothing, with the nearest file of its folder.
    """
    path = Path(place).expanduser()
    if path.exists() or not (
        path.suffix.lower() in FILES or place.startswith((".", "/", "~")) or place.count("/") > 1
    ):
        return
    import difflib

    here = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, here, n=1)
    hint = f"Did you mean {path.parent / near[0]}?" if near else "Check the path."
    raise FileNotFoundError(f"Expected a file or folder at {place}, found none. {hint}")


def tell(sentence: str) -> None:
    """Say something about the data beside the results."""
    terminal.tell(sentence, err=True)


def track(steps: Sequence[Any]) -> Iterator[Any]:
    """Yield steps, with a bar in a terminal."""
    from rich.console import Console
    from rich.progress import track as bar

    console = Console(stderr=True)
    yield from bar(steps, description="working", console=console, transient=True, disable=not console.is_terminal)


def remark(labelled: Labelled) -> None:
    """Say what the features were made of, where better ones can be had."""
    if labelled.content.kind == "text" and labelled.model == "tfidf":
        hint = "--model sentence-transformers/all-MiniLM-L6-v2 sees meaning as well"
        tell(f"Features: words of the column {labelled.content.called} (tfidf); {hint}.")
