"""The counts in docs/reliability.md: what the gates wrote, and with which versions.

python -m benchmarks.reliability      # write the counts into docs/reliability.md
"""

from __future__ import annotations

import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "reliability.json"
PACKAGES = ("hf_otw", "transformers", "accelerate", "torch", "numpy")


def record(key: str, counts: dict[str, Any], path: Path = RESULTS) -> None:
    """Put counts under a key beside what the file holds, at once or not at all."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    versions = {name: metadata.version(name) for name in PACKAGES} | {"python": platform.python_version()}
    found[key] = counts | {"versions": versions}
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    unfinished.replace(path)
