"""Is our own solver worth having? One weight gradient given C: the fused Sinkhorn iteration against GeomLoss.

Random features in 16 dimensions, cosine cost, non-uniform masses, reg 0.1, float32. The error is that of the gradient
against a float64 solve to 1e-10, in L2 norm, both centred. Repeats are interleaved, one solver after the other, so
that a busy machine
disturbs all of them alike: read the ratios.

    python -m benchmarks.solvers
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor

from hf_otw.costs import CostBlocks
from hf_otw.transport import solve_geomloss, solve_semi_relaxed, solve_sinkhorn

RESULTS = Path(__file__).parent / "results" / "solvers.json"
SIZES = ((16, 10), (128, 100), (512, 1000))
REG = 0.1


def main() -> None:
    """Time every solver at every size and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for n, m in SIZES:
        rows += measure(n, m, options.repeats)
        for row in rows[-len(solvers(*problem(n, m))) :]:
            print("{n:>6} x {m:<6}{solver:<28}{median_ms:>10.2f} ms   error {rel_error:.1e}".format(**row))
    versions = {name: metadata.version(name) for name in ("hf_otw", "torch", "geomloss")}
    options.results.write_text(
        json.dumps({"hardware": platform.machine(), "versions": versions, "rows": rows}, indent=1) + "\n"
    )


def problem(n: int, m: int) -> tuple[Tensor, Tensor, Tensor]:
    """Cost `(n, m)` and masses `(n,)`, `(m,)` in float64."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(k, 16, generator=generator, dtype=torch.float64) for k in (n, m))
    a, b = (torch.rand(k, generator=generator, dtype=torch.float64) + 0.1 for k in (n, m))
    cosine = torch.nn.functional.normalize(x) @ torch.nn.functional.normalize(y).T
    return 1 - cosine, a / a.sum(), b / b.sum()


def solvers(C: Tensor, a: Tensor, b: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Solver name -> a call that returns the weight gradient `(n,)`."""
    blocks = CostBlocks.of_matrix(C)
    warm = solve_sinkhorn(blocks, (a + 1 / len(a)) / 2, b, reg=REG, tol=1e-5).potential_b
    return {
        "fused, tol 1e-3": lambda: solve_sinkhorn(blocks, a, b, reg=REG, tol=1e-3).potential_a,
        "fused, tol 1e-3, warm start": lambda: solve_sinkhorn(blocks, a, b, reg=REG, tol=1e-3, start=warm).potential_a,
        "fused, tol 1e-5": lambda: solve_sinkhorn(blocks, a, b, reg=REG, tol=1e-5).potential_a,
        "geomloss, 100 passes": lambda: solve_geomloss(C, a, b, reg=REG, max_iter=100).potential_a,
        "geomloss, 300 passes": lambda: solve_geomloss(C, a, b, reg=REG, max_iter=300).potential_a,
        "closed form (entropy)": lambda: solve_semi_relaxed(blocks, a, b, reg=REG).marginal_a,
    }


def measure(n: int, m: int, repeats: int) -> list[dict[str, object]]:
    """Rows of one size: median time of interleaved repeats, error of the gradient."""
    exact = problem(n, m)
    truth = solve_sinkhorn(CostBlocks.of_matrix(exact[0]), *exact[1:], reg=REG, tol=1e-10, max_iter=5000).potential_a
    calls = solvers(*(value.float() for value in exact))
    times: dict[str, list[float]] = {name: [] for name in calls}
    found = {name: call() for name, call in calls.items()}  # the first call of each is not timed
    for _ in range(repeats):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            times[name].append(1000 * (time.perf_counter() - started))
    centred = truth - truth.mean()
    rows = []
    for name, gradient in found.items():
        error = ((gradient - gradient.mean()).double() - centred).norm() / centred.norm()
        # The closed form solves another problem, exactly: it has no error to compare.
        shown = 0.0 if name.startswith("closed form") else float(error)
        rows.append(
            {
                "device": "cpu",
                "n": n,
                "m": m,
                "solver": name,
                "rel_error": shown,
                "median_ms": statistics.median(times[name]),
            }
        )
    return rows


if __name__ == "__main__":
    main()
