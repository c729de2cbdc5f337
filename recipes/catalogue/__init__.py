"""What the recipes of this folder may ask for by name, for `hf_otw.recipe.built_in.catalogue_for`.

`sources` loads rows, `models` builds models, `pipelines` turns the rows into inputs of the models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasets import DatasetDict

    from hf_otw.recipe.catalogue import Catalogue


def packaged_sources() -> Mapping[str, Callable[[], DatasetDict]]:
    """Map the name of each data set that installs as a package to its loader; tests replace it by toys."""
    from recipes.catalogue.sources import SOURCES

    return SOURCES


def catalogue() -> Catalogue:
    """Return data, models and pipelines of this folder."""
    # Imported here: whoever needs one of the sources alone need not load all models.
    from hf_otw.recipe.catalogue import Catalogue
    from recipes.catalogue.models import MODELS
    from recipes.catalogue.pipelines import PIPELINES

    return Catalogue(packaged_sources(), MODELS, PIPELINES)
