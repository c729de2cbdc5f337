"""What may be None in general and is not here: said to who reads, and to the type checker, and checked."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def required(value: T | None, what: str) -> T:
    """Return a value that a preset, or an earlier step, has set.

    Raises:
        RuntimeError: nothing has set it.
    """
    if value is None:
        raise RuntimeError(
            f"Expected {what} to be set by now, got None. Arguments get their values from `resolve_weighting()`, all "
            "else from the trainer: call its methods, or pass the value yourself."
        )
    return value
