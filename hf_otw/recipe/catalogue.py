"""What a recipe may ask for by name: data, models, and the pipelines that bring them together."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hf_otw.recipe.checks import check_keys

if TYPE_CHECKING:
    from datasets import DatasetDict
    from torch import nn

    from hf_otw.recipe.base import Facts, Pipeline
    from hf_otw.recipe.schema import ModelConfig

#: Module of a folder of recipes that says what they may ask for beyond `hf_otw.recipe.built_in`.
MODULE = "catalogue"


def no_processor() -> None:
    """Return none: for arrays."""


class ModelEntry(NamedTuple):
    """How to make a model.

    Attributes:
        pipeline: key of the catalogue's pipelines.
        build: `(facts, processor, **options) -> nn.Module`.
        processor: `(**options) -> tokenizer, image processor or None`; takes the options that it names.
    """

    pipeline: str
    build: Callable[..., nn.Module]
    processor: Callable[..., Any] = no_processor


@dataclass(frozen=True)
class Catalogue:
    """Names that recipes use.

    Attributes:
        sources: name -> loader of the splits `train` and `test`, without network.
        models: name -> how to make it.
        pipelines: name -> raw rows and a processor to model inputs.
    """

    sources: Mapping[str, Callable[[], DatasetDict]]
    models: Mapping[str, ModelEntry]
    pipelines: Mapping[str, Pipeline]

    def __or__(self, other: Catalogue) -> Catalogue:
        """Both; where a name is in both, that of `other`."""
        return Catalogue(
            {**self.sources, **other.sources}, {**self.models, **other.models}, {**self.pipelines, **other.pipelines}
        )

    def entry(self, config: ModelConfig) -> ModelEntry:
        """Look up a model and check its options.

        Raises:
            ValueError: an unknown name or option, with the closest known one.
        """
        hint = "Those of a folder of recipes are known where it is named: --catalogue FOLDER.catalogue."
        check_keys([config.name], self.models, "model.name", hint)
        found = self.models[config.name]
        known = options_of(found.processor) | options_of(found.build)
        check_keys(config.options, known, f"model.options of {config.name}")
        return found

    def pipeline(self, config: ModelConfig) -> Pipeline:
        """The pipeline of a model."""
        return self.pipelines[self.entry(config).pipeline]

    def processor(self, config: ModelConfig) -> Any:
        """Make the tokenizer or image processor of a model, or None."""
        entry = self.entry(config)
        return entry.processor(**given(config.options, entry.processor))

    def model(self, config: ModelConfig, facts: Facts, processor: Any) -> nn.Module:
        """Make the model; new parameters come from the global random state."""
        entry = self.entry(config)
        return entry.build(facts, processor, **given(config.options, entry.build))


def options_of(function: Callable[..., Any]) -> set[str]:
    """Names of the arguments by keyword only: the options."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def given(options: Mapping[str, Any], function: Callable[..., Any]) -> dict[str, Any]:
    """Those of the options that a function takes."""
    return {name: value for name, value in options.items() if name in options_of(function)}


def catalogue_for(recipe: str | Path | None = None, module: str | None = None) -> Catalogue:
    """What comes with the package, and what comes with a recipe.

    A folder of recipes (`<folder>/<dataset>/<model>/<variant>.yaml`) may hold a module `catalogue.py` with a function
    `catalogue()`. It is imported where the recipe is a local file: code that lies beside what the user runs. A recipe
    from the Hub never brings code.

    Args:
        recipe: path of a local recipe.
        module: name of such a module, in place of the folder's.

    Raises:
        ImportError: no such module.
    """
    from hf_otw.recipe.built_in import built_in

    if module is not None:
        found = import_named(module)
    else:
        folder = None if recipe is None else folder_of(Path(recipe))
        if folder is None:
            return built_in()
        found = import_from(folder.parent, f"{folder.name}.{MODULE}")
    return built_in() | found.catalogue()


def folder_of(recipe: Path) -> Path | None:
    """The folder of recipes that a recipe lies in, where it is one with a catalogue."""
    parents = recipe.resolve().parents
    return parents[2] if len(parents) > 2 and (parents[2] / f"{MODULE}.py").is_file() else None


def import_named(module: str) -> Any:
    """Import the module of a catalogue that the user names.

    Raises:
        ImportError: there is none of that name. What is missing inside of it is told as it is.
    """
    try:
        return import_from(Path.cwd(), module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise ImportError(
            f"Expected --catalogue to name a module, from here or installed, such as recipes.catalogue, got "
            f"{module!r}: there is no {error.name}. Check the name and the folder that you are in."
        ) from error


def import_from(place: Path, module: str) -> Any:
    """Import a module as if started from a folder, which `python -m` does and a console script does not."""
    sys.path.insert(0, str(place))
    try:
        return importlib.import_module(module)
    finally:
        sys.path.remove(str(place))
