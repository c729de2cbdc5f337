"""Weights of up to a million examples from a memory-mapped file. Writes benchmarks/results/scale.json.

Every row comes from processes of its own, whose largest resident memory is that of the row. In them the solve, from
reading features to weights, takes turns with the matrix product that computing all costs once takes.

    python -m benchmarks.scaling.run                                      # 10^4, 10^5, 10^6 rows; 1 and 2 processes
    python -m benchmarks.scaling.run --rows 100000 --modes closed_form
    python -m benchmarks.scaling.run --device cuda --ranks 1
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS, merge
from benchmarks.scaling.data import make_files

KEY = ("device", "n", "m", "d", "mode", "ranks")


def main() -> None:
    """Measure what is asked for, a row at a time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--columns", type=int, default=1000)
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--modes", nargs="+", default=["closed_form", "sinkhorn"])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--folder", type=Path, default=Path("runs/scale"), help="for the files: 2 n d bytes")
    parser.add_argument("--results", type=Path, default=RESULTS / "scale.json")
    options = parser.parse_args()
    m, d = options.columns, options.dimensions
    for n in options.rows:
        make_files(options.folder, n, m, d)
        for mode in options.modes:
            for ranks in options.ranks:
                about = {"device": options.device, "n": n, "m": m, "d": d, "mode": mode, "ranks": ranks}
                row = about | measure(options, n, mode, ranks)
                merge(options.results, [row], KEY, options.device)
                shown = "{n:>8} x {m}, {d}, {mode:<16}{ranks} processes {seconds:>8.2f} s, {ratio:>5.2f} x the product"
                print((shown + ", {peak_rss_gb:.2f} GB").format(**row), flush=True)


def measure(options: argparse.Namespace, n: int, mode: str, ranks: int) -> dict[str, Any]:
    """Figures of one row, of the slowest process.

    Raises:
        RuntimeError: a process that failed, with its message.
    """
    command = [sys.executable, "-m", "benchmarks.scaling.worker", "--folder", str(options.folder.resolve())]
    command += ["--sizes", str(n), str(options.columns), str(options.dimensions), "--mode", mode]
    command += ["--repeats", str(options.repeats), "--device", options.device]
    common = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(ranks)}
    started = [
        subprocess.Popen(
            command, env=common | {"RANK": str(rank)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for rank in range(ranks)
    ]
    ended = [process.communicate() for process in started]
    failed = [error for process, (_, error) in zip(started, ended, strict=True) if process.returncode]
    if failed:
        raise RuntimeError(f"Expected {ranks} processes to measure {mode} over {n} rows, one failed:\n{failed[0]}")
    return json.loads(ended[0][0])


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


if __name__ == "__main__":
    main()
