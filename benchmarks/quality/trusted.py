"""Training that ends on the trusted rows: what a sceptic tries first (Zhu et al. 2023, "Weaker Than You Think")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.quality.head import Head, train_heads
from benchmarks.quality.judge import plain
from benchmarks.quality.method import Method, Setting, grid
from benchmarks.quality.prepared import Prepared, meta_rows_alone

#: A tenth of that of training: a step of Adam moves every weight by about the rate, whatever the gradient.
CONTINUED_RATE = 1e-3


@dataclass(frozen=True)
class ContinuedTraining(Method):
    """Heads of the noisy rows are trained on by cross-entropy on the meta rows alone, for some more steps."""

    settings: tuple[Setting, ...] = field(default_factory=lambda: grid(more=(10.0, 50.0)))

    def heads(self, prepared: Prepared, settings: Sequence[Setting], seed: int) -> list[Head]:
        first = super().heads(prepared, settings, seed)
        meta = meta_rows_alone(prepared.problem, seed).problem
        penalties = [setting["l2"] for setting in settings]
        stops = [int(setting["more"]) for setting in settings]
        return train_heads(meta, plain(meta), penalties, seed=seed, start=first, stops=stops, rate=CONTINUED_RATE)
