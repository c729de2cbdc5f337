"""A recipe is a YAML file: read strictly into dataclasses, so that a typing error is an error and not a default.

`extends: base.yaml` (same folder, one level) keeps what the variants of a folder share in one place. Everything under
`arguments` is a field of `OTWeightedTrainingArguments`; defaults are not repeated.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import math
import re
import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeGuard, Union, get_args, get_origin, get_type_hints

import yaml

from hf_otw.recipe.limits import check_yaml, read_text
from hf_otw.recipe.schema import Recipe
from hf_otw.recipe.stranger import check_stranger, leaves


def load_recipe(path: str | Path, overrides: Sequence[str] = (), *, stranger: str | None = None) -> Recipe:
    """Read a recipe.

    Args:
        path: of the YAML file.
        overrides: `key.key=value`, the value in YAML.
        stranger: the repo of the Hub that it comes from; what the file says is then held to
            `hf_otw.recipe.stranger`, and what the overrides say is not.

    Raises:
        ValueError: an unknown key (with the closest known one), a value of the wrong type or out of its range, a bad
            `extends`, or what a recipe of a stranger may not say.
    """
    where = stranger or str(path)
    merged = merged_yaml(Path(path)) if stranger is None else read_yaml(Path(path))
    if stranger is not None:
        check_stranger(merged, where, overrides)
    for override in overrides:
        merged = merge(merged, parse_override(override))
    recipe = build(Recipe, merged, where)
    check_arguments(recipe.arguments, where)
    check_source(recipe, where)
    check_numbers(recipe, where)
    if recipe.license is not None and not LICENSE.fullmatch(recipe.license):
        raise ValueError(f"Expected an id of a licence in {where}, such as apache-2.0, got {recipe.license!r}.")
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
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the mapping of one file."""
    if not path.is_file():
        raise ValueError(f"Expected a recipe at {path}, found no file. The recipes are recipes/*/*/*.yaml.")
    found = parse(read_text(path), str(path))
    if not isinstance(found, dict):
        raise ValueError(f"Expected a mapping in {path}, got {type(found).__name__}. Begin with `shows: ...`.")
    return found


def parse(text: str, where: str) -> Any:
    """Parse a text in YAML.

    Raises:
        ValueError: it is none, or it is too large or too deep.
    """
    try:
        check_yaml(text, where, Loader)
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


#: Arguments that the runner sets or has no use for, and what to write instead.
RESERVED = {
    "seed": "Use `seed:` at the top level.",
    "output_dir": "Use `--output-dir` on the command line.",
    "resume_from_checkpoint": "Use `--resume-from-checkpoint FOLDER` on the command line.",
    **dict.fromkeys(("do_train", "do_eval", "do_predict"), "Leave it out: a run trains, then tests."),
}
#: A licence as the Hub writes it; it stands in the head of the model card.
LICENSE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")
#: Arguments that would publish beside the command line's back.
PUBLISHING = ("hub_", "push_")


