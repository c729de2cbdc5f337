"""A small Audio Spectrogram Transformer (https://huggingface.co/papers/2104.01778), from its configuration."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

from hf_otw.recipe.base import Facts
from recipes.catalogue.models.text import class_config


def feature_extractor(*, mel_bins: int = 32, frames: int = 96) -> ASTFeatureExtractor:
    """Log-mel spectrograms, 100 frames a second; the pipeline standardises them."""
    return ASTFeatureExtractor(num_mel_bins=mel_bins, max_length=frames, do_normalize=False)


def ast(
    facts: Facts, processor: Any, *, hidden_size: int = 64, layers: int = 3, heads: int = 4, patch_size: int = 16
) -> nn.Module:
    """A transformer over patches of a spectrogram, without overlap."""
    frames, mel_bins = facts.input_shape
    config = ASTConfig(
        hidden_size=hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * hidden_size,
        patch_size=patch_size,
        frequency_stride=patch_size,
        time_stride=patch_size,
        max_length=frames,
        num_mel_bins=mel_bins,
        **class_config(facts),
    )
    return ASTForAudioClassification(config)
