"""Weights and feature memory inside a checkpoint folder: safetensors and JSON, no pickle."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

logger = logging.getLogger(__name__)

TENSORS, HEADER = "otw_state.safetensors", "otw_state.json"
VERSION = 2
#: Name in the header of what identifies the rows that are trained on.
SPLIT = "split_digest"


def save_state(folder: str | Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Write both files, each complete or not at all, the header last.

    Args:
        folder: the checkpoint, which exists.
        tensors: what `Reweighter.state_dict` returned.
        header: JSON values that must be equal when the state is loaded.
    """
    folder = Path(folder)
    save_file({name: value.cpu() for name, value in tensors.items()}, folder / f"{TENSORS}.part")
    os.replace(folder / f"{TENSORS}.part", folder / TENSORS)
    header = {"version": VERSION, "tensors_digest": _digest(folder / TENSORS), **header}
    (folder / f"{HEADER}.part").write_text(json.dumps(header, indent=2) + "\n")
    os.replace(folder / f"{HEADER}.part", folder / HEADER)


def load_state(folder: str | Path, header: dict[str, Any]) -> dict[str, Tensor] | None:
    """Read the tensors, or return None where the checkpoint holds none (it was written by the stock Trainer).

    Raises:
        ValueError: files that are damaged, of another version, or of another training set.
    """
    folder = Path(folder)
    if not (folder / HEADER).exists():
        return None
    remedy = f"Delete {TENSORS} and {HEADER} in {folder} to learn the weights anew from the checkpoint's model."
    try:
        found = json.loads((folder / HEADER).read_text())
        tensors = load_file(folder / TENSORS)
        digest = _digest(folder / TENSORS)
    except (OSError, ValueError, SafetensorError) as error:
        raise ValueError(f"Expected readable weights in {folder}, got: {error}. {remedy}") from error
    if not isinstance(found, dict):
        raise ValueError(f"Expected readable weights in {folder}, got: a header without names. {remedy}")
    for name, value in {"version": VERSION, **header}.items():
        if found.get(name) != value:
            if name == SPLIT:
                raise ValueError(
                    "Expected the checkpoint's weights to have the meta set of this run, but the split moved: other "
                    f"rows are trained on. Resume with the `seed` (`data_seed`) and `meta_examples_per_class` of the "
                    f"first run. {remedy}"
                )
            raise ValueError(
                f"Expected the checkpoint's weights to have {name} = {value!r}, got {found.get(name)!r}: they "
                f"belong to another training set, "
                f"weighting or version. {remedy}"
            )
    if found.get("tensors_digest") != digest:
        raise ValueError(
            f"Expected readable weights in {folder}, got: {TENSORS} is not the file that {HEADER} was written for. "
            f"{remedy}"
        )
    for name in ("example_weights", "class_prior"):
        value = tensors.get(name)
        if value is None or not bool((value.isfinite() & (value >= 0)).all()) or not float(value.sum()) > 0:
            raise ValueError(
                f"Expected readable weights in {folder}, got: {name} is missing, or not of finite numbers of at least "
                f"0 that are not all 0. {remedy}"
            )
    return tensors


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def restore(load: Callable[[dict[str, Tensor]], None], folder: str | Path, header: dict[str, Any]) -> None:
    """Give what a checkpoint holds to `load`, or warn that it holds nothing: see `load_state`."""
    state = load_state(folder, header)
    if state is None:
        logger.warning("No example weights (otw_state.*) in %s: they are learned anew from its model.", folder)
    else:
        load(state)


def last_complete_checkpoint(folder: str | Path) -> str | None:
    """The newest checkpoint in an output folder that was written to its end, or None.

    A run that is killed while it saves leaves a checkpoint that cannot be resumed, or, where only the random state of
    another process is missing, one that resumes with other random numbers; `resume_from_checkpoint=True` takes it all
    the same. `trainer.train(resume_from_checkpoint=last_complete_checkpoint("out"))` goes on from the one before.

    Args:
        folder: `output_dir` of the run. Under `torchrun` or `accelerate launch` the random state of each of the
            `WORLD_SIZE` processes must be there.
    """
    numbers = [(int(path.name[11:]), path) for path in Path(folder).glob("checkpoint-*") if path.name[11:].isdigit()]
    for _, path in sorted(numbers, reverse=True):
        if is_complete(path, int(os.environ.get("WORLD_SIZE", "1"))):
            return str(path)
    return None


def is_complete(checkpoint: Path, num_processes: int) -> bool:
    """Was everything written, to the last byte? The host writes `trainer_state.json` last, of the first process."""
    try:
        for path in (checkpoint / "trainer_state.json", *checkpoint.glob("*.json")):
            json.loads(path.read_text(encoding="utf-8"))
        for path in checkpoint.rglob("*.safetensors"):
            with safe_open(path, framework="pt"):  # refuses a file that is not as long as its header says
                pass
    except (OSError, ValueError, SafetensorError):
        return False
    pickles = [path for path in checkpoint.iterdir() if path.suffix in (".pt", ".pth", ".bin")]
    states = [path for path in pickles if path.name.startswith("rng_state")]
    return (
        all(zipfile.is_zipfile(path) for path in pickles)  # their directory is at the end
        and (not states or len(states) >= num_processes)
        and (checkpoint / TENSORS).exists() == (checkpoint / HEADER).exists()
    )
