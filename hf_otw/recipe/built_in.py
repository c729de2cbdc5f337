"""What recipes may ask for without any code of their own: the user's rows, and pretrained models."""

from __future__ import annotations

from hf_otw.recipe import features, image, text
from hf_otw.recipe.catalogue import Catalogue, ModelEntry
from hf_otw.recipe.digits import digits

MODELS: dict[str, ModelEntry] = {
    "features": ModelEntry("features", features.perceptron),
    "image": ModelEntry("pretrained_image", image.classifier, image.image_processor),
    "text": ModelEntry("text", text.classifier, text.tokenizer),
    "text_lora": ModelEntry("text", text.lora_classifier, text.tokenizer),
}


def built_in() -> Catalogue:
    """Models for texts, pictures and features; rows from `source.hub` or `source.files`, or scikit-learn's digits."""
    pipelines = {
        "features": features.prepare_features,
        "pretrained_image": image.prepare_images,
        "text": text.prepare_text,
    }
    return Catalogue({"digits": digits}, MODELS, pipelines)
