"""Text of others, made safe for a terminal."""

from __future__ import annotations

import re

#: What a terminal may obey in place of showing it: control characters (C0 without tab and line end, DEL, C1), marks
#: that change the direction of text, separators of lines and paragraphs, tags without a glyph; and halves of surrogate
#: pairs, which no stream can write.
ACTIVE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff\ufff9-\ufffb"
    r"\U000e0000-\U000e007f]"
)
BREAKS = re.compile(r"[\t\n]")


def printable(text: str, *, one_line: bool = False) -> str:
    r"""The text with characters that a terminal would obey written out, such as `\x1b`.

    Args:
        text: of a data set, a label, a recipe, a server.
        one_line: whether to write out tabs and line ends too, as in the cell of a table, where a line end would begin
            a row of its own.
    """
    shown = ACTIVE.sub(written_out, text)
    return BREAKS.sub(written_out, shown) if one_line else shown


def written_out(found: re.Match[str]) -> str:
    """One character as Python writes it in a string."""
    return found[0].encode("unicode_escape").decode("ascii")
