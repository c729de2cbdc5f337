"""A model of the cost of weighting, and what it says of 10^8 examples on 1,000 GPUs."""

from __future__ import annotations

from typing import Any

GIB = 2**30
#: Share of the training time that solves may take.
BUDGET = 0.01
LARGE = {"examples": 10**8, "columns": 1000, "dimensions": 384, "processes": 1000}
#: Passes of a Sinkhorn solve to 1e-3; each ends with one all-reduce of a number a column.
PASSES = 8
#: Of an all-reduce of 4 kB among 1,000 processes, seconds: an assumption, not measured here.
LATENCY = 1e-3


def bytes_per_process(examples: int, dimensions: int, columns: int, processes: int) -> dict[str, float]:
    """What a process holds with `feature_memory="sharded"`, in bytes."""
    share = -(-examples // processes)
    return {
        "features": 2.0 * share * dimensions,
        "where an example is": 8.0 * examples,
        "weights, labels, numbers of rows": (4.0 + 8.0 + 8.0) * examples,
        "which were written": 1.0 * examples,
        "kernel, kept in the precision that fits": kernel_bytes(examples, columns, processes),
    }


def kernel_bytes(examples: int, columns: int, processes: int) -> float:
    """Of the kernel on a process: none where all of it exceeds 2 GiB, whatever a process's share."""
    numbers = examples * columns
    size = next((size for size in (4, 2) if numbers * size <= 2 * GIB), 0)
    return float(size * -(-examples // processes) * columns)


def solve_seconds(examples: int, columns: int, dimensions: int, processes: int, flops: float, passes: int) -> float:
    """Of a solve whose kernel is computed anew in every pass."""
    share = -(-examples // processes)
    return passes * (2.0 * share * columns * dimensions / flops + LATENCY * (processes > 1))


def plan_table(scale: list[dict[str, Any]], step: list[dict[str, Any]]) -> str:
    """The plan's figures, from what was measured on the largest number of rows."""
    known = [row for row in scale if row["device"] == "cpu" and row["mode"] == "closed_form" and row["ranks"] == 1]
    steps = [row for row in step if row["mode"] == "uniform" and row["model"] == "minilm" and row["device"] == "cpu"]
    if not known or not steps:
        return "Not run."
    row = max(known, key=lambda row: row["n"])
    flops = 2.0 * row["n"] * row["m"] * row["d"] / row["matmul_cpu_seconds"]
    n, m, d, w = (LARGE[name] for name in ("examples", "columns", "dimensions", "processes"))
    lines = ["| | |", "|---|---:|"]
    lines.append(f"| measured: rate of the product, one core | {flops / 1e9:.0f} GFLOP/s |")
    lines.append(f"| measured: solve over the product, closed form, {row['n']:,} rows | {row['ratio']:.2f} |")
    lines.append(f"| measured: step of MiniLM's size, 32 examples, one core | {steps[0]['cpu_ms'] / 1000:.2f} s |")
    held = bytes_per_process(n, d, m, w)
    lines += [f"| held by a process: {name} | {size / GIB:.2f} GiB |" for name, size in held.items()]
    lines.append(f"| held by a process, in all | {sum(held.values()) / GIB:.2f} GiB |")
    epoch = steps[0]["cpu_ms"] / 1000 / 32 * n / w
    for title, passes in (("closed form", 2), ("Sinkhorn", PASSES + 2)):
        seconds = solve_seconds(n, m, d, w, flops, passes)
        lines.append(f"| {title}: a solve, {passes} passes, a core a process | {seconds:.0f} s |")
        lines.append(f"| {title}: solves an epoch that cost {BUDGET:.0%} of it | {BUDGET * epoch / seconds:.1f} |")
        collective = (passes - 1) * 4 * m / 1e3
        lines.append(f"| {title}: exchanged by a process in passes | {collective:.0f} kB |")
    lines.append(f"| gathered once a solve: a weight an example | {4 * n / 1e6:.0f} MB |")
    lines.append(f"| an epoch of training, a core a process | {epoch / 3600:.1f} h |")
    return "\n".join(lines)
