"""Rows of a results file by cell, method and seed, and what is missing among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from benchmarks.quality.per_row import sampling_variance
from benchmarks.quality.results import Row
from benchmarks.quality.statistics import Seeds, mean_se

#: The methods of this project, and the two that show what it has to gain. Everything else is a baseline, the
#: publication's method as its authors ran it included.
OURS = frozenset({"default", "closed_form", "agreement", "default_without_doubts", "belief_gate", "oracle"})
#: The one of them that is judged.
JUDGED = "default"
REFERENCE = "cross_entropy"
WITHOUT_DOUBTS = "default_without_doubts"
ORACLE = "oracle"
SCORE = "balanced_accuracy"
#: A class with fewer test rows has a recall that hardly means anything.
FEW_TEST_ROWS = 10

#: Kind of cells -> heading.
KINDS = {
    "human": "labels that people got wrong",
    "made": "labels made wrong",
    "clean": "labels as they are",
}

#: Method -> heading of a column, and what it is.
TITLES: dict[str, tuple[str, str]] = {
    "default": ("default", "this library, nothing set: `clean_posterior`, logit adjustment, meta term 0.1"),
    "default_without_doubts": ("no doubts", "the default with every label taken for right: what its weights add"),
    "belief_gate": ("belief gate", "the default of before: the posterior believed as far as the meta set confirms it"),
    "oracle": ("oracle", "the default that knows which labels are wrong, and leaves these rows out"),
    "closed_form": ("closed form", "this library, `closed_form` at `reg=0.1`, logit adjustment, meta term 0.1"),
    "agreement": ("agreement", "this library, `agreement` at `reg=0.1`"),
    "cross_entropy": ("CE", "cross-entropy"),
    "inverse_frequency": ("inv. freq.", "weights by inverse class frequency"),
    "effective_number": ("eff. num.", "effective number of samples (Cui et al. 2019)"),
    "focal": ("focal", "focal loss (Lin et al. 2017)"),
    "ldam_drw": ("LDAM", "label-dependent margins on plain logits, deferred weights (Cao et al. 2019)"),
    "logit_adjustment": ("LA", "logit-adjusted loss (Menon et al. 2021)"),
    "early_stopping": ("early stop", "logit-adjusted loss, stopped where held-out rows say"),
    "generalised_cross_entropy": ("GCE", "generalised cross-entropy (Zhang and Sabuncu 2018), with and without LA"),
    "early_learning": ("ELR", "early-learning regularisation (Liu et al. 2020), with LA"),
    "trusted_rows_alone": ("trusted alone", "cross-entropy on the meta examples and nothing else"),
    "continued_on_trusted_rows": ("continued", "LA, then some steps on the meta examples alone (Zhu et al. 2023)"),
    "gold_loss_correction": ("GLC", "gold loss correction (Hendrycks et al. 2018), with and without LA"),
    "relabelled": ("DMLP", "labels replaced by meta-learned ones (DMLP-Naive, Tu et al. 2023), then LA"),
    "logit_adjustment_post_hoc": ("LA p. h.", "logit adjustment after training (Menon et al. 2021)"),
    "balanced_sampling": ("bal. samp.", "every class drawn as often"),
    "meta_in_training": ("meta in", "cross-entropy with the meta examples in the training set"),
    "meta_in_training_logit_adjustment": ("meta in + LA", "logit adjustment, meta examples in the training set"),
    "logit_adjustment_meta_term": ("LA + meta", "logit adjustment and a loss on the meta set: ours without weights"),
    "learning_to_reweight": ("L2RW", "learning to reweight (Ren et al. 2018)"),
    "meta_weight_net": ("MW-Net", "Meta-Weight-Net (Shu et al. 2019)"),
    "confident_learning": ("CL + LA", "confident learning (Northcutt et al. 2021) and LA, meta examples in training"),
    "paper": ("paper", 'the publication as its authors ran it, `preset="paper"` (Guo et al. 2022)'),
    "paper_without_transport": ("paper − OT", "the same without transport"),
    "nearest_neighbours": ("neighbours", "share of the 20 nearest rows that have the same label"),
    "cleanlab_self_confidence": ("self-conf.", "cleanlab, `self_confidence`"),
    "cleanlab_margin": ("margin", "cleanlab, `normalized_margin`"),
    "cleanlab_adjusted_margin": ("adj. margin", "the same of probabilities adjusted to the classes"),
    "cleanlab_self_confidence_with_meta": ("self-conf. + meta", "as without, trained on the meta examples too"),
    "cleanlab_margin_with_meta": ("margin + meta", "as without, trained on the meta examples too"),
    "cleanlab_adjusted_margin_with_meta": ("adj. margin + meta", "as without, trained on the meta examples too"),
}


def title(method: str) -> str:
    """Heading of a method's column."""
    return TITLES[method][0] if method in TITLES else method.replace("_", " ")


