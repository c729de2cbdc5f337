"""`hf-otw train --launch`: the same command again, under `accelerate launch`."""

from __future__ import annotations

import difflib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CONFIGS = Path(__file__).parents[1] / "accelerate_configs"
#: With its value, an option that the launched command must not see again.
TAKEN = ("--launch", "--processes")


def config_path(name: str) -> Path:
    """A configuration of the package, or the user's file.

    Raises:
        ValueError: neither, with the closest name.
    """
    packaged = {path.stem: path for path in sorted(CONFIGS.glob("*.yaml"))}
    if name in packaged:
        return packaged[name]
    if Path(name).is_file():
        return Path(name)
    near = difflib.get_close_matches(name, packaged, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else "A file of `accelerate config` will do as well."
    raise ValueError(f"Expected --launch to be one of {', '.join(packaged)}, or a file, got {name!r}. {hint}")


def without_taken(argv: Sequence[str]) -> list[str]:
    """The command line without the options that ask for the launch."""
    kept, skip = [], False
    for word in argv:
        if skip:
            skip = False
        elif word in TAKEN:
            skip = True
        elif not word.startswith(tuple(f"{name}=" for name in TAKEN)):
            kept.append(word)
    return kept


def launch_command(name: str, processes: int | None, argv: Sequence[str]) -> list[str]:
    """The command line of accelerate."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config_path(name))]
    if processes is not None:
        command += ["--num_processes", str(processes)]
    rest = without_taken(argv)
    if name == "cpu_ddp" and not any(word.lstrip("-").endswith("use_cpu") for word in rest):
        rest += ["--arguments.use_cpu", "true"]  # on a machine with GPUs the processes would take those
    return [*command, "--dynamo_backend", "no", "-m", "hf_otw.cli", *rest]


def run_launched(name: str, processes: int | None, argv: Sequence[str]) -> int:
    """Run to the end and return the exit code."""
    # One thread a process by default, as torchrun does, but without its warning.
    env = {"OMP_NUM_THREADS": "1"} | os.environ
    return subprocess.run(launch_command(name, processes, argv), env=env, check=False).returncode
