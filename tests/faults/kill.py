"""Kill training runs at random and at chosen points, resume, and compare with a run that nobody killed.

    python -m tests.faults.kill --kills 24 --processes 1 2
    make faults

A trajectory is killed several times on its way; each kill counts as bit-equal if the parameters, the weights, the
state of the weighting and the log at its end are those of the uninterrupted run, to the last bit, on every process.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import torch

from benchmarks.reliability import record
from tests.faults.train import kill_tree

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("train.py")
#: `name:k` as `train.py` takes them; `clock` is a kill at a random moment after the start of training.
#: A run makes 12 steps of 2 micro-steps and saves 6 times; `replace` is called for each of our two files. The second
#: save is cut, so that there is a checkpoint to go back to.
DIRECTED = ("step:{step}", "model:2", "optimizer:2", "weights:2", "replace:3", "replace:4", "random_state:2")
KINDS = (*DIRECTED, "trainer_state:2", "clock", "clock", "clock", "clock")
TIMEOUT_S = 300
ERRORS = "errors.txt"


def start(out: Path, processes: int, kill: str = "") -> subprocess.Popen[str]:
    """A run: a process, or a launcher with some."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command = [sys.executable, *(launcher if processes > 1 else []), str(SCRIPT), str(out)]
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "KILL": kill}
    with open(out / ERRORS, "w", encoding="utf-8") as errors:
        return subprocess.Popen(command, env=env, cwd=out, stdout=subprocess.PIPE, stderr=errors, text=True)


def finish(run: subprocess.Popen[str]) -> bool:
    """Wait for the end; was the run killed?"""
    run.communicate(timeout=TIMEOUT_S)
    if run.returncode not in (0, -signal.SIGKILL):
        said = (Path(run.args[-1]) / ERRORS).read_text(encoding="utf-8")[-3000:]
        raise SystemExit(f"Expected a run that ends or is killed, its exit status is {run.returncode}:\n{said}")
    return run.returncode != 0


def kill_by_clock(run: subprocess.Popen[str], after: float) -> None:
    """Kill the run `after` seconds from the line that the run prints when it starts to train."""
    run.stdout.readline()
    time.sleep(after)
    with contextlib.suppress(psutil.NoSuchProcess):  # it was faster
        kill_tree(run.pid)


def results(out: Path, processes: int) -> list[dict[str, Any]]:
    """What each process became."""
    return [torch.load(out / f"result-{rank}.pt") for rank in range(processes)]


def trajectory(out: Path, processes: int, kinds: list[str], seconds: float, rng: random.Random) -> int:
    """Kill a run once for each of `kinds`, let it end, and return how many kills there were."""
    out.mkdir(parents=True)
    kills = 0
    for kind in kinds:
        if kind == "clock":
            run = start(out, processes)
            kill_by_clock(run, rng.uniform(0, seconds))
        else:
            run = start(out, processes, kind.format(step=rng.randint(2, 9)))
        if not finish(run):
            return kills
        kills += 1
    while finish(start(out, processes)):
        raise SystemExit("Expected a run that nobody kills to end.")
    return kills


def uninterrupted(out: Path, processes: int) -> float:
    """Train without a kill and return how many seconds training takes."""
    out.mkdir(parents=True)
    run = start(out, processes)
    run.stdout.readline()
    started = time.perf_counter()
    if finish(run):
        raise SystemExit("Expected a run that nobody kills to end.")
    return time.perf_counter() - started


def equal(ours: Any, theirs: Any) -> bool:
    """To the last bit; NaN is equal to NaN."""
    try:
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)
    except AssertionError:
        return False
    return True


def campaign(folder: Path, processes: int, kills: int, seed: int, per_run: int = 4) -> tuple[int, int]:
    """Kill `kills` times or a few times more. Returns how many kills there were, and after how many all was equal."""
    rng = random.Random(seed)
    seconds = uninterrupted(folder / "whole", processes)
    expected = results(folder / "whole", processes)
    tried = bit_equal = number = 0
    queue: list[str] = []
    while tried < kills:
        while len(queue) < per_run:
            queue += rng.sample(KINDS, len(KINDS))
        kinds, queue = queue[:per_run], queue[per_run:]
        out = folder / f"run-{number}"
        count = trajectory(out, processes, kinds, seconds, rng)
        found = results(out, processes)
        same = equal(found, expected)
        print(
            f"{processes} process(es), {count} kills ({', '.join(kinds)}): {'equal' if same else 'DIFFERENT'}",
            flush=True,
        )
        tried, bit_equal, number = tried + count, bit_equal + count * same, number + 1
        shutil.rmtree(out)
    return tried, bit_equal


def main() -> None:
    """Kill, compare, write the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=12, help="for each number of processes")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    counts = {}
    with tempfile.TemporaryDirectory() as folder:
        for processes in options.processes:
            counts[processes] = campaign(Path(folder) / str(processes), processes, options.kills, options.seed)
    tried, bit_equal = (sum(column) for column in zip(*counts.values(), strict=True))
    by_processes = {str(key): {"tried": value[0], "bit_equal": value[1]} for key, value in counts.items()}
    record("kills", {"tried": tried, "bit_equal": bit_equal, "by_processes": by_processes})
    print(f"{tried} kills, {bit_equal} bit-equal.")
    sys.exit(tried != bit_equal)


if __name__ == "__main__":
    main()
