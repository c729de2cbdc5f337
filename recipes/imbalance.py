"""Long tails and wrong labels under the name that the benchmarks know: they live in `hf_otw.recipe.imbalance`."""

from __future__ import annotations

from hf_otw.recipe.imbalance import capped_rows, long_tail_counts, long_tail_rows, similar_noise, uniform_noise

__all__ = ["capped_rows", "long_tail_counts", "long_tail_rows", "similar_noise", "uniform_noise"]