def by_cell(rows: Sequence[Row], metric: str) -> dict[str, dict[str, dict[int, float]]]:
    """Cell -> method -> seed -> score, of the rows that have it."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    for row in rows:
        if metric in row:
            found.setdefault(row["cell"], {}).setdefault(row["method"], {})[row["seed"]] = row[metric]
    return found


def cell_title(row: Row) -> str:
    """A cell in words: data set, tail, wrong labels, and the meta set if it is not clean."""
    tail, meta = row["cell"].split("/")[1], row["meta"]
    if tail.startswith("if"):
        words = "as it is" if tail == "if0" else f"1:{tail[2:]}"
    else:
        counts = sorted(int(count) for count in tail.split("-"))
        words = f"{counts[0]}:{counts[-1]}" if counts[0] < counts[-1] else f"{counts[0]} a class"
    kind = {"human": "by people"}.get(row["noise_kind"], row["noise_kind"])
    noise = f", {100 * row['label_noise']:.0f} % {kind}" if row["label_noise"] else ""
    sets = {"clean": "", "noisy": ", meta as noisy", "split": ", meta split off"}
    return f"{row['dataset'].replace('-merged', ' merged')} {words}{noise}{sets.get(meta, ', meta ' + meta)}"


@dataclass(frozen=True)
class Regime:
    """All rows of a regime.

    Attributes:
        name: `frozen` or `fine_tuning`.
        rows: its rows.
    """

    name: str
    rows: tuple[Row, ...]

    @classmethod
    def of(cls, rows: Sequence[Row], name: str) -> Regime:
        """The rows of that name, out of all."""
        return cls(name, tuple(row for row in rows if row["regime"] == name))

    @cached_property
    def first(self) -> dict[str, Row]:
        """A row of each cell; cells without noise come first, then those with a clean meta set, then by name."""
        found: dict[str, Row] = {}
        for row in self.rows:
            found.setdefault(row["cell"], row)
        order = sorted(found, key=lambda c: (found[c]["label_noise"] > 0, found[c]["meta"] != "clean", c))
        return {cell: found[cell] for cell in order}

    @property
    def cells(self) -> tuple[str, ...]:
        return tuple(self.first)

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """Ours first; then as in `TITLES`, and those that are not there by name."""
        places = {name: place for place, name in enumerate(TITLES)}
        found = {row["method"] for row in self.rows}
        return tuple(sorted(found, key=lambda name: (places.get(name, len(places)), name)))

    @property
    def baselines(self) -> tuple[str, ...]:
        return tuple(name for name in self.methods if name not in OURS)

    def kind(self, cell: str) -> str:
        """Out of `KINDS`: whether training labels are wrong, and who made them so."""
        row = self.first[cell]
        if not row["label_noise"]:
            return "clean"
        return "human" if row["noise_kind"] == "human" else "made"

    def of_kind(self, kind: str) -> tuple[str, ...]:
        """The cells of a kind."""
        return tuple(cell for cell in self.cells if self.kind(cell) == kind)

    def block(self, cell: str) -> str:
        """The data set that a cell is drawn from: cells of one are no independent evidence."""
        name = self.first[cell]["dataset"].removesuffix("-merged")
        return "cifar10n" if name.startswith("cifar10n") else name

    def few_test_rows(self, cell: str) -> int:
        """Classes with fewer than `FEW_TEST_ROWS` test rows."""
        return sum(0 < count < FEW_TEST_ROWS for count in self.first[cell].get("test_counts", ()))

    @property
    def subgroup_cells(self) -> tuple[str, ...]:
        """Cells with classes merged out of subgroups."""
        return tuple(cell for cell in self.cells if "-merged" in self.first[cell]["dataset"])

    def title(self, cell: str) -> str:
        """The cell in words."""
        return cell_title(self.first[cell])

    def seeds(self, cell: str, method: str, metric: str = SCORE) -> Seeds:
        """Seed -> score."""
        return self.scores_of.get(metric, {}).get(cell, {}).get(method, {})

    @cached_property
    def scores_of(self) -> Mapping[str, dict[str, dict[str, dict[int, float]]]]:
        """Metric -> scores."""
        metrics = {name for row in self.rows for name, value in row.items() if isinstance(value, float)}
        return {metric: by_cell(self.rows, metric) for metric in metrics}

    @cached_property
    def by_run(self) -> Mapping[tuple[str, str, int], Row]:
        """Cell, method and seed -> row."""
        return {(row["cell"], row["method"], row["seed"]): row for row in self.rows}

    def sampling_variance(self, cell: str, first: str, second: str) -> float:
        """Of the difference between two methods by the sampling of the test set; 0 where it was not kept."""
        shared = sorted(self.seeds(cell, first).keys() & self.seeds(cell, second).keys())
        pairs = [[self.by_run[cell, method, seed] for seed in shared] for method in (first, second)]
        known = shared and all("right" in row for rows in pairs for row in rows)
        return sampling_variance(*pairs) if known else 0.0

    def shared_means(self, cell: str, methods: Sequence[str], metric: str = SCORE) -> list[float] | None:
        """Means over the seeds that all of some methods have in a cell; none without such a seed."""
        found = [self.seeds(cell, method, metric) for method in methods]
        shared = set.intersection(*(set(seeds) for seeds in found)) if found else set()
        if not shared:
            return None
        return [mean_se([seeds[seed] for seed in sorted(shared)]).mean for seeds in found]

    def rankable(self) -> tuple[tuple[str, ...], tuple[str, ...], np.ndarray]:
        """Methods with results in at least half of the cells, cells that have all of these, and means `(N, k)`."""
        methods = tuple(
            method
            for method in self.methods
            if method != ORACLE and 2 * sum(bool(self.seeds(cell, method)) for cell in self.cells) >= len(self.cells)
        )
        means = {cell: self.shared_means(cell, methods) for cell in self.cells}
        complete = {cell: found for cell, found in means.items() if found is not None}
        return methods, tuple(complete), np.array(list(complete.values())).reshape(len(complete), len(methods))

    def missing(self, metric: str = SCORE) -> dict[str, list[str]]:
        """Method -> cells where it has no results, or fewer seeds than another method, with the seeds in brackets."""
        found: dict[str, list[str]] = {}
        for cell in self.cells:
            everyone = {seed for method in self.methods for seed in self.seeds(cell, method, metric)}
            for method in self.methods:
                own = set(self.seeds(cell, method, metric))
                if not own:
                    found.setdefault(method, []).append(self.title(cell))
                elif everyone - own:
                    seeds = ", ".join(str(seed) for seed in sorted(everyone - own))
                    found.setdefault(method, []).append(f"{self.title(cell)} (seeds {seeds})")
        return found
