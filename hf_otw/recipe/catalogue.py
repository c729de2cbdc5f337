"""Names that a recipe may use: data, models, and the pipelines that bring them together."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from hf_otw.recipe.reading import check_keys

if TYPE_CHECKING:
    from datasets import DatasetDict
    from torch import nn

    from hf_otw.recipe.base import Facts, Pipeline
    from hf_otw.recipe.schema import ModelConfig


def no_processor() -> None:
    """Return none: for arrays."""


class ModelEntry(NamedTuple):
    """Entry of a model in the catalogue.

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
