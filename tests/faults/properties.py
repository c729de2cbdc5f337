"""Weights are weights and plans are plans, whatever the problem: thousands of random ones.

python -m tests.faults.properties --cases 10000
"""

from __future__ import annotations

import argparse
import math
import sys
import traceback
from collections import Counter
from typing import NamedTuple

import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmarks.reliability import record
from hf_otw import learn_weights
from hf_otw.config.options import COSTS, TARGET_MASSES, TARGET_POINTS, WEIGHTINGS
from hf_otw.transport import solve_semi_relaxed, solve_sinkhorn
from hf_otw.transport.blocks import CostBlocks
from hf_otw.types import TransportResult

torch.set_num_threads(1)

#: Weightings with the arguments that change how weights are found, but for `reg`, which each case has its own.
METHODS: dict[str, tuple[str, dict[str, object]]] = {
    "clean_posterior": ("clean_posterior", {}),
    "agreement": ("agreement", {}),
    "inverse_frequency": ("inverse_frequency", {}),
    "effective_number": ("effective_number", {}),
    "closed_form": ("closed_form", {}),
    "ess": ("closed_form", {"target_ess": 0.5}),
    "entropy": ("table", {"objective": "entropy", "steps": 2}),
    "kl": ("table", {"objective": "kl", "steps": 2}),
    "sharp": ("table", {"objective": "sharp", "steps": 2}),
    "net": ("net", {"steps": 2}),
}
SOLVERS = ("semi_relaxed", "sinkhorn")
#: The only reasons to refuse a problem, and the cases in which each may be given.
ALL_EQUAL, NO_MASS = "rows are equal", "row masses that are finite and not all zero"


class Case(NamedTuple):
    """A problem in numbers that shrink well."""

    seed: int
    n: int
    m: int
    classes: int
    width: int
    scale: float
    shift: float
    reg: float
    double: bool
    duplicates: bool
    constant: bool
    standardize: bool
    method: str
    cost: str
    target_points: str
    target_mass: str


@st.composite
def cases(draw: st.DrawFn, methods: tuple[str, ...] = tuple(METHODS)) -> Case:
    """Every class is on both sides; at most 40 columns, classes and features, 60 rows."""
    n = draw(st.integers(1, 60))
    classes = draw(st.integers(1, min(n, 40)))
    decades = st.integers(-24, 24).map(lambda k: 10 ** (k / 4))  # 1e-6 to 1e6
    return Case(
        seed=draw(st.integers(0, 2**16)),
        n=n,
        m=draw(st.integers(classes, 40)),
        classes=classes,
        width=draw(st.integers(1, 40)),
        scale=draw(decades),
        shift=draw(st.sampled_from([0.0, 1.0, 30.0])),
        reg=draw(st.integers(-16, 4).map(lambda k: 10 ** (k / 4))),  # 1e-4 to 10
        double=draw(st.booleans()),
        duplicates=draw(st.booleans()),
        constant=draw(st.booleans()),
        standardize=draw(st.booleans()),
        method=draw(st.sampled_from(methods)),
        cost=draw(st.sampled_from(sorted(COSTS))),
        target_points=draw(st.sampled_from(sorted(TARGET_POINTS))),
        target_mass=draw(st.sampled_from(sorted(TARGET_MASSES))),
    )


