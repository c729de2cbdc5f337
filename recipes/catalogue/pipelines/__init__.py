"""Pipelines: raw rows to model inputs, one small file per modality."""

from __future__ import annotations

from hf_otw.recipe.base import Facts, Pipeline, Prepared, Splits
from hf_otw.recipe.text import prepare_text
from recipes.catalogue.pipelines.audio import prepare_audio
from recipes.catalogue.pipelines.image import prepare_images
from recipes.catalogue.pipelines.image_text import prepare_image_text
from recipes.catalogue.pipelines.language import prepare_language
from recipes.catalogue.pipelines.points import prepare_points
from recipes.catalogue.pipelines.tabular import prepare_table
from recipes.catalogue.pipelines.text import prepare_keywords
from recipes.catalogue.pipelines.tokens import prepare_tokens

__all__ = ["PIPELINES", "Facts", "Pipeline", "Prepared", "Splits"]

PIPELINES: dict[str, Pipeline] = {
    "audio": prepare_audio,
    "image": prepare_images,
    "image_text": prepare_image_text,
    "keywords": prepare_keywords,
    "language": prepare_language,
    "points": prepare_points,
    "tabular": prepare_table,
    "text": prepare_text,
    "tokens": prepare_tokens,
}
