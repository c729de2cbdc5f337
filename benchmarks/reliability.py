"""The counts in docs/reliability.md: what the gates wrote, and with which versions.

python -m benchmarks.reliability      # write the counts into docs/reliability.md
"""

from __future__ import annotations

import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from tools.markdown import fill, table

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "reliability.json"
PAGE = ROOT / "docs" / "reliability.md"
PACKAGES = ("hf_otw", "transformers", "accelerate", "torch", "numpy")


def record(key: str, counts: dict[str, Any], path: Path = RESULTS) -> None:
    """Put counts under a key beside what the file holds, at once or not at all."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    versions = {name: metadata.version(name) for name in PACKAGES} | {"python": platform.python_version()}
    found[key] = counts | {"versions": versions}
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    unfinished.replace(path)


def counts_table(found: dict[str, Any]) -> str:
    """Return the counts, one row per gate."""
    rows: list[tuple[str, int, int, str]] = []
    for processes, counts in found.get("kills", {}).get("by_processes", {}).items():
        many = "es" * (processes != "1")
        what = f"runs killed and resumed, {processes} process{many}: bit-equal to one that was not"
        rows.append((what, counts["tried"], counts["bit_equal"], "faults"))
    if counts := found.get("properties"):
        what = "random problems of weighting and transport: finite, non-negative, mean 1, totals add up"
        rows.append((what, counts["cases"], counts["cases"] - counts["failures"], "faults"))
    if counts := found.get("mutation"):
        what = "deliberate mistakes in the mathematics, one at a time: noticed by the tests"
        rows.append((what, counts["total"], counts["killed"], "mutation"))
    if counts := found.get("hostile_recipes"):
        what = "hostile recipes, from the Hub or a folder: refused with a reason, or without harm"
        rows.append((what, counts["tried"], counts["refused"] + counts["harmless"], "hostile"))
    for name, counts in found.get("conformance", {}).get("runs", {}).items():
        ran = counts["passed"] + counts["failed"]
        what = f'tests of transformers\' own suite, `weighting="{name}"`: as with the stock Trainer'
        rows.append((what, ran, ran - counts["failed_beside_stock"], "conformance"))
    cells = [(what, f"`make {command}`", f"{tried:,}", f"{held:,}") for what, tried, held, command in rows]
    return table(["what", "command", "tried", "held"], cells, texts=2)


def fill_page(page: str, found: dict[str, Any]) -> str:
    """The page's text with the counts that were recorded."""
    return fill(page, "reliability", counts_table(found))


def main() -> None:
    """Write the table."""
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    PAGE.write_text(fill_page(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")


if __name__ == "__main__":
    main()
