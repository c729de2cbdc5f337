"""Times side by side: calls take turns, so that a busy machine disturbs all of them alike. Read the ratios.

On a CPU it is the processor's time that counts, of all threads of the process: others may be at work on its cores.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

#: A turn lasts at least so long: a clock's resolution and what the call before left in the caches then count little.
TURN_SECONDS = 0.02
#: A call that takes longer has three turns at most.
SLOW_SECONDS = 0.5


def interleaved(calls: dict[str, Callable[[], Any]], *, repeats: int, device: str = "cpu") -> dict[str, list[float]]:
    """Seconds of a call, one figure a turn: the mean over the calls of that turn."""
    counts, turns = {}, {}
    for name, call in calls.items():
        call()
        once = max(_seconds(call, 1, device), 1e-7)
        counts[name], turns[name] = (
            max(1, int(TURN_SECONDS / once)),
            repeats if once < SLOW_SECONDS else min(repeats, 3),
        )
    found: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats):
        for name, call in calls.items():
            if turn < turns[name]:
                found[name].append(_seconds(call, counts[name], device))
    return found


def median_ms(seconds: list[float]) -> float:
    """Median, in milliseconds."""
    return 1000 * statistics.median(seconds)


def ratio(seconds: list[float], base: list[float]) -> tuple[float, float]:
    """Median of the ratios turn by turn, and its standard error from the median absolute deviation."""
    ratios = [one / other for one, other in zip(seconds, base, strict=True)]
    middle = statistics.median(ratios)
    spread = 1.4826 * statistics.median(abs(value - middle) for value in ratios)
    return middle, 1.2533 * spread / len(ratios) ** 0.5


def now(device: str) -> float:
    """Seconds, of the processor on a CPU."""
    return time.process_time() if device == "cpu" else time.perf_counter()


def synchronise(device: str) -> None:
    """Wait for the device."""
    if device == "cuda":
        torch.cuda.synchronize()


def _seconds(call: Callable[[], Any], count: int, device: str) -> float:
    synchronise(device)
    started = now(device)
    for _ in range(count):
        call()
    synchronise(device)
    return (now(device) - started) / count
