"""What does weighting add to a training step? Writes benchmarks/results/step.json.

One process holds a training of each kind; they take turns in random order, a step each, and ratios are taken turn by
turn. Memory is that of processes of their own.

    python -m benchmarks.stepping.run                                      # MiniLM and ViT sizes, CPU, one core
    python -m benchmarks.stepping.run --models minilm --modes stock uniform dataset --repeats 60
    python -m benchmarks.stepping.run --device cuda --models bert_base --repeats 200
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.record import RESULTS, merge, peak_rss_bytes, read
from benchmarks.stepping.models import SETTINGS
from benchmarks.stepping.modes import IN_STEPS, NAMES, be_quiet, build
from benchmarks.stepping.turns import Turn, Turns
from benchmarks.timing import ratio

KEY = ("device", "model", "mode")
FIRST_STEPS = 3  # without weights, with their solve, and one for good measure


def main() -> None:
    """Measure the models one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=list(SETTINGS), default=["minilm", "vit"])
    parser.add_argument("--modes", nargs="+", choices=list(NAMES), default=list(IN_STEPS))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--repeats", type=int, default=12)
    parser.add_argument("--examples", type=int, default=256)
    parser.add_argument("--results", type=Path, default=RESULTS / "step.json")
    parser.add_argument("--memory-of", choices=list(NAMES), help="print the peak memory of a few steps, in MB")
    parser.add_argument("--memory-again", action="store_true", help="measure the peak memory of rows that are there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    be_quiet()
    with tempfile.TemporaryDirectory() as folder:
        if options.memory_of:
            sys.stdout.write(json.dumps(peak_memory(options, Path(folder))) + "\n")
            return
        if options.memory_again:
            measure_memory_again(options)
            return
        for model in options.models:
            rows = measure(model, options, Path(folder))
            merge(options.results, rows, KEY, options.device)
            for row in rows:
                shown = "{model:<8}{mode:<20}{median_ms:>9.1f} ms {cpu_ms:>9.1f} ms CPU"
                print(shown.format(**row), f"{row.get('to_uniform', float('nan')):7.4f} x uniform", flush=True)


def measure(model: str, options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Rows of one model."""
    host = host_arguments(options.device)
    steps = FIRST_STEPS + options.repeats + 2
    runs = {}
    first: dict[str, list[Turn]] = {}
    for mode in options.modes:
        trainer = build(mode, model, examples=options.examples, steps=steps, folder=folder, **host)
        runs[mode] = Turns(trainer, options.device)
        first[mode] = [runs[mode].step() for _ in range(FIRST_STEPS)]
    turns: dict[str, list[Turn]] = {mode: [] for mode in runs}
    order = list(runs)
    draw = random.Random(0)
    for _ in range(options.repeats):
        draw.shuffle(order)
        for mode in order:
            turns[mode].append(runs[mode].step())
    for run in runs.values():
        run.end()
    return [row_of(mode, model, options, turns, first[mode], runs[mode]) for mode in runs]


def row_of(
    mode: str,
    model: str,
    options: argparse.Namespace,
    turns: dict[str, list[Turn]],
    first: list[Turn],
    run: Turns,
) -> dict[str, Any]:
    """The figures of one way of training."""
    wall, cpu = ([getattr(turn, name) for turn in turns[mode]] for name in ("wall_ms", "cpu_ms"))
    row: dict[str, Any] = {"model": model, "device": options.device, "mode": mode, "repeats": len(wall)}
    row |= {"median_ms": statistics.median(wall), "cpu_ms": statistics.median(cpu)}
    row["parts_ms"] = {
        name: statistics.median(turn.parts.get(name, 0.0) for turn in turns[mode]) for name in turns[mode][0].parts
    }
    for name in ("uniform", "stock"):
        if name in turns:
            base = [turn.cpu_ms if options.device == "cpu" else turn.wall_ms for turn in turns[name]]
            row[f"to_{name}"], row[f"to_{name}_error"] = ratio(cpu if options.device == "cpu" else wall, base)
            row[f"wall_to_{name}"], _ = ratio(wall, [turn.wall_ms for turn in turns[name]])
    row["examples"] = options.examples
    row["solve_ms"] = first[1].parts.get("weighting, before the forward pass", 0.0)
    row |= weighting_bytes(run)
    return row | {"peak_memory_mb": memory_of(mode, model, options.device, options.examples)}


def memory_of(mode: str, model: str, device: str, examples: int) -> float:
    """Peak memory of a process of its own, in MB."""
    command = [sys.executable, "-m", "benchmarks.stepping.run", "--memory-of", mode, "--models", model]
    command += ["--device", device, "--examples", str(examples)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(found.stdout.splitlines()[-1])


def measure_memory_again(options: argparse.Namespace) -> None:
    """Replace one figure of the rows that were asked for."""
    for row in read(options.results):
        asked = row["model"] in options.models and row["mode"] in options.modes and row["device"] == options.device
        if asked:
            row["peak_memory_mb"] = memory_of(row["mode"], row["model"], row["device"], row["examples"])
            merge(options.results, [row], KEY, options.device)


def weighting_bytes(run: Turns) -> dict[str, int]:
    """Bytes of the tensors that a run's weighting holds, and of the feature memory among them."""
    session = run.trainer._session if hasattr(run.trainer, "_session") else None
    if session is None:
        return {}
    algorithm = session.reweighter
    held = [algorithm.labels, algorithm.rows, algorithm.example_weights]
    found = {"weighting_bytes": sum(tensor.nbytes for tensor in held), "feature_bytes": 0}
    if algorithm.memory is not None:
        found["feature_bytes"] = algorithm.memory.features.nbytes
        found["weighting_bytes"] += algorithm.memory.features.nbytes + algorithm.memory.written.nbytes
    return found


def peak_memory(options: argparse.Namespace, folder: Path) -> float:
    """Of a process that makes a few steps: resident, or on the device."""
    trainer = build(
        options.memory_of,
        options.models[0],
        examples=options.examples,
        steps=FIRST_STEPS,
        folder=folder,
        **host_arguments(options.device),
    )
    trainer.train()
    if options.device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    return peak_rss_bytes() / 1e6


def host_arguments(device: str) -> dict[str, Any]:
    """Of the Trainer, for a device."""
    return {"use_cpu": True} if device == "cpu" else {"bf16": True, "dataloader_pin_memory": True}


if __name__ == "__main__":
    main()
