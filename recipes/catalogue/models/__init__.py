"""The models of the recipes. A model's name in a recipe decides its processor and its pipeline.

Own modules return a dictionary with `logits`, and with `loss` when labels are given, for the stock `Trainer`.
"""

from __future__ import annotations

from hf_otw.recipe.catalogue import ModelEntry
from recipes.catalogue.models import audio, decoder, dual_encoder, mlp, pointnet, resnet32, text, vision

__all__ = ["MODELS"]


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
