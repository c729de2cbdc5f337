"""The settings of the comparison."""

from __future__ import annotations

from recipes.imbalance import long_tail_counts

from benchmarks.quality.human_noise import CIFAR_LABELS, NEWS_NOISE
from benchmarks.quality.problems import Cell

#: 1000 * 50 ** (-rank / 5): TREC's types with the rarest of them the rarest here.
TREC_TAIL = (457, 1000, 20, 209, 44, 96)
#: Tops, trousers and dresses, shoes, bags.
FASHION_KINDS = (0, 1, 0, 1, 0, 2, 0, 2, 3, 2)
NATURAL = ("emoji_names", "trec", "reuters_r8", "rotten_tomatoes", "spam_assassin")
#: Of two classes, each is the other's nearest: `similar` would be `uniform` again.
TWO_CLASSES = ("sst2", "spam_assassin")
NOISES = ((0.4, "uniform"), (0.4, "similar"), (0.2, "uniform"))
#: Rows a class of CIFAR-10N and NoisyAG-News, plain and in two long tails. Labels that people gave to these rows.
CIFAR_COUNTS = ((500,) * 10, tuple(long_tail_counts(10, 800, 20)), tuple(long_tail_counts(10, 800, 50)))
NEWS_COUNTS = ((), tuple(long_tail_counts(4, 1200, 20)), tuple(long_tail_counts(4, 1200, 50)))


def frozen_cells() -> list[Cell]:
    """Of the heads on frozen features: labels that people got wrong first."""
    return human_cells() + made_cells()


def human_cells() -> list[Cell]:
    """Wrong labels that people made."""
    news = [Cell("noisy_ag_news", counts=counts, label_noise=NEWS_NOISE, noise_kind="human") for counts in NEWS_COUNTS]
    photographs = [
        Cell(f"cifar10n_{column}", counts=counts, label_noise=rate, noise_kind="human")
        for column, rate in CIFAR_LABELS.items()
        for counts in CIFAR_COUNTS
    ]
    return news + photographs


def made_cells() -> list[Cell]:
    """Labels as they are, and labels that a program made wrong."""
    tail = Cell("trec", counts=TREC_TAIL)
    bases = [tail, Cell("sst2", counts=(100, 1000)), Cell("fashion_mnist", 100), *(Cell(name) for name in NATURAL)]
    noisy = [
        base._replace(label_noise=rate, noise_kind=kind)
        for base in bases
        for rate, kind in NOISES
        if not (base.dataset in TWO_CLASSES and kind == "similar")
    ]
    subgroups = Cell("fashion_mnist", 100, merged=FASHION_KINDS)
    split_off = [tail._replace(meta="split", label_noise=rate) for rate in (0.0, 0.4)]
    return [*bases, *noisy, subgroups, *split_off]


def smoke_cells() -> list[Cell]:
    """A few small ones, of data that comes with a package that is there anyway."""
    return [Cell("digits", 20), Cell("digits", 20, label_noise=0.4), Cell("digits", 20, meta="split")]
