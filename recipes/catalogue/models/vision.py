"""Small image classifiers of transformers, from their configurations."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import ResNetConfig, ResNetForImageClassification, ViTConfig, ViTForImageClassification

from hf_otw.recipe.base import Facts
from hf_otw.recipe.text import class_config


def resnet(
    facts: Facts, processor: Any, *, embedding_size: int = 32, hidden_sizes: list[int] | None = None, depth: int = 1
) -> nn.Module:
    """A ResNet of basic blocks, with BatchNorm.

    Args:
        facts: of the images.
        processor: not used.
        embedding_size: channels of the stem.
        hidden_sizes: channels of each stage, (32, 64, 128) by default.
        depth: blocks in each stage.
    """
    hidden_sizes = hidden_sizes or [32, 64, 128]
    config = ResNetConfig(
        num_channels=facts.input_shape[0],
        embedding_size=embedding_size,
        hidden_sizes=hidden_sizes,
        depths=[depth] * len(hidden_sizes),
        layer_type="basic",
        **class_config(facts),
    )
    return ResNetForImageClassification(config)


def vit(
    facts: Facts, processor: Any, *, hidden_size: int = 64, layers: int = 4, heads: int = 4, patch_size: int = 7
) -> nn.Module:
    """A vision transformer."""
    return ViTForImageClassification(
        vit_config(
            facts, hidden_size=hidden_size, layers=layers, heads=heads, patch_size=patch_size, **class_config(facts)
        )
    )


def vit_config(facts: Facts, *, hidden_size: int, layers: int, heads: int, patch_size: int, **more: Any) -> ViTConfig:
    """The configuration of a small vision transformer for the images of `facts`."""
    channels, height, width = facts.input_shape
    return ViTConfig(
        hidden_size=hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * hidden_size,
        image_size=(height, width),
        patch_size=patch_size,
        num_channels=channels,
        **more,
    )
