"""Which solver is the fastest for a weight gradient of given accuracy? Writes benchmarks/results/solvers.json.

Every solver gets the cheapest of its settings whose gradient is right to 1e-3, and to 1e-5, against a solve in
float64, and all take turns. One that reaches neither is timed at its best, and its row says what it reached. Rows that
are there are replaced, so that sizes can be run one by one.

    python -m benchmarks.solving.run                            # CPU, float32, one core
    python -m benchmarks.solving.run --only 16x10 32x100 --solvers fused ott
    python -m benchmarks.solving.run --device cuda              # and flash-sinkhorn
"""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import torch

from benchmarks.record import RESULTS, merge
from benchmarks.solving import compiled, solvers
from benchmarks.solving.problems import Problem, make_problem, relative_error, right_answers
from benchmarks.solving.solvers import Call, Solver
from benchmarks.timing import SLOW_SECONDS, interleaved, median_ms, now, synchronise

SIZES = ((16, 10), (32, 100), (128, 100), (512, 1000), (4096, 1000), (100_000, 100))
TARGETS = (1e-3, 1e-5)
#: A solver that takes longer than this is not tried with a dearer setting.
MOST_SECONDS = 2.0
KEY = ("device", "n", "m", "target", "solver")
SOLVERS = (
    Solver("fused", "kl", solvers.fused),
    Solver("fused, warm start", "kl", solvers.fused_warm),
    Solver("closed form", "entropy", solvers.closed_form),
    Solver("OTT-JAX, kernel", "kl", compiled.ott_kernel),
    Solver("OTT-JAX, log-sum-exp", "kl", compiled.ott_logarithms),
    Solver("POT, kernel", "kl", solvers.pot_kernel),
    Solver("POT, ot.solve", "kl", solvers.pot_solve),
    Solver("reference, unrolled", "sharp", solvers.reference),
    Solver("GeomLoss", "kl", solvers.geomloss),
)
ON_ACCELERATORS = (
    *(solver for solver in SOLVERS if solver.name not in ("OTT-JAX, kernel", "OTT-JAX, log-sum-exp", "POT, kernel")),
    Solver("flash-sinkhorn", "kl", compiled.flash_sinkhorn),
)


def main() -> None:
    """Time every solver at every size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[f"{n}x{m}" for n, m in SIZES], help="sizes, as 16x10")
    parser.add_argument("--solvers", nargs="+", default=[""], help="beginnings of names")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--results", type=Path, default=RESULTS / "solvers.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # solvers that stop early, as they are told to, say so
    chosen = SOLVERS if options.device == "cpu" else ON_ACCELERATORS
    chosen = tuple(s for s in chosen if any(s.name.lower().startswith(k.lower()) for k in options.solvers))
    for size in options.only:
        n, m = (int(number) for number in size.split("x"))
        rows = measure(n, m, chosen, options.device, options.repeats)
        merge(options.results, rows, KEY, options.device)
        for row in rows:
            shown = "{n:>6} x {m:<5} {target:.0e} {solver:<22}{median_ms:>10.3f} ms   error {rel_error:.1e}  {setting}"
            print(shown.format(**row), flush=True)


def measure(n: int, m: int, chosen: tuple[Solver, ...], device: str, repeats: int) -> list[dict[str, Any]]:
    """Rows of one size."""
    exact = make_problem(n, m)
    right = right_answers(exact)
    problem = exact.to(torch.float32).to(device)
    rows: dict[tuple[float, str], dict[str, Any]] = {}
    calls: dict[str, Call] = {}
    for solver in chosen:
        for target, (setting, call, error) in settings(solver, problem, right, TARGETS, device).items():
            about = {"device": device, "n": n, "m": m, "target": target, "solver": solver.name}
            about["clock"] = "processor" if device == "cpu" else "wall"
            rows[target, solver.name] = about | {"rel_error": error, "setting": setting}
            calls[f"{solver.name}|{setting}"] = call
    times = interleaved(calls, repeats=repeats, device=device)
    for row in rows.values():
        row["median_ms"] = median_ms(times[f"{row['solver']}|{row['setting']}"])
    return list(rows.values())


def settings(
    solver: Solver, problem: Problem, right: dict[str, torch.Tensor], targets: tuple[float, ...], device: str
) -> dict[float, tuple[str, Call, float]]:
    """For each target the fastest setting that reaches it, or the most accurate one that there was time for."""
    tried: list[tuple[str, Call, float, float]] = []
    seconds = reached = 0.0
    for setting, call in solver.calls(problem):
        if seconds > MOST_SECONDS or reached > 2:
            break
        started = now(device)
        error = relative_error(call(), right[solver.objective], solver.objective)
        seconds = now(device) - started
        tried.append((setting, call, error, _seconds(call, device) if seconds < SLOW_SECONDS else seconds))
        reached += error <= min(targets)
    found = {}
    for target in targets:
        good = [one for one in tried if one[2] <= target]
        best = min(good, key=lambda one: one[3]) if good else min(tried, key=lambda one: one[2])
        found[target] = best[:3]
    return found


def _seconds(call: Call, device: str) -> float:
    """The shortest of some."""
    times = []
    for _ in range(5):
        started = now(device)
        call()
        synchronise(device)
        times.append(now(device) - started)
    return min(times)


if __name__ == "__main__":
    main()
