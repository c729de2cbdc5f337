"""An image and a text, judged together: a tower for each, a linear head over both."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, VisionTextDualEncoderModel, ViTModel

from hf_otw.recipe.base import Facts
from hf_otw.recipe.pretrained import load_pretrained
from recipes.catalogue.models.outputs import classified
from recipes.catalogue.models.text import checkpoint_or_minilm
from recipes.catalogue.models.vision import vit_config


class DualEncoderClassifier(nn.Module):
    """A linear head over the projections of both towers.

    Shape:
        - pixel_values: `(B, C, H, W)`; input_ids, attention_mask, token_type_ids: `(B, T)`. Output: `logits` `(B, K)`.
    """

    def __init__(self, encoder: VisionTextDualEncoderModel, num_labels: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(2 * encoder.config.projection_dim, num_labels)

    def forward(
        self,
        pixel_values: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Classify pairs."""
        found = self.encoder(
            pixel_values=pixel_values,
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
        )
        both = torch.cat([found.image_embeds, found.text_embeds], dim=1)  # (B, 2 D), each half of length 1
        # Entries of about 1, as a linear head expects: halves of length 1 would learn slowly.
        return classified(self.head(both * self.encoder.config.projection_dim**0.5), labels)


def dual_encoder(
    facts: Facts,
    processor: Any,
    *,
    checkpoint: str | None = None,
    projection_dim: int = 64,
    hidden_size: int = 64,
    layers: int = 2,
    heads: int = 4,
    patch_size: int = 8,
) -> nn.Module:
    """Pretrained text tower, vision transformer from scratch."""
    vision = ViTModel(vit_config(facts, hidden_size=hidden_size, layers=layers, heads=heads, patch_size=patch_size))
    words = load_pretrained(AutoModel, checkpoint_or_minilm(checkpoint))
    config = VisionTextDualEncoderModel.config_class.from_vision_text_configs(
        vision.config, words.config, projection_dim=projection_dim
    )
    return DualEncoderClassifier(VisionTextDualEncoderModel(config, vision, words), facts.num_labels)
