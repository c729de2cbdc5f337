"""Find the recipe that a word on the command line means: a file, a name, or a repo of the Hub."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Literal, NamedTuple

from hf_otw.recipe.schema import FILE

LIBRARY = Path(__file__).parent / "library"
#: Module or package of a folder of recipes that says what they may ask for beyond `hf_otw.recipe.built_in`.
CATALOGUE = "catalogue"


class Found(NamedTuple):
    """Where a recipe lies.

    Attributes:
        path: of the YAML file.
        name: for folders and tables.
        origin: `package`; `local`, the user's own file; or `hub`, a stranger's.
    """

    path: Path
    name: str
    origin: Literal["package", "local", "hub"]

    @property
    def is_local(self) -> bool:
        """Whether it is the user's own file, which may ask for a catalogue of the checkout."""
        return self.origin == "local"

    @property
    def stranger(self) -> str | None:
        """The repo of the Hub that it comes from, as `load_recipe` takes it."""
        return self.name if self.origin == "hub" else None


def library() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    return {path.stem: path for path in sorted(LIBRARY.glob("*.yaml"))}


def folder_recipes(folder: Path) -> dict[str, Path]:
    """The recipes of a folder, `<dataset>/<model>/<variant>`, without the files that are extended."""
    found = sorted(folder.glob("*/*/*.yaml"))
    return {"/".join(path.with_suffix("").parts[-3:]): path for path in found if path.stem != "base"}


def find_recipe(config: str, revision: str | None = None, folder: Path = Path("recipes")) -> Found:
    """Find a recipe.

    Args:
        config: path of a YAML file or of the folder of a run; or the name of a recipe that comes with the package; or
            `dataset/model/variant` of the folder `recipes`; or a repo of the Hub, `user/name`.
        revision: of a repo of the Hub.
        folder: of named recipes.

    Raises:
        ValueError: nothing of that name, with the closest one; a repo that is not there, not readable or without a
            recipe; or a revision for what is not on the Hub.
    """
    path = Path(config).expanduser()
    inside = path / FILE if path.is_dir() else path
    parts = config.split("/")
    named = folder_recipes(folder)
    if not (inside.is_file() or config in library() or config in named):
        if len(parts) == 2 and path.suffix not in (".yaml", ".yml") and not config.startswith((".", "~", "/")):
            return from_hub(config, revision)
        known = [*library(), *named]
        near = difflib.get_close_matches(config, known, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]!r}?" if near else f"The package has {', '.join(library())}."
        raise ValueError(
            f"Expected a recipe: a YAML file, a name, or user/name on the Hub; found nothing for {config!r}. {hint}"
        )
    if revision is not None:
        raise ValueError(f"Expected --revision with a repo of the Hub, got {config!r}, which is here. Leave it out.")
    if inside.is_file():
        return Found(inside, name_of(inside), "local")
    if config in library():
        return Found(library()[config], config, "package")
    return Found(named[config], config, "local")


def name_of(path: Path) -> str:
    """Return the name of a recipe at a path: `dataset/model/variant` in a folder of recipes, else its own name."""
    path = path.resolve()
    if path.name == FILE:
        parent = path.parent
        return parent.parent.name if parent.name == "model" else parent.name
    return path.stem if folder_of(path) is None else "/".join(path.with_suffix("").parts[-3:])


def folder_of(recipe: Path) -> Path | None:
    """Return the folder of recipes that a recipe lies in, `<folder>/<dataset>/<model>/<variant>.yaml`.

    Returns:
        `Path` or `None`: None where that folder has no catalogue, a module `catalogue.py` or a package `catalogue/`.
    """
    parents = recipe.resolve().parents
    if len(parents) < 3:
        return None
    places = (parents[2] / f"{CATALOGUE}.py", parents[2] / CATALOGUE / "__init__.py")
    return parents[2] if any(place.is_file() for place in places) else None


def from_hub(repo: str, revision: str | None) -> Found:
    """Download the recipe of a repo, or take it from the cache."""
    from hf_otw.recipe.hub import pull_recipe

    return Found(pull_recipe(repo, revision=revision), repo, "hub")
