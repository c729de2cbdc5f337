"""A recipe is a YAML file: read strictly into dataclasses, so that a typing error is an error and not a default.

`extends: base.yaml` (same folder, one level) keeps what the variants of a folder share in one place. Everything under
`arguments` is a field of `OTWeightedTrainingArguments`; defaults are not repeated.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from hf_otw.recipe.checks import build, check_arguments, check_keys
from hf_otw.recipe.schema import Recipe


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        path: of the YAML file.
        overrides: `key.key=value`, the value in YAML.

    Raises:
        ValueError: an unknown key (with the closest known one), a value of the wrong type, a bad `extends`.
    """
    merged = merged_yaml(Path(path))
    for override in overrides:
        merged = merge(merged, parse_override(override))
    recipe = build(Recipe, merged, str(path))
    check_arguments(recipe.arguments, str(path))
    check_source(recipe, str(path))
    return recipe


def merged_yaml(path: Path) -> dict[str, Any]:
    """A file with what it extends."""
    merged = read_yaml(path)
    base = merged.pop("extends", None)
    if base is None:
        return merged
    parent = read_yaml(path.parent / check_base(base, path))
    if "extends" in parent:
        raise ValueError(f"Expected {base} to extend nothing, but it does: `extends` goes one level. Merge them.")
    return merge(parent, merged)


def check_source(recipe: Recipe, where: str) -> None:
    """Rows have a place."""
    source = recipe.source
    if source.packaged is None and source.hub is None and not source.files:
        raise ValueError(
            f"Expected `source.packaged`, `source.hub` or `source.files` in {where}, got neither. Name where rows are."
        )
    check_keys(source.files, ("train", "test"), f"{where}: source.files")
    if source.files and "train" not in source.files:
        raise ValueError(f"Expected a file for 'train' in {where}: source.files, got {dict(source.files)}. Add it.")


class Loader(yaml.SafeLoader):
    """YAML with the floats of its version 1.2 (`1e-4` is one) and without repeated keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that comes twice: the first one would be lost in silence."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise ValueError(f"Expected each key once, got {', '.join(twice)} twice{node.start_mark}. Remove one.")
        return super().construct_mapping(node, deep)


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the mapping of one file."""
    if not path.is_file():
        raise ValueError(f"Expected a recipe at {path}, found no file. The recipes are recipes/*/*/*.yaml.")
    found = parse(path.read_text(encoding="utf-8"), str(path))
    if not isinstance(found, dict):
        raise ValueError(f"Expected a mapping in {path}, got {type(found).__name__}. Begin with `shows: ...`.")
    return found


def parse(text: str, where: str) -> Any:
    """What a text in YAML holds.

    Raises:
        ValueError: it is none.
    """
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        told = " ".join(str(error).replace('in "<unicode string>", ', "").split())
        raise ValueError(
            f"Expected YAML in {where}, got what does not parse: {told}. Close what is open there, or put quotes "
            "around the text."
        ) from error


def check_base(base: Any, path: Path) -> str:
    """`extends` names a file of the same folder."""
    if not isinstance(base, str) or Path(base).name != base:
        raise ValueError(f"Expected `extends` in {path} to name a file beside it, got {base!r}. Use base.yaml.")
    return base


def merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings key by key, at any depth; anything else from `top`, which wins."""
    merged = dict(copy.deepcopy(dict(base)))
    for key, value in top.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else copy.deepcopy(value)
    return merged


def parse_override(text: str) -> dict[str, Any]:
    """`a.b=3` -> `{"a": {"b": 3}}`."""
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")):
        raise ValueError(f"Expected an override like arguments.max_steps=10, got {text!r}.")
    found = parse(value, f"the value of {key}")
    for part in reversed(key.split(".")):
        found = {part: found}
    return found