def arrays(case: Case) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features and labels of both sides."""
    g = torch.Generator().manual_seed(case.seed)
    dtype = torch.float64 if case.double else torch.float32

    def side(size: int) -> tuple[Tensor, Tensor]:
        rest = torch.randint(case.classes, (size - case.classes,), generator=g)
        labels = torch.cat([torch.arange(case.classes), rest])
        z = torch.randn(size, case.width, generator=g, dtype=torch.float64) + case.shift
        if case.duplicates:
            z[size // 2 :] = z[0].clone()
        if case.constant:
            z[:, 0] = 7
        return (case.scale * z).to(dtype), labels

    return *side(case.n), *side(case.m)


def options_of(case: Case) -> dict[str, object]:
    """Keywords of `learn_weights`: of the shared ones those that the weighting reads."""
    name, kwargs = METHODS[case.method]
    option = WEIGHTINGS[name]
    takes_reg = "reg" in {argument.name for argument in option.arguments} and "target_ess" not in kwargs
    shared = {"cost": case.cost, "target_points": case.target_points, "target_mass": case.target_mass}
    shared["standardize_features"] = case.standardize
    used = {name: value for name, value in shared.items() if name in option.uses}
    return used | {"weighting": name, "weighting_kwargs": kwargs | ({"reg": case.reg} if takes_reg else {})}


def check_weights(case: Case) -> str:
    """Learn weights and check them; `""`, or the reason for which the problem was refused.

    Kills: a NaN or a negative weight, a mean that is not 1, totals or an effective size of other weights, a refusal of
    a problem that has an answer.
    """
    z, y, z_meta, y_meta = arrays(case)
    try:
        found = learn_weights(z, y, z_meta, y_meta, **options_of(case))
    except ValueError as error:
        return refusal(case, z, str(error))

    w, k = found.weights, case.classes
    assert w.shape == (case.n,)
    assert w.dtype == z.dtype
    assert torch.isfinite(w).all(), w
    assert w.min() >= 0, w.min()
    assert math.isclose(w.double().mean().item(), 1, abs_tol=1e-4), w.double().mean()
    totals = torch.stack([w.double()[y == c].sum() for c in range(k)]) / w.double().sum()
    torch.testing.assert_close(found.class_totals.double(), totals, rtol=0, atol=1e-4)
    assert math.isclose(found.class_totals.double().sum().item(), 1, abs_tol=1e-4)
    ess = (w.double().sum().square() / w.double().square().sum()).item()
    assert math.isclose(found.ess, ess, rel_tol=1e-3), (found.ess, ess)
    assert 1 - 1e-3 <= found.ess <= case.n * (1 + 1e-3)
    assert torch.isfinite(found.ess_per_class).all()
    assert math.isfinite(found.marginal_error)
    assert found.marginal_error >= 0
    # What needs no solver has no objective to name.
    without_value = case.method in ("agreement", "inverse_frequency", "effective_number")
    assert math.isfinite(found.value) != without_value, found.value
    label_cost = case.method == "closed_form" and case.cost == "label" and case.reg <= 1e-2
    if case.method == "inverse_frequency" or (label_cost and case.target_mass == "balanced"):
        # The label cost alone, at a small reg, is inverse frequency: an answer known in advance.
        torch.testing.assert_close(
            w.double() * k * torch.bincount(y)[y] / case.n, torch.ones_like(w).double(), rtol=0, atol=1e-3
        )
    if case.method == "clean_posterior" and case.target_mass == "balanced":
        torch.testing.assert_close(totals, torch.full_like(totals, 1 / k), rtol=0, atol=1e-4)
    return ""


def refusal(case: Case, z: Tensor, message: str) -> str:
    """Is the refusal one that this problem deserves?"""
    assert message.startswith("Expected "), message
    if ALL_EQUAL in message:
        varies = z.double().std(dim=0, correction=0) > 1e-7 * z.double().abs().amax(dim=0)
        # Between 1e-7 and 1e-6 of the largest feature rounding decides.
        assert not (varies & (z.double().std(dim=0, correction=0) > 1e-5 * z.double().abs().amax(dim=0))).any(), (
            message
        )
        return ALL_EQUAL
    # Agreement may find that no row at all belongs to its class; transport always has an answer.
    assert NO_MASS in message, message
    assert case.method == "agreement", message
    return NO_MASS


def check_plan(case: Case) -> str:
    """Solve a transport problem and check what the solver says of it.

    Kills: potentials or masses that overflow, `converged` beside an error above the tolerance, masses that do not sum
    to 1, a value below what the cheapest plan costs.
    """
    z, *_ = arrays(case)
    g = torch.Generator().manual_seed(case.seed + 1)
    C = (2 * torch.rand(case.n, case.m, generator=g, dtype=torch.float64)).to(z.dtype)
    a, b = (torch.rand(size, generator=g, dtype=torch.float64) ** 4 + 1e-9 for size in C.shape)
    if case.duplicates and case.n > 1:
        a[0] = 0
    a, b = (a / a.sum()).to(C), (b / b.sum()).to(C)
    found, tol = solve(case, C, a, b)
    for name in ("value", "value_linear", "marginal_a", "potential_a", "potential_b", "marginal_error"):
        assert torch.isfinite(getattr(found, name)).all(), (name, getattr(found, name))
    assert found.marginal_a.min() >= 0
    error = found.marginal_error.item()
    assert bool(found.converged) == (error <= tol), (found.converged, error)
    slack = error + 1e-3
    assert abs(found.marginal_a.double().sum().item() - 1) <= slack, found.marginal_a.double().sum()
    if found.converged:
        assert -1e-3 <= found.value_linear.item() <= C.max().item() + slack * C.max().item() + 1e-3
        if case.method == "sinkhorn":
            torch.testing.assert_close(found.marginal_a, a, rtol=1e-3, atol=1e-5)
    return ""


def solve(case: Case, C: Tensor, a: Tensor, b: Tensor) -> tuple[TransportResult, float]:
    """The solution, and the tolerance it was asked for."""
    blocks = CostBlocks.of_matrix(C)
    if case.method == "semi_relaxed":
        return solve_semi_relaxed(blocks, a, b, reg=case.reg), 0.0
    return solve_sinkhorn(blocks, a, b, reg=case.reg, tol=1e-3, max_iter=50), 1e-3


#: Three quarters of the cases are of the first kind.
KINDS = st.one_of(
    *[cases().map(lambda case: (check_weights, case))] * 3, cases(SOLVERS).map(lambda case: (check_plan, case))
)


def run(count: int, number: int) -> tuple[Counter[str], list[str]]:
    """Check `count` cases. Returns how many were checked, by kind and refusal, and what failed."""
    seen: Counter[str] = Counter()
    failures: list[str] = []

    @seed(number)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(drawn=KINDS)
    def each(drawn: tuple[object, Case]) -> None:
        check, case = drawn
        seen["cases"] += 1
        seen[check.__name__] += 1
        try:
            seen[check(case) or "answered"] += 1
        except Exception:  # noqa: BLE001 - whatever it is, it is counted
            failures.append(f"{check.__name__} {case}\n{traceback.format_exc(limit=-2)}")

    each()
    return seen, failures


def main() -> None:
    """Check, write the counts, print what failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dry-run", action="store_true", help="write no counts")
    options = parser.parse_args()
    seen, failures = run(options.cases, options.seed)
    for text in failures[:20]:
        print(text)
    print(dict(seen), f"{len(failures)} failures")
    if not options.dry_run:
        counts = {"cases": seen["cases"], "failures": len(failures), "answered": seen["answered"]}
        record("properties", counts | {"refused": {reason: seen[reason] for reason in (ALL_EQUAL, NO_MASS)}})
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
