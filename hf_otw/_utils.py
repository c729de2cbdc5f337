"""Helpers without a home: look up a name, narrow an optional value."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def look_up(table: Mapping[str, T], name: str, what: str) -> T:
    """Return `table[name]`.

    Raises:
        ValueError: an unknown name; the message lists the known ones and the nearest.
    """
    if name in table:
        return table[name]
    near = difflib.get_close_matches(str(name), table, n=1)
    hint = f" Did you mean `{near[0]}`?" if near else ""
    raise ValueError(f"Expected {what} to be one of {', '.join(map(repr, table))}, got {name!r}.{hint}")


def required(value: T | None, what: str) -> T:
    """Return a value that a preset, or an earlier step, has set.

    Raises:
        RuntimeError: nothing has set it.
    """
    if value is None:
        raise RuntimeError(
            f"Expected {what} to be set by now, got None. Let the trainer or `learn_weights` build the object, or "
            "pass the value."
        )
    return value
