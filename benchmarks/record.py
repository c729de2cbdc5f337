"""Results files of the benchmarks of speed: rows, and the machine and the versions that they were measured with."""

from __future__ import annotations

import json
import os
import platform
import resource
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    "hf_otw",
    "torch",
    "numpy",
    "transformers",
    "accelerate",
    "geomloss",
    "POT",
    "ott-jax",
    "jax",
    "flash-sinkhorn",
)


def hardware(device: str) -> dict[str, Any]:
    """What the figures depend on."""
    found = {"machine": platform.machine(), "processor": _processor(), "cores": os.cpu_count()}
    found["threads"] = torch.get_num_threads()
    if device == "cuda":
        found["accelerator"] = torch.cuda.get_device_name()
    return found


def versions() -> dict[str, str]:
    """Of the packages that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def read(path: Path) -> list[dict[str, Any]]:
    """Rows of a results file; none where there is no file."""
    return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []


def merge(path: Path, rows: list[dict[str, Any]], key: tuple[str, ...], device: str) -> list[dict[str, Any]]:
    """Put rows into a results file, each in place of the one with the same key, at once or not at all.

    Every row keeps the hardware and the versions of its own run.
    """
    about = {"hardware": hardware(device), "versions": versions()}
    found = {tuple(row.get(name) for name in key): row for row in read(path)}
    for row in rows:
        found[tuple(row.get(name) for name in key)] = row | about
    ordered = sorted(found.values(), key=lambda row: [str(row.get(name)) for name in key])
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps({"rows": ordered}, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)
    return ordered


def peak_rss_bytes() -> float:
    """The largest resident memory of this process, in bytes."""
    # Not `getrusage`: its figure is at least that of the process which started this one, at that moment.
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return 1024.0 * int(found[0]) if found else 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _processor() -> str:
    found = Path("/proc/cpuinfo")
    lines = found.read_text(encoding="utf-8").splitlines() if found.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()
