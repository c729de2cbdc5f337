"""Run the queue, one training process at a time. What has a result is not run again; a killed run is resumed.

    python -m benchmarks.paper.run                        # what is missing, in the order of the queue
    python -m benchmarks.paper.run --only sst2/20-1000    # runs whose name begins like this
    python -m benchmarks.paper.run --list                 # what is done, begun, failed and missing

Results, and checkpoints of runs that are not done, lie in the folder that `--runs` or `$HF_OTW_PAPER_RUNS` names,
`runs/paper` by default. Kill the process to stop it: the next one goes on from the last checkpoint.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import FrameType

from benchmarks.paper.job import Job, Row, read_result, result_path, work_folder, write_json
from benchmarks.paper.parts import PARTS, queue
from tools.run_all import commit

PACKAGES = ("hf_otw", "torch", "transformers", "accelerate", "datasets", "numpy")


def main(argv: Sequence[str] | None = None) -> None:
    """Run one job, list them, or go through the queue."""
    options = parse(argv)
    if options.data is not None:
        os.environ["HF_OTW_DATA"] = str(options.data.resolve())
    chosen = [job for job in queue() if job.name.startswith(tuple(options.only or [""]))]
    if options.only and not chosen:
        sys.exit(f"Expected the beginning of a name such as {queue()[0].name!r} for --only, got {options.only}.")
    if options.job:
        run_job(next(job for job in queue() if job.name == options.job), options.runs)
    elif options.list:
        print("\n".join(f"{state(options.runs, job):9}{job.name}" for job in chosen))
    else:
        with alone(options.runs):
            failed = run_queue(chosen, options.runs, launch)
        if failed:
            sys.exit(f"Expected every run to end well, but {len(failed)} failed: {', '.join(failed)}. See the log.")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper.run", description=__doc__.splitlines()[0])
    default = Path(os.environ.get("HF_OTW_PAPER_RUNS") or "runs/paper")
    parser.add_argument("--runs", type=Path, default=default, help="folder of results and checkpoints")
    parser.add_argument("--data", type=Path, help="folder of the data; $HF_OTW_DATA, or ../shared/data, by default")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="runs whose name begins with one of these")
    parser.add_argument("--list", action="store_true", help="what is done, begun, failed and missing")
    parser.add_argument("--job", metavar="NAME", help="run this one in this process")
    return parser.parse_args(argv)


@contextmanager
def alone(runs: Path) -> Iterator[None]:
    """Hold the folder for one queue: two would train the same run.

    Raises:
        SystemExit: another process holds it.
    """
    runs.mkdir(parents=True, exist_ok=True)
    with (runs / "queue.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"Expected no other queue on {runs}, but one is running. Stop it, or wait for its end.")
        (runs / "queue.pid").write_text(f"{os.getpid()}\n", encoding="utf-8")
        yield


def run_queue(jobs: Sequence[Job], runs: Path, start: Callable[[Job, Path], int]) -> list[str]:
    """Run what has no result; returns the names of the runs that failed."""
    failed = []
    for job in jobs:
        if read_result(runs, job) is not None:
            continue
        began = time.perf_counter()
        print(f"{time.strftime('%F %T')} {job.name}: begins", flush=True)
        code = start(job, runs)
        if code:
            failed.append(job.name)
            failure_path(runs, job).write_text(f"exit status {code}\n", encoding="utf-8")
        seconds = time.perf_counter() - began
        print(f"{time.strftime('%F %T')} {job.name}: {'failed' if code else 'done'}, {seconds:.0f} s", flush=True)
    return failed


def launch(job: Job, runs: Path) -> int:
    """Run a job in a process of its own, which gives its memory back; its exit status."""
    command = [sys.executable, "-m", "benchmarks.paper.run", "--job", job.name, "--runs", str(runs)]
    work_folder(runs, job).mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(command)

    def stop(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)  # not waited for here: the wait below holds the lock of the process
        stopped.append(number)

    stopped: list[int] = []
    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        code = process.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if stopped:
        sys.exit(f"stopped in {job.name}, which goes on from its last checkpoint")
    return code


def run_job(job: Job, runs: Path) -> None:
    """Train, write the result, and remove the checkpoints."""
    folder = work_folder(runs, job)
    folder.mkdir(parents=True, exist_ok=True)
    failure_path(runs, job).unlink(missing_ok=True)
    found = PARTS[job.part].run(job, runs)
    write_json({**job._asdict(), **found, **provenance()}, result_path(runs, job))
    shutil.rmtree(folder)


def provenance() -> Row:
    """What a result was measured with."""
    versions = {"python": platform.python_version()} | {name: metadata.version(name) for name in PACKAGES}
    return {"versions": versions, "commit": commit(), "date": time.strftime("%F")}


def failure_path(runs: Path, job: Job) -> Path:
    """The file that says that a run has failed; the next queue tries it again."""
    return work_folder(runs, job) / "failed"


def state(runs: Path, job: Job) -> str:
    """`done`, `failed`, `begun` or `missing`."""
    if read_result(runs, job) is not None:
        return "done"
    if failure_path(runs, job).is_file():
        return "failed"
    return "begun" if work_folder(runs, job).is_dir() else "missing"


if __name__ == "__main__":
    main()
