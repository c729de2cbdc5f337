"""The settings of the comparison."""

from __future__ import annotations

from benchmarks.quality.problems import Cell

#: 1000 * 50 ** (-rank / 5): TREC's types with the rarest of them the rarest here.
TREC_TAIL = (457, 1000, 20, 209, 44, 96)
#: Tops, trousers and dresses, shoes, bags.
FASHION_KINDS = (0, 1, 0, 1, 0, 2, 0, 2, 3, 2)
NATURAL = ("trec", "reuters_r8", "spam_assassin", "rotten_tomatoes", "emoji_names", "reuters_r52")
NOISES = ((0.0, "uniform"), (0.2, "uniform"), (0.4, "uniform"), (0.4, "similar"))
SST2_SEEDS = 15  # the protocol of Hu et al. 2019


def frozen_cells() -> list[Cell]:
    """Of the heads on frozen features."""
    bases = [
        Cell("trec", counts=TREC_TAIL),
        Cell("fashion_mnist", 100),
        Cell("sst2", counts=(100, 1000)),
        *(Cell(name) for name in NATURAL),
    ]
    noisy = [base._replace(label_noise=rate, noise_kind=kind) for base in bases for rate, kind in NOISES]
    other_tails = [
        *(Cell("sst2", counts=(few, 1000)) for few in (20, 50)),
        *(Cell("fashion_mnist", factor) for factor in (10, 50, 200)),
        Cell("fashion_mnist", 100, merged=FASHION_KINDS),
    ]
    other_meta = [
        base._replace(meta=meta, label_noise=rate)
        for base in bases[:2]
        for meta, rate in (("split", 0.0), ("split", 0.4), ("noisy", 0.4))
    ]
    return noisy + other_tails + other_meta


def smoke_cells() -> list[Cell]:
    """A few small ones, of data that comes with a package that is there anyway."""
    return [Cell("digits", 20), Cell("digits", 20, label_noise=0.4), Cell("digits", 20, meta="split")]


def seeds_of(cell: Cell, seeds: int) -> int:
    """Runs of a cell: more where a published protocol has more."""
    published = cell.dataset == "sst2" and not cell.label_noise and seeds >= 5
    return SST2_SEEDS if published else seeds
