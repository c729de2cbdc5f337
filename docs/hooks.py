"""Links from a page to a file of the checkout that is no page: on the site they become its name, not a dead link."""

from __future__ import annotations

import re
from typing import Any

OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+((?!docs/)[\w./-]+)\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn `[text](../benchmarks/x.json)` into text and the file's name, unless it leads to another page."""

    def named(found: re.Match[str]) -> str:
        text, path = found.groups()
        if path.endswith(".md") and "/" not in path:
            return found.group(0)
        return f"`{path}`" if text.strip("`") == path else f"{text} (`{path}`)"

    return OUTSIDE.sub(named, markdown)
