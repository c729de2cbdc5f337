"""Print text to the terminal safely: every line of a command, an error, a warning or a log goes through here.

Tables go through `hf_otw.cli.tables`, which uses the same `printable`.
"""

from __future__ import annotations

import logging
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import typer

from hf_otw.recipe.printable import printable


def tell(text: str, *, err: bool = False) -> None:
    """Print a text, with what a terminal would obey written out."""
    typer.echo(printable(text), err=err)


def fail(message: str) -> None:
    """Say why, and exit with 1."""
    tell(f"Error: {message}", err=True)
    sys.exit(1)


def tell_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a traceback, as `sys.excepthook` does: its last line may quote anything."""
    tell("".join(traceback.format_exception(kind, error, trace)).rstrip("\n"), err=True)


@contextmanager
def guarded() -> Iterator[None]:
    """Write out what a terminal would obey in warnings and log records too: they quote labels, paths and servers."""
    record, line = logging.getLogRecordFactory(), warnings.formatwarning

    def guarded_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        made = record(*args, **kwargs)
        try:
            made.msg, made.args = printable(made.getMessage()), ()
        except (TypeError, ValueError, KeyError):  # logging tells of it, in its own words
            made.msg, made.args = printable(str(made.msg)), ()
        return made

    def guarded_line(*args: Any, **kwargs: Any) -> str:
        return printable(line(*args, **kwargs))

    logging.setLogRecordFactory(guarded_record)
    warnings.formatwarning = guarded_line
    try:
        yield
    finally:
        logging.setLogRecordFactory(record)
        warnings.formatwarning = line
