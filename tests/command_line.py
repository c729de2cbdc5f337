"""Commands of `hf-otw` in tests: in this process through the real entry, or in one of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from hf_otw.cli.main import main

ROOT = Path(__file__).resolve().parents[1]


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def hf_otw(capsys: pytest.CaptureFixture, *argv: str | Path) -> Done:
    """Run a command in this process, through the entry of the console script."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in argv])
    code = stopped.value.code
    out, err = capsys.readouterr()
    return Done(code if isinstance(code, int) else 0 if code is None else 1, out, err)


def hf_otw_process(*argv: str | Path, cwd: Path, env: Mapping[str, str] | None = None, timeout: int = 240) -> Done:
    """Run a command in a process of its own, for what is read when a library is imported."""
    command = [sys.executable, "-W", "error::UserWarning:hf_otw", "-m", "hf_otw.cli", *(str(word) for word in argv)]
    whole = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **(env or {})}
    done = subprocess.run(command, cwd=cwd, env=whole, capture_output=True, text=True, timeout=timeout, check=False)
    return Done(done.returncode, done.stdout, done.stderr)
