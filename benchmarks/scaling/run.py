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
import sys
from pathlib import Path
from typing import Any

from benchmarks.launch import run_together
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
    """Figures of one row, of the slowest process."""
    command = [sys.executable, "-m", "benchmarks.scaling.worker", "--folder", str(options.folder.resolve())]
    command += ["--sizes", str(n), str(options.columns), str(options.dimensions), "--mode", mode]
    command += ["--repeats", str(options.repeats), "--device", options.device]
    return json.loads(run_together(command, ranks))


if __name__ == "__main__":
    main()
