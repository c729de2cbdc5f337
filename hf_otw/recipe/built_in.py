"""Built-in catalogue of recipes: the user's rows, and pretrained models."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from hf_otw.recipe import features, image, text, words
from hf_otw.recipe.catalogue import Catalogue, ModelEntry
from hf_otw.recipe.digits import digits

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


#: Folder of recipes of a checkout, below the folder that a command is started in, and its module that says what they
#: may ask for beyond `hf_otw.recipe.built_in`.
FOLDER, MODULE = "recipes", "catalogue"


def catalogue_for(recipe: str | Path | None = None, module: str | None = None) -> Catalogue:
    """Return the built-in catalogue, with that of the current checkout.

    The folder `recipes` of the current checkout (`recipes/<dataset>/<model>/<variant>.yaml`) may hold a module
    `catalogue.py` or a package `catalogue/` with a function `catalogue()`. It is imported for the recipes of that
    folder, and nothing else is without being named: a YAML file that was downloaded, with a module somewhere above it,
    brings no code.

    Args:
        recipe: path of a local recipe.
        module: name of such a module, in place of the folder's.

    Raises:
        ImportError: no such module, or another one of that name that was imported before.
    """
    if module is not None:
        return built_in() | import_named(module).catalogue()
    if recipe is None or not is_in_checkout(Path(recipe)):
        return built_in()
    found = import_from(Path.cwd(), f"{FOLDER}.{MODULE}")
    own = catalogue_file()
    got = Path(found.__file__).resolve()
    if got != own:
        raise ImportError(f"Expected the module {found.__name__} from {own}, got that of {got}. Name it: --catalogue.")
    return built_in() | found.catalogue()


def catalogue_file() -> Path | None:
    """The catalogue of the folder `recipes` of the current folder: a module or a package."""
    places = (Path(FOLDER, f"{MODULE}.py"), Path(FOLDER, MODULE, "__init__.py"))
    return next((place.resolve() for place in places if place.is_file()), None)


def is_in_checkout(recipe: Path) -> bool:
    """Whether a recipe lies in the folder `recipes` of the current folder, and that folder has a catalogue."""
    parents = recipe.resolve().parents
    return len(parents) > 2 and parents[2] == Path(FOLDER).resolve() and catalogue_file() is not None


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
