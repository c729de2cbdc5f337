"""Transport problems whose answer is known, and random ones; functions of a seed, none touches the global RNG."""

from __future__ import annotations

from typing import NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor

from hf_otw.transport.costs import CombinedCost, FeatureCost, LabelCost
from hf_otw.types import Cost, Measure


class Problem(NamedTuple):
    """A problem, and the row masses that solve it where they are known.

    Shape:
        - marginal_a: `(n,)`, row masses of the free-row (semi-relaxed) plan, or None.
    """

    source: Measure
    target: Measure
    cost: Cost
    marginal_a: Tensor | None = None

    @property
    def C(self) -> Tensor:
        return self.cost(self.source, self.target)


def simplex(n: int, generator: torch.Generator, dtype: torch.dtype = torch.float64) -> Tensor:
    """Generic masses: no two equal, none zero."""
    mass = torch.rand(n, generator=generator, dtype=dtype) + 0.2
    return mass / mass.sum()


def random_problem(
    n: int = 12,
    m: int = 5,
    *,
    classes: int = 3,
    width: int = 4,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    cost: Cost | None = None,
    uniform: bool = False,
) -> Problem:
    """Gaussian classes, every class on both sides, NON-uniform masses on both sides unless `uniform`."""
    g = torch.Generator().manual_seed(seed)
    centres = 2 * torch.randn(classes, width, generator=g, dtype=dtype)

    def cloud(size: int) -> Measure:
        labels = torch.arange(size) % classes
        features = centres[labels] + torch.randn(size, width, generator=g, dtype=dtype)
        return Measure(
            features, labels, torch.full((size,), 1 / size, dtype=dtype) if uniform else simplex(size, g, dtype)
        )

    source, target = cloud(n), cloud(m)
    return Problem(source, target, cost or CombinedCost(0.5))


def dirac_target(n: int = 7, seed: int = 0) -> Problem:
    """All mass goes to one column: with fixed rows the plan is the marginal itself, whatever `reg`."""
    problem = random_problem(n, 1, classes=1, seed=seed, cost=FeatureCost())
    return problem._replace(marginal_a=problem.source.mass)


def permutation(n: int = 6, seed: int = 0) -> Problem:
    """Columns are the rows in another order, orthogonal: at small `reg` the plan is that permutation."""
    g = torch.Generator().manual_seed(seed)
    order = torch.randperm(n, generator=g)
    features, mass = torch.eye(n, dtype=torch.float64), simplex(n, g)
    labels = torch.arange(n)
    source = Measure(features, labels, mass)
    target = Measure(features[order], labels[order], mass[order])
    return Problem(source, target, FeatureCost(), mass)


def label_only(counts: tuple[int, ...] = (9, 3, 1), label_weight: float = 1.0) -> Problem:
    """The label cost alone, balanced target, uniform rows: at small `reg` a row's mass is `1 / (K n_y)`."""
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    n, k = len(labels), len(counts)
    source = Measure(torch.zeros(n, 1, dtype=torch.float64), labels, torch.full((n,), 1 / n, dtype=torch.float64))
    target = Measure(
        torch.zeros(k, 1, dtype=torch.float64), torch.arange(k), torch.full((k,), 1 / k, dtype=torch.float64)
    )
    expected = 1 / (k * torch.tensor(counts, dtype=torch.float64)[labels])
    return Problem(source, target, LabelCost(label_weight), expected)


def identical_rows(n: int = 6, m: int = 4, seed: int = 0) -> Problem:
    """Rows that transport cannot tell apart keep the prior, whatever the columns are."""
    problem = random_problem(n, m, classes=1, seed=seed, cost=FeatureCost())
    row = problem.source.features[:1].expand(n, -1).clone()
    return problem._replace(source=problem.source._replace(features=row), marginal_a=problem.source.mass)


def mislabelled(n: int = 60, m: int = 15, seed: int = 0) -> tuple[Problem, Tensor]:
    """Three well-separated classes, uniform masses; the second tensor marks the rows `(n,)` whose label is wrong."""
    problem = random_problem(n, m, seed=seed, width=8, uniform=True, cost=FeatureCost())
    wrong = torch.arange(n) % 10 == 0
    labels = torch.where(wrong, (problem.source.labels + 1) % 3, problem.source.labels)
    return problem._replace(source=problem.source._replace(labels=labels)), wrong


@st.composite
def learn_inputs(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Arguments of `learn_weights`: one class or many, one feature, duplicates, extreme imbalance, tiny meta sets."""
    classes, width = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    # 10,000 : 1 at most, few large cases.
    counts = [draw(st.sampled_from([1, 2, 5, 40])) for _ in range(classes)]
    if draw(st.booleans()):
        counts[0] = draw(st.sampled_from([200, 10_000]))
    counts[0] = max(counts[0], 2)
    per_class = draw(st.integers(1, 3))
    g = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    labels = torch.repeat_interleave(torch.arange(classes), torch.tensor(counts))
    features = torch.randn(len(labels), width, generator=g, dtype=dtype)
    if draw(st.booleans()):  # duplicates; the first two rows stay different, as equal features are an error
        features[len(features) // 2 + 1 :] = features[0]
    features *= draw(st.sampled_from([1e-3, 1.0, 1e3]))
    meta_labels = torch.repeat_interleave(torch.arange(classes), per_class)
    meta = torch.randn(len(meta_labels), width, generator=g, dtype=dtype)
    return features, labels, meta, meta_labels
