"""A command without network."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_depth = 0
_is_installed = False


@contextmanager
def without_network() -> Iterator[None]:
    """Refuse every connection to another host, or to a server on this one, that Python code tries to make.

    The libraries of the Hub are told to use their caches alone, which they hear where they are imported later. What
    does not hear it is refused by the interpreter's own audit events (https://peps.python.org/pep-0578/). Sockets of
    the file system, by which processes of one run talk, stay open.

    Raises:
        ConnectionRefusedError: inside, where something tries to connect.
    """
    global _depth, _is_installed
    if not _is_installed:
        sys.addaudithook(refuse_connection)  # cannot be removed again: it looks at `_depth`
        _is_installed = True
    before = os.environ.get("HF_HUB_OFFLINE")
    os.environ["HF_HUB_OFFLINE"] = "1"
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if before is None:
            del os.environ["HF_HUB_OFFLINE"]
        else:
            os.environ["HF_HUB_OFFLINE"] = before


def refuse_connection(event: str, args: tuple[Any, ...]) -> None:
    """Audit hook: no name is looked up and no socket of the network connected."""
    if not _depth or event not in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        return
    if event != "socket.getaddrinfo" and not isinstance(args[1], tuple):
        return
    raise ConnectionRefusedError("Expected no connection in a dry run, which reads what is on this machine alone.")