def build(kind: type, values: Any, where: str) -> Any:
    """Make a dataclass of a mapping.

    Raises:
        ValueError: not a mapping, an unknown or missing key, a value of the wrong type.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"Expected a mapping at {where}, got {values!r}. Write its keys on lines of their own.")
    hints = get_type_hints(kind)
    check_keys(values, hints, where)
    missing = [f.name for f in dataclasses.fields(kind) if f.name not in values and is_required(f)]
    if missing:
        raise ValueError(f"Expected {', '.join(map(repr, missing))} in {where}, got {sorted(values)}. Add it.")
    made = {}
    for name, value in values.items():
        hint, place = hints[name], f"{where}: {name}"
        made[name] = build(hint, value, place) if is_section(hint) else check_type(value, hint, place)
    return kind(**made)


def is_section(hint: Any) -> TypeGuard[type]:
    """A field whose value is a mapping with keys of its own."""
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def is_required(f: dataclasses.Field[Any]) -> bool:
    """A field without a default."""
    return f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING


def check_keys(found: Iterable[Any], known: Iterable[str], where: str, more: str = "") -> None:
    """Raise a ValueError that names the closest known key for one that is unknown, and ends with `more`."""
    known = list(known)
    for key in found:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            remedy = f"Did you mean {close[0]!r}?" if close else f"Known are {', '.join(sorted(known)[:20])}."
            raise ValueError(f"Expected a known key in {where}, got {key!r}. {remedy} {more}".rstrip())


def check_arguments(arguments: Mapping[str, Any], where: str) -> None:
    """Every key is a field of `OTWeightedTrainingArguments`, every value of its type."""
    from hf_otw.config.args import OTWeightedTrainingArguments

    hints = get_type_hints(OTWeightedTrainingArguments)
    names = [f.name for f in dataclasses.fields(OTWeightedTrainingArguments) if f.init]
    check_keys(arguments, names, f"{where}: arguments")
    for name, value in arguments.items():
        if name in RESERVED:
            raise ValueError(f"Expected no {name!r} under arguments in {where}, got {value!r}. {RESERVED[name]}")
        if name.startswith(PUBLISHING):  # without the value, which may be a token
            raise ValueError(
                f"Expected no {name!r} under arguments in {where}: a run is published by `--push USER/NAME` alone, "
                "with the token of `hf auth login` or HF_TOKEN. Leave it out."
            )
        check_type(value, hints[name], f"{where}: arguments.{name}")


#: Smallest values of numbers that nothing else checks before the data are loaded.
AT_LEAST = {
    "data.imbalance_factor": 1,
    "data.label_noise": 0,
    "data.max_train_per_class": 1,
    "data.max_train": 1,
    "data.max_test": 1,
    "seed": 0,
    "arguments.per_device_train_batch_size": 1,
    "arguments.per_device_eval_batch_size": 1,
    "arguments.gradient_accumulation_steps": 1,
    "arguments.eval_accumulation_steps": 1,
    "arguments.meta_batch_size": 1,
    "arguments.num_train_epochs": 0,
    "arguments.dataloader_num_workers": 0,
    "model.options.hidden": 1,
    "model.options.max_tokens": 1,
    "model.options.rank": 1,
}


def check_numbers(recipe: Recipe, where: str) -> None:
    """Numbers are finite and not below `AT_LEAST`.

    A negative cap would cut rows off the end, and a batch of 0 rows ends in an error far from here.

    Raises:
        ValueError: one that is not.
    """
    for place, value in leaves(recipe.as_dict()):
        numbers = value if isinstance(value, list) else [value]
        if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
            raise ValueError(f"Expected a finite number at {where}: {place}, got {value}. Change it.")
        low = AT_LEAST.get(place)
        if low is not None and isinstance(value, (int, float)) and value < low:
            raise ValueError(f"Expected {low} or more at {where}: {place}, got {value}. Change it, or leave it out.")


def check_type(value: Any, hint: Any, where: str) -> Any:
    """Return the value, or raise a ValueError where it is not of the type that the field declares."""
    if not fits(value, hint):
        wanted = getattr(hint, "__name__", None) if get_origin(hint) is None else str(hint).replace("typing.", "")
        remedy = 'Change the value (a word such as "no" needs quotes in YAML).'
        if not isinstance(value, list) and fits([value], hint):
            remedy = f"Write a list: [{value}]."
        raise ValueError(f"Expected {wanted or hint} at {where}, got {value!r} ({type(value).__name__}). {remedy}")
    return value


def fits(value: Any, hint: Any) -> bool:
    """Is a YAML value of a declared type? Types that YAML cannot write (enumerations) take their name, a string."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(fits(value, part) for part in inner)
    if origin is Literal:
        return value in inner
    if hint is list or origin is list:
        return isinstance(value, list) and (not inner or all(fits(item, inner[0]) for item in value))
    if hint is dict or origin is dict:
        return isinstance(value, dict) and (not inner or all(fits(item, inner[1]) for item in value.values()))
    if hint in (int, float):
        numbers = (int,) if hint is int else (int, float)
        return isinstance(value, numbers) and not isinstance(value, bool)
    return isinstance(value, hint if hint in (bool, str, type(None)) else str)
