"""The models of the recipes. A model's name in a recipe decides its processor and its pipeline.

Own modules return a dictionary with `logits`, and with `loss` when labels are given, for the stock `Trainer`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import nn

from recipes.config import ModelConfig, check_keys
from recipes.models import audio, decoder, dual_encoder, mlp, pointnet, resnet32, text, vision
from recipes.pipelines.base import Facts

__all__ = ["MODELS", "ModelEntry", "build_model", "build_processor", "entry_of"]


def no_processor() -> None:
    """Return none: for arrays."""


class ModelEntry(NamedTuple):
    """How to make a model.

    Attributes:
        pipeline: key of `recipes.pipelines.PIPELINES`.
        build: `(facts, processor, **options) -> nn.Module`.
        processor: `(**options) -> tokenizer or feature extractor`; takes the options that it names.
    """

    pipeline: str
    build: Callable[..., nn.Module]
    processor: Callable[..., Any] = no_processor


MODELS: dict[str, ModelEntry] = {
    "resnet": ModelEntry("image", vision.resnet),
    "vit": ModelEntry("image", vision.vit),
    "resnet32": ModelEntry("image", resnet32.resnet32),
    "ast": ModelEntry("audio", audio.ast, audio.feature_extractor),
    "dual_encoder": ModelEntry("image_text", dual_encoder.dual_encoder, text.tokenizer),
    "pointnet": ModelEntry("points", pointnet.pointnet),
    "mlp": ModelEntry("tabular", mlp.mlp),
    "minilm": ModelEntry("text", text.classifier, text.tokenizer),
    "minilm_keywords": ModelEntry("keywords", text.keyword_classifier, text.tokenizer),
    "minilm_tokens": ModelEntry("tokens", text.token_classifier, text.tokenizer),
    "smollm2_lora": ModelEntry("text", decoder.lora_classifier, decoder.tokenizer),
    "smollm2_lora_language": ModelEntry("language", decoder.lora_language_model, decoder.tokenizer),
    "tiny_llama": ModelEntry("language", decoder.tiny_llama, text.tokenizer),
}


def entry_of(config: ModelConfig) -> ModelEntry:
    """Look up a model and check its options.

    Raises:
        ValueError: an unknown name or option, with the closest known one.
    """
    check_keys([config.name], MODELS, "model.name")
    entry = MODELS[config.name]
    known = _options(entry.processor) | _options(entry.build)
    check_keys(config.options, known, f"model.options of {config.name}")
    return entry


def build_processor(config: ModelConfig) -> Any:
    """Make the tokenizer or feature extractor, or None."""
    entry = entry_of(config)
    return entry.processor(**_given(config.options, entry.processor))


def build_model(config: ModelConfig, facts: Facts, processor: Any) -> nn.Module:
    """Make the model; new parameters come from the global random state."""
    entry = entry_of(config)
    return entry.build(facts, processor, **_given(config.options, entry.build))


def _options(function: Callable[..., Any]) -> set[str]:
    """Names of the arguments by keyword only: the options."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def _given(options: Mapping[str, Any], function: Callable[..., Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name in _options(function)}
