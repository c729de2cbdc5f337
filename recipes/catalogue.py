"""What the recipes of this folder may ask for by name, for `hf_otw.recipe.built_in.catalogue_for`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from datasets import DatasetDict

from hf_otw.recipe.catalogue import Catalogue
from recipes.models import MODELS
from recipes.pipelines import PIPELINES


def packaged_sources() -> Mapping[str, Callable[[], DatasetDict]]:
    """Name -> loader of everything that installs by package name."""
    from recipes.sources import SOURCES  # here, as tests put toys in its place

    return SOURCES


def catalogue() -> Catalogue:
    """Data, models and pipelines of this folder."""
    return Catalogue(packaged_sources(), MODELS, PIPELINES)
