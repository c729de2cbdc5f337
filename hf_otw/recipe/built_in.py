"""What recipes may ask for without any code of their own: the user's rows, and pretrained models."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_otw.recipe import features, image, text, words
from hf_otw.recipe.catalogue import Catalogue, ModelEntry
from hf_otw.recipe.digits import digits

if TYPE_CHECKING:
    pass

MODELS: dict[str, ModelEntry] = {
    "features": ModelEntry("features", features.perceptron),
    "image": ModelEntry("pretrained_image", image.classifier, image.image_processor),
    "text": ModelEntry("text", text.classifier, text.tokenizer),
    "text_lora": ModelEntry("text", text.lora_classifier, text.tokenizer),
    "words": ModelEntry("words", features.perceptron, words.word_features),
}


def built_in() -> Catalogue:
    """Models for texts, pictures and features; rows from `source.hub` or `source.files`, or scikit-learn's digits."""
    pipelines = {
        "features": features.prepare_features,
        "pretrained_image": image.prepare_images,
        "text": text.prepare_text,
        "words": words.prepare_words,
    }
    return Catalogue({"digits": digits}, MODELS, pipelines)


#: Module of a folder of recipes that says what they may ask for beyond `hf_otw.recipe.built_in`.
MODULE = "catalogue"


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
