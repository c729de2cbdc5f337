"""Several processes of one command that find each other, on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Sequence


def run_together(command: Sequence[str], ranks: int) -> str:
    """Run a command in some processes at once and return what the first printed; one alone is not told of others.

    Raises:
        RuntimeError: a process that failed, with its message.
    """
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(ranks)}
    started = [
        subprocess.Popen(
            command,
            env=os.environ | (common | {"RANK": str(rank), "LOCAL_RANK": str(rank)} if ranks > 1 else {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]
    ended = [process.communicate() for process in started]
    failed = [error for process, (_, error) in zip(started, ended, strict=True) if process.returncode]
    if failed:
        raise RuntimeError(
            f"Expected {ranks} processes of `{' '.join(command)}` to end well, one failed:\n{failed[0]}"
        )
    return ended[0][0]


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
