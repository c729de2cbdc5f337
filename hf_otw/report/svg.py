"""Figures as SVG inside a page: text stays text, and colours follow the theme of the page."""

from __future__ import annotations

import io
import re
import warnings
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from hf_otw.report.theme import LIGHT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_REFERENCE = re.compile(r"^(?:url\()?#([^)]*)\)?$")
_FONT = re.compile(r"font-family:[^;]*;?|font: (?P<size>[\d.]+px) [^;]*;?")


def inline_svg(figure: Figure, name: str) -> str:
    """Return a figure as an `<svg>` element without width and height, for a page that defines `--<role>` colours.

    Args:
        figure: drawn in the colours of the light theme.
        name: of the figure on its page, so that no two figures of a page share an identifier.
    """
    from matplotlib import rc_context

    file = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}), warnings.catch_warnings():
        # Measured only: the browser draws the text, with fonts of its own.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    root = ElementTree.fromstring(file.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    used = {
        found[1] for element in root.iter() for value in element.attrib.values() if (found := _REFERENCE.match(value))
    }
    for element in root.iter():
        if element.get("id") not in used:
            element.attrib.pop("id", None)
        if "style" in element.attrib:
            element.set("style", _themed(element.attrib["style"]))
    for size in ("width", "height"):
        root.attrib.pop(size, None)
    return ElementTree.tostring(root, encoding="unicode")


def _themed(style: str) -> str:
    """Name colours by their role, and leave the font to the page."""
    style = _FONT.sub(lambda found: f"font-size: {found['size']};" if found["size"] else "", style)
    for role, colour in LIGHT.items():
        style = style.replace(colour, f"var(--{role})")
    return style
