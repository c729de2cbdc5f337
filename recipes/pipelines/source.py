"""Raw rows, from the packaged sources or from the Hub."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from datasets import DatasetDict, load_dataset

from recipes.config import SourceConfig, check_keys

Where = Literal["packaged", "hub"]


def packaged_sources() -> Mapping[str, Callable[[], DatasetDict]]:
    """Name -> loader of everything that installs by package name."""
    from recipes.sources import SOURCES  # here, as tests put toys in its place

    return SOURCES


def load_raw(source: SourceConfig, where: Where | None = None) -> tuple[DatasetDict, Where]:
    """Load the splits `train` and `test`.

    Args:
        source: of the recipe.
        where: `packaged` or `hub`; by default packaged where there is one.

    Returns:
        the splits, and where they came from.

    Raises:
        ValueError: a source that the recipe does not name, or an unknown one.
    """
    where = where or ("hub" if source.packaged is None else "packaged")
    name = source.packaged if where == "packaged" else source.hub
    if name is None:
        raise ValueError(f"Expected `source.{where}` in the recipe, found none. Choose the other with --source.")
    if where == "packaged":
        sources = packaged_sources()
        check_keys([name], sources, "recipes.sources.SOURCES")
        return sources[name](), where
    found = load_dataset(name, source.hub_config)
    renamed = found.rename_columns(source.columns) if source.columns else found
    return DatasetDict(train=renamed[source.train_split], test=renamed[source.test_split]), where
