"""Weights, verdicts and comparisons for any labelled rows, without training a network.

`audit` finds label errors in a DataFrame, a data set, arrays or a file. Below it, `labelled` reads rows, classes and
features; `weigh` gives every row a weight; `judge` ranks what looks wrong; `fix` writes a cleaned copy; `compare` says
which way of training suits the data; `page` writes what `judge` found as HTML.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hf_otw.audit.api import Audit as Audit
    from hf_otw.audit.api import audit as audit

__all__ = ["Audit", "audit"]


def __getattr__(name: str) -> Any:
    """Import on first use: commands import modules of this package before they know that they need the rest."""
    if name in __all__:
        from hf_otw.audit import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
