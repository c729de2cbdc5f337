"""Strict dataclasses: a key that nobody reads and a value of the wrong type are errors that say what was meant."""

from __future__ import annotations

import dataclasses
import difflib
import types
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeGuard, Union, get_args, get_origin, get_type_hints

#: Arguments that the runner sets, and what to write instead.
RESERVED = {"seed": "`seed:` at the top level", "output_dir": "`--output-dir` on the command line"}


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
    from hf_otw.args import OTWeightedTrainingArguments  # here, as it brings torch and transformers

    hints = get_type_hints(OTWeightedTrainingArguments)
    names = [f.name for f in dataclasses.fields(OTWeightedTrainingArguments) if f.init]
    check_keys(arguments, names, f"{where}: arguments")
    for name, value in arguments.items():
        if name in RESERVED:
            raise ValueError(f"Expected no {name!r} under arguments in {where}, got {value!r}. Use {RESERVED[name]}.")
        check_type(value, hints[name], f"{where}: arguments.{name}")


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
