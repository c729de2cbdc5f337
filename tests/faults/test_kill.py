"""Killed runs go on as if nobody had killed them. `make faults` kills more of them, on one and on two processes."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from hf_otw import last_complete_checkpoint
from hf_otw.checkpoint import is_complete
from tests.faults.kill import equal, results, trajectory, uninterrupted


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    uninterrupted(out, 1)
    return out


@pytest.mark.slow
def test_a_run_killed_three_times_ends_as_if_it_had_not_been(whole: Path, tmp_path: Path) -> None:
    """In a step, between our two files, before the host's last file. Kills: a state that is not saved or not restored,
    a checkpoint taken for complete that is not, a weights file written in place.
    """
    kinds = ["replace:4", "step:{step}", "trainer_state:2"]
    assert trajectory(tmp_path / "run", 1, kinds, 0.0, random.Random(0)) == 3
    assert equal(results(tmp_path / "run", 1), results(whole, 1))


@pytest.mark.slow
def test_a_comparison_can_fail(whole: Path) -> None:
    found, other = results(whole, 1), results(whole, 1)
    assert equal(found, other)
    name = next(iter(other[0]["parameters"]))
    other[0]["parameters"][name].view(-1)[0] += 1e-7
    assert not equal(found, other)


OURS = ("otw_state.safetensors", "otw_state.json")
OTHERS = ("model.safetensors", "optimizer.pt", "rng_state.pth", "scheduler.pt", "trainer_state.json")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "keep"), [*((name, 0.5) for name in OURS + OTHERS), *((name, None) for name in (*OURS, OTHERS[-1]))]
)
def test_the_newest_checkpoint_that_is_whole_is_found(
    whole: Path, tmp_path: Path, name: str, keep: float | None
) -> None:
    """Half of a file, or none of it. Kills: a file whose end is not looked at, or that is not looked at at all."""
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    assert last_complete_checkpoint(out) == str(out / "checkpoint-12")
    path = out / "checkpoint-12" / name
    content = path.read_bytes()
    path.unlink()
    if keep:
        path.write_bytes(content[: int(keep * len(content))])
    assert last_complete_checkpoint(out) == str(out / "checkpoint-10")


@pytest.mark.slow
def test_every_process_needs_its_random_state(whole: Path) -> None:
    """Kills: a checkpoint that one process had no time to finish."""
    assert is_complete(whole / "checkpoint-12", 1)
    assert not is_complete(whole / "checkpoint-12", 2)


def test_no_checkpoint(tmp_path: Path) -> None:
    assert last_complete_checkpoint(tmp_path / "absent") is None
    (tmp_path / "checkpoint-3").mkdir()
    (tmp_path / "checkpoint-last").mkdir()
    assert last_complete_checkpoint(tmp_path) is None
