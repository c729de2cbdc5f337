"""`hf-otw recipes`: what there is to train, here and on the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hf_otw.cli.terminal import tell
from hf_otw.recipe.find import find_recipe, folder_recipes, library
from hf_otw.recipe.schema import FILE

app = typer.Typer(help="List, show, fetch and publish recipes.", no_args_is_help=True, rich_markup_mode="markdown")


@app.command("list", epilog="Example: `hf-otw recipes list`")
def list_recipes(
    folder: Annotated[Path, typer.Option(help="A folder of recipes beside those of the package.")] = Path("recipes"),
) -> None:
    """List the recipes of the package and of a folder."""
    from hf_otw.cli.tables import say, table
    from hf_otw.recipe.reading import merged_yaml

    rows = []
    for name, path in {**library(), **folder_recipes(folder)}.items():
        found = merged_yaml(path)
        needs = ", ".join(found.get("needs") or [])
        rows.append([name, str(found.get("shows", "")), needs])
    say(table("Recipes: hf-otw train NAME", ["name", "shows", "needs"], rows, texts=3))


@app.command(epilog="Example: `hf-otw recipes show digits`")
def show(
    config: Annotated[str, typer.Argument(help="A YAML file, a recipe's name, or user/name on the Hub.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit on the Hub.")] = None,
) -> None:
    """Print a recipe with what it extends."""
    import yaml

    from hf_otw.recipe.reading import merged_yaml

    found = merged_yaml(find_recipe(config, revision).path)
    tell(yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=110).rstrip())


@app.command(epilog="Example: `hf-otw recipes pull user/name --output mine.yaml`")
def pull(
    repo: Annotated[str, typer.Argument(metavar="USER/NAME", help="A repo of the Hub.")],
    output: Annotated[Path, typer.Option(help="Where to write it.")] = Path(FILE),
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit.")] = None,
    force: Annotated[bool, typer.Option(help="Replace a file that is there.")] = False,
) -> None:
    """Fetch a recipe from the Hub, to read and change it.

    One that says more than how to learn is refused, as `hf-otw train` refuses it: once it is a file of yours, nothing
    would hold it any more.
    """
    from hf_otw.recipe.hub import check_public, pull_recipe
    from hf_otw.recipe.limits import read_text
    from hf_otw.recipe.reading import load_recipe

    if output.exists() and not force:
        raise ValueError(
            f"Expected no file at {output}, found one. Choose another --output, or replace it by --force."
        )
    fetched = pull_recipe(repo, revision)
    load_recipe(fetched, stranger=repo)
    check_public(fetched, repo)
    text = read_text(fetched)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text, encoding="utf-8")
    tell(f"Written: {output}")


@app.command(epilog="Example: `hf-otw recipes push runs/digits user/digits --private`")
def push(
    run: Annotated[Path, typer.Argument(help="Folder of a run of `hf-otw train`.")],
    repo: Annotated[str, typer.Argument(metavar="USER/NAME", help="A repo of the Hub, made where there is none.")],
    private: Annotated[bool | None, typer.Option(help="Whether a new repo is private.")] = None,
    revision: Annotated[str | None, typer.Option(help="Branch to commit to, made where there is none.")] = None,
    weights: Annotated[bool, typer.Option(help="Publish the weight of every training example too.")] = False,
) -> None:
    """Publish a run: model, card, recipe and metrics."""
    from hf_otw.recipe.hub import push_run

    tell(f"Published: {push_run(run, repo, private=private, revision=revision, weights=weights)}")
