"""A few hundred of the random problems of `python -m tests.faults.properties`, and that its checks can fail."""

from __future__ import annotations

import os

import pytest
import torch

from hf_otw.config.options import WEIGHTINGS
from tests.faults import properties
from tests.faults.properties import NO_MASS, Case, check_plan, check_weights, run

CASE = Case(
    seed=1,
    n=30,
    m=12,
    classes=4,
    width=5,
    scale=1.0,
    shift=0.0,
    reg=0.1,
    double=False,
    duplicates=False,
    constant=False,
    standardize=True,
    method="closed_form",
    cost="combined",
    target_points="examples",
    target_mass="class_prior",
)


def test_random_problems() -> None:
    """Kills what `check_weights` and `check_plan` say; HF_OTW_CASES=10000 for as many. Most problems have an answer:
    a library that refused them all would fail here.
    """
    count = int(os.environ.get("HF_OTW_CASES", "200"))
    seen, failures = run(count, 1)
    assert failures == []
    assert seen["cases"] >= 0.9 * count
    assert min(seen["check_weights"], seen["check_plan"]) > 0.2 * count
    assert seen["answered"] > 0.7 * count


@pytest.mark.parametrize(
    "spoil",
    [
        lambda r: r._replace(weights=r.weights * 1.01),
        lambda r: r._replace(weights=r.weights - r.weights.min() - 0.1),
        lambda r: r._replace(weights=torch.full_like(r.weights, torch.nan)),
        lambda r: r._replace(weights=r.weights.flip(0)),
        lambda r: r._replace(class_totals=r.class_totals * 1.01),
        lambda r: r._replace(ess=r.ess * 1.01),
        lambda r: r._replace(marginal_error=-1.0),
        lambda r: r._replace(value=float("nan")),
    ],
)
def test_wrong_weights_are_noticed(monkeypatch: pytest.MonkeyPatch, spoil: object) -> None:
    check_weights(CASE)
    learn = properties.learn_weights
    monkeypatch.setattr(properties, "learn_weights", lambda *p, **k: spoil(learn(*p, **k)))
    with pytest.raises(AssertionError):
        check_weights(CASE)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda r: r._replace(marginal_a=r.marginal_a * 1.01),
        lambda r: r._replace(marginal_a=-r.marginal_a),
        lambda r: r._replace(converged=~r.converged),
        lambda r: r._replace(potential_b=r.potential_b / 0),
        lambda r: r._replace(value_linear=r.value_linear + 5),
    ],
)
def test_wrong_plans_are_noticed(monkeypatch: pytest.MonkeyPatch, spoil: object) -> None:
    case = CASE._replace(method="sinkhorn")
    check_plan(case)
    solve = properties.solve_sinkhorn
    monkeypatch.setattr(properties, "solve_sinkhorn", lambda *p, **k: spoil(solve(*p, **k)))
    with pytest.raises(AssertionError):
        check_plan(case)


def test_a_refusal_without_a_reason_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transport always has an answer: that it "found no mass" is no excuse for the closed form."""

    def refuse(*positional: object, **keywords: object) -> None:
        raise ValueError(f"Expected {NO_MASS}, got a mean of 0.")

    monkeypatch.setattr(properties, "learn_weights", refuse)
    with pytest.raises(AssertionError, match="not all zero"):
        check_weights(CASE)
    assert check_weights(CASE._replace(method="agreement")) == NO_MASS


def test_methods_are_those_of_the_schema() -> None:
    """Kills a weighting that is added and never tried. A column is the user's own; `uniform` cannot be wrong."""
    assert {name for name, _ in properties.METHODS.values()} == set(WEIGHTINGS) - {"none", "column", "uniform"}
    assert properties.options_of(CASE)["weighting_kwargs"] == {"reg": CASE.reg}


def test_every_method_answers() -> None:
    for method in properties.METHODS:
        assert check_weights(CASE._replace(method=method)) == "", method
    for method in properties.SOLVERS:
        assert check_plan(CASE._replace(method=method)) == "", method
