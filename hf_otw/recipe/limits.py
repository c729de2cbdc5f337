"""Bounds for YAML and JSON that somebody else wrote: a recipe is a page of text, and not a program for its reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

#: Bytes of a YAML file; the largest recipe of the package has 2,000.
MAX_BYTES = 100_000
#: Levels of mappings and lists inside each other; a recipe has four.
MAX_DEPTH = 20
#: Keys and values, each alias counted with all that it stands for, and a text once more every `LONG` characters.
MAX_NODES = 10_000
LONG = 20
SMALLER = "A recipe is a page of settings: make it smaller."


def read_text(path: Path) -> str:
    """The text of a file of at most `MAX_BYTES`.

    Raises:
        ValueError: a larger file, or one that is not UTF-8.
    """
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"Expected at most {MAX_BYTES:,} bytes in {path}, got more. {SMALLER}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"Expected UTF-8 in {path}, got other bytes at {error.start}. Save it as UTF-8.") from error


def check_yaml(text: str, where: str, loader: type[yaml.SafeLoader]) -> None:
    """Go through the events of a YAML text, without building anything, and refuse one that is too deep or too large.

    Args:
        text: to be parsed later.
        where: it comes from, for the message.
        loader: whose parser to use.

    Raises:
        ValueError: more than `MAX_DEPTH` levels, more than `MAX_NODES` nodes with aliases written out (a few lines
            can stand for billions), or an alias inside of what it stands for.
        yaml.YAMLError: no YAML.
    """
    anchors: dict[str, int] = {}  # nodes of what an anchor names, once it is complete
    open_sizes = [0]
    open_anchors: list[str | None] = []
    for event in yaml.parse(text, loader):
        if isinstance(event, yaml.CollectionStartEvent):
            open_sizes.append(1)
            open_anchors.append(event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            size, anchor = open_sizes.pop(), open_anchors.pop()
            open_sizes[-1] += size
            if anchor is not None:
                anchors[anchor] = size
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in open_anchors:
                raise ValueError(f"Expected no alias inside of what it names in {where}, got *{event.anchor}.")
            open_sizes[-1] += anchors.get(event.anchor or "", 1)
        elif isinstance(event, yaml.ScalarEvent):
            size = 1 + len(event.value) // LONG
            open_sizes[-1] += size
            if event.anchor is not None:
                anchors[event.anchor] = size
        if len(open_anchors) > MAX_DEPTH:
            raise ValueError(f"Expected at most {MAX_DEPTH} levels in {where}, got more. {SMALLER}")
        if sum(open_sizes) > MAX_NODES:
            raise ValueError(f"Expected at most {MAX_NODES:,} keys and values in {where}, got more. {SMALLER}")


def read_json(path: Path) -> Any:
    """Read a JSON file of a run.

    Raises:
        ValueError: what does not parse.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        why = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise ValueError(f"Expected JSON in {path}, got what does not parse: {why}. Run the recipe again.") from error
