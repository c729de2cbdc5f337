"""Models of well-known sizes with random parameters, and random data for them: no network, nothing to download."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, ViTConfig, ViTForImageClassification

NUM_CLASSES, META_PER_CLASS = 6, 10  # TREC's classes, and the default size of a meta set


class Setting(NamedTuple):
    """A model and its batches.

    Attributes:
        build: `attention implementation -> model`.
        item: `generator -> inputs of one example`.
        batch_size: examples a step.
        words: what stands in the tables.
    """

    build: Callable[[str], nn.Module]
    item: Callable[[torch.Generator], dict[str, Tensor]]
    batch_size: int
    words: str


def _bert(hidden: int, layers: int, heads: int) -> Callable[[str], nn.Module]:
    config = {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads}
    return lambda attention: BertForSequenceClassification(
        BertConfig(**config, intermediate_size=4 * hidden, num_labels=NUM_CLASSES, attn_implementation=attention)
    )


def _vit(hidden: int, layers: int, heads: int, pixels: int, patch: int) -> Callable[[str], nn.Module]:
    config = {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads}
    config |= {"intermediate_size": 4 * hidden, "image_size": pixels, "patch_size": patch}
    return lambda attention: ViTForImageClassification(
        ViTConfig(**config, num_labels=NUM_CLASSES, attn_implementation=attention)
    )


def _tokens(length: int) -> Callable[[torch.Generator], dict[str, Tensor]]:
    return lambda generator: {
        "input_ids": torch.randint(1000, 30_000, (length,), generator=generator),
        "attention_mask": torch.ones(length, dtype=torch.long),
    }


def _image(pixels: int) -> Callable[[torch.Generator], dict[str, Tensor]]:
    return lambda generator: {"pixel_values": torch.randn(3, pixels, pixels, generator=generator)}


SETTINGS = {
    "minilm": Setting(_bert(384, 6, 12), _tokens(64), 32, "MiniLM-size encoder, 32 x 64 tokens"),
    "vit": Setting(_vit(384, 12, 6, 96, 16), _image(96), 32, "ViT-S/16, 32 images of 96 x 96 pixels"),
    "bert_base": Setting(_bert(768, 12, 12), _tokens(128), 64, "BERT-base-size encoder, 64 x 128 tokens"),
    "wide": Setting(_bert(384, 1, 12), _tokens(4), 32, "one layer of MiniLM's width, 32 x 4 tokens"),
    "tiny": Setting(_bert(32, 1, 2), _tokens(8), 4, "toy encoder, 4 x 8 tokens"),
    "tiny_vit": Setting(_vit(32, 1, 2, 8, 4), _image(8), 4, "toy image model, 4 images of 8 x 8 pixels"),
}


class RandomExamples(Dataset):
    """Examples that are drawn anew from their number; classes take turns.

    Args:
        setting: what an example is.
        size: number of examples.
        seed: another one, other examples.
    """

    def __init__(self, setting: Setting, size: int, seed: int) -> None:
        self.setting, self.size, self.seed = setting, size, seed

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + int(index))
        return self.setting.item(generator) | {"labels": int(index) % NUM_CLASSES}
