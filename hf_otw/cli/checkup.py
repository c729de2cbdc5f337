"""Checks of `hf-otw doctor`: each says what it found and, where that is wrong, what to do."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

State = Literal["ok", "note", "wrong"]
MIN_PYTHON = (3, 10)
#: Bytes below which a model does not fit beside its checkpoints.
LITTLE_SPACE = 2_000_000_000


class Check(NamedTuple):
    """One finding."""

    name: str
    state: State
    text: str
    remedy: str = ""


def checks(*, trial: bool = True) -> list[Check]:
    """Look at everything; a check that fails itself is a finding too.

    Args:
        trial: whether to import the Trainer and to solve a toy problem.
    """
    found = [python(), *packages(), *hub(), disk("working folder", Path.cwd())]
    if trial:
        found += [guarded("devices", devices), guarded("Trainer", trainer), guarded("trial", solve)]
    return found


def python() -> Check:
    """The interpreter."""
    version = platform.python_version()
    if sys.version_info < MIN_PYTHON:
        return Check("Python", "wrong", version, "Use Python 3.10 or newer.")
    return Check("Python", "ok", f"{version}, {platform.machine()}, {os.cpu_count()} cores")


def packages() -> Iterator[Check]:
    """Every requirement of hf_otw against what is installed."""
    from packaging.requirements import Requirement

    try:
        wanted = metadata.requires("hf_otw") or []
    except metadata.PackageNotFoundError:
        yield Check("hf_otw", "wrong", "imported, but not installed", "Run `pip install hf_otw`.")
        return
    yield Check("hf_otw", "ok", metadata.version("hf_otw"))
    for text in wanted:
        requirement = Requirement(text)
        extra = next((name for name in extras() if is_of_extra(requirement, name)), None)
        if requirement.marker is None or extra is not None:
            yield package(requirement.name, str(requirement.specifier), requirement.specifier.contains, extra)


def extras() -> list[str]:
    """Optional parts that a user meets; those for developers are not looked at."""
    known = metadata.metadata("hf_otw").get_all("Provides-Extra") or []
    return [name for name in known if name not in ("dev", "test", "docs")]


def is_of_extra(requirement: object, extra: str) -> bool:
    """Whether a requirement is asked for by an optional part only."""
    marker = requirement.marker  # type: ignore[attr-defined]
    return marker is not None and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""})


def package(name: str, wanted: str, fits: Callable[[str], bool], extra: str | None) -> Check:
    """One package: there, and of a version that was asked for."""
    place = f"hf_otw[{extra}]" if extra else "hf_otw"
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        state: State = "wrong" if extra is None else "note"
        return Check(name, state, f"not installed, {place} needs {wanted}", f'Run `pip install "{place}"`.')
    if not fits(version):
        return Check(name, "wrong", f"{version}, {place} needs {wanted}", f'Run `pip install "{name}{wanted}"`.')
    return Check(name, "ok", version)


def hub() -> Iterator[Check]:
    """The Hub's client: where it goes, what it may, where it keeps things. A token is never shown."""
    from huggingface_hub import constants, get_token

    offline = constants.HF_HUB_OFFLINE
    text = f"{constants.ENDPOINT}{', offline (HF_HUB_OFFLINE): only what is in the cache' if offline else ''}"
    yield Check("Hub", "note" if offline else "ok", text)
    yield Check("Hub token", "ok" if get_token() else "note", "there" if get_token() else "none: public repos only")
    cache = Path(constants.HF_HUB_CACHE)
    there = next(path for path in (cache, *cache.parents) if path.exists())
    if not os.access(there, os.W_OK):
        yield Check("Hub cache", "wrong", f"{cache} cannot be written", "Set HF_HOME to a folder of your own.")
    else:
        yield disk("Hub cache", there, str(cache))


def disk(name: str, path: Path, shown: str | None = None) -> Check:
    """Space that is left."""
    free = shutil.disk_usage(path).free
    text = f"{shown or path}, {free / 1e9:,.1f} GB free"
    state: State = "note" if free < LITTLE_SPACE else "ok"
    return Check(name, state, text, "Make room.")


def devices() -> Check:
    """Report the device that torch computes on."""
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
        return Check("devices", "ok", f"{len(names)} GPU: {', '.join(names)}")
    if torch.backends.mps.is_available():
        return Check("devices", "ok", "Apple GPU (mps)")
    return Check("devices", "ok", f"CPU, {torch.get_num_threads()} threads")


def trainer() -> Check:
    """Transformers and all that the Trainer needs can be imported."""
    from hf_otw import OTWeightedTrainer

    return Check("Trainer", "ok", f"{OTWeightedTrainer.__name__} can be imported")


def solve() -> Check:
    """A toy problem with a wrong label gives that label less weight."""
    import numpy as np

    from hf_otw import learn_weights

    labels = np.arange(60) % 2
    features = np.random.default_rng(0).normal(size=(60, 4)) + 6.0 * labels[:, None]
    given = labels.copy()
    given[0] = 1 - given[0]
    result = learn_weights(features, given, features[-20:], labels[-20:], weighting="agreement")
    if not result.weights[0] < 0.1 < result.weights[1:].min():
        return Check("trial", "wrong", "weights are not what they must be", "Please report this, with this table.")
    return Check("trial", "ok", "a wrong label among 60 was found")


def guarded(name: str, check: Callable[[], Check]) -> Check:
    """A check; what it raises is what is wrong."""
    try:
        return check()
    except Exception as error:  # noqa: BLE001
        return Check(name, "wrong", f"{type(error).__name__}: {error}", "Install what is missing, see above.")
