"""Run `hf-otw` many times and import it once: each command in a fork of its own.

Started as `python -m tests.hostile.worker`; reads a line of JSON for each command and answers with one.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.command_line import ROOT, Done

HEAVY = ("hf_otw.cli.app", "hf_otw.recipe.run", "hf_otw.recipe.hub", "hf_otw.recipe.publish", "hf_otw.recipe.built_in")
SECONDS = 120


class Worker:
    """The process that forks."""

    def __init__(self, env: Mapping[str, str]) -> None:
        whole = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **env}
        command = [sys.executable, "-m", "tests.hostile.worker"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=whole
        )

    def __call__(self, *argv: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> Done:
        """Run a command; one that takes more than `SECONDS` is killed, and ends with -9."""
        job = {"argv": [str(word) for word in argv], "cwd": str(cwd), "env": dict(env or {})}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        return Done(answer["code"], answer["out"], answer["err"])

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def run(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Fork, run, wait."""
    out, err = folder / f"{os.getpid()}.out", folder / f"{os.getpid()}.err"
    child = os.fork()
    if child == 0:
        run_here(job, out, err)
    code, end = None, time.monotonic() + SECONDS
    while code is None:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
        elif time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
        else:
            time.sleep(0.01)
    texts = {
        name: path.read_bytes().decode("utf-8", errors="surrogateescape")
        for name, path in (("out", out), ("err", err))
    }
    return {"code": code, **texts}


def run_here(job: dict[str, Any], out: Path, err: Path) -> None:
    """In the fork: the command, with nothing of this process left to it; never returns."""
    from hf_otw.cli.main import main

    code = 70
    try:
        for number, path in ((0, Path(os.devnull)), (1, out), (2, err)):
            flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            os.dup2(os.open(path, flags, 0o600), number)
        os.chdir(job["cwd"])
        os.environ.update(job["env"])
        main(job["argv"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:  # noqa: BLE001
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main() -> None:
    """Serve until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    folder = Path(os.environ["HF_HOME"])
    folder.mkdir(parents=True, exist_ok=True)
    for name in HEAVY:
        importlib.import_module(name)
    for line in sys.stdin:
        answers.write(json.dumps(run(json.loads(line), folder)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
