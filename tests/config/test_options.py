"""The schema of options against the objects that it describes."""

from __future__ import annotations

import inspect
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hf_otw.config.options import (
    COSTS,
    EXAMPLE_LOSSES,
    OBJECTIVES,
    TARGET_MASSES,
    TARGET_POINTS,
    TASKS,
    WEIGHTINGS,
    Argument,
    Option,
)
from hf_otw.tasks.choose import TASKS as TASK_CLASSES
from hf_otw.transport import objectives

ROOT = Path(__file__).resolve().parents[2]
OPTIONS: list[Option] = [
    *(option for option in WEIGHTINGS.values() if option.name != "none"),
    *COSTS.values(),
    *EXAMPLE_LOSSES.values(),
]
#: Given by the builder, not by the user.
GIVEN = {"features", "widths", "label_smoothing", "class_mass", "beliefs", "seed", "update", "init"}


def parameters_of(option: Option) -> set[str]:
    """Names that a user may give: of the constructor, or of what builds the model of a training set."""
    found = option.load()
    names = set(inspect.signature(found).parameters)
    build = getattr(found, "from_facts", None)
    if build is not None:
        names |= set(inspect.signature(build).parameters)
    return names - {"kwargs"}


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_argument_is_one_of_the_object(option: Option) -> None:
    """Kills: an argument that the schema names and nothing takes."""
    names = {argument.name for argument in option.arguments}
    known = parameters_of(option)
    if option.name == "column":  # names the column; the model gets its values
        known |= {"column"}
    if option.name == "combined":  # of the feature cost inside
        known |= parameters_of(COSTS["feature"])
    assert names <= known


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_argument_of_the_object_is_in_the_schema(option: Option) -> None:
    """Kills: a setting of a weight model that no configuration can reach."""
    found = inspect.signature(option.load()).parameters.values()
    settable = {p.name for p in found if p.default is not inspect.Parameter.empty} - GIVEN
    assert settable <= {argument.name for argument in option.arguments}


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_defaults_lie_in_their_ranges(option: Option) -> None:
    found = inspect.signature(option.load()).parameters
    for argument in option.arguments:
        default = found[argument.name].default if argument.name in found else None
        if default not in (None, ()) and not callable(default):
            argument.check(default, argument.name)


def test_names_are_those_of_the_objects() -> None:
    assert set(OBJECTIVES) == set(objectives.OBJECTIVES)
    assert all(OBJECTIVES[name].load() is found for name, found in objectives.OBJECTIVES.items())
    assert set(TASKS) == set(TASK_CLASSES)
    for table in (TARGET_MASSES, TARGET_POINTS):
        assert all(callable(option.load()) for option in table.values())


REG = Argument("reg", "Small.", low=0, low_open=True)
BETA = Argument("beta", "Near 1.", low=0, high=1, high_open=True)
STEPS = Argument("steps", "20 is usual.", low=1, whole=True)


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        (REG, 0, r"Expected 0 < reg, got 0\. Small\."),
        (REG, -1.0, "Expected 0 < reg, got -1.0"),
        (REG, math.nan, "got nan"),
        (REG, math.inf, "got inf"),
        (REG, "0.1", "got '0.1'"),
        (REG, True, "got True"),
        (REG, None, "got None"),
        (BETA, 1, "Expected 0 <= beta < 1, got 1"),
        (BETA, 2, "got 2"),
        (STEPS, 0, "Expected a whole number 1 <= steps, got 0"),
        (STEPS, 1.5, "a whole number 1 <= steps, got 1.5"),
        (Argument("column", "A name.", kind="text"), 3, "column to be a str, got 3"),
        (Argument("raw", "Yes or no.", kind="flag"), 1, "raw to be a bool, got 1"),
        (Argument("shares", "Several.", low=0, kind="numbers"), 0.5, "shares to be a list of numbers, got 0.5"),
        (Argument("shares", "Several.", low=0, kind="numbers"), [1, -1], "0 <= shares, got -1"),
        (Argument("objective", "One of.", choices=("kl", "sharp")), "sharpe", "Did you mean `sharp`"),
    ],
)
def test_a_value_out_of_range_is_refused(argument: Argument, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        argument.check(value, argument.name)


@pytest.mark.parametrize(
    ("argument", "value"),
    [(REG, 1e-9), (REG, 3), (BETA, 0), (BETA, 0.9999), (STEPS, 1), (Argument("w", "", may_be_none=True), None)],
)
def test_a_value_in_range_passes(argument: Argument, value: Any) -> None:
    argument.check(value, argument.name)


@pytest.mark.parametrize(
    ("weighting", "kwargs"),
    [
        ("closed_form", {"target_ess": 50}),
        ("effective_number", {"beta": 2}),
        ("agreement", {"reg": -1.0}),
        ("net", {"steps": 0}),
        ("table", {"lr": -1.0}),
        ("net", {"lr": 0.0}),
        ("table", {"objective": "divergence"}),
        ("column", {"column": 4}),
    ],
)
def test_every_range_of_the_schema_is_read(weighting: str, kwargs: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"weighting_kwargs.'{next(iter(kwargs))}'"):
        WEIGHTINGS[weighting].check(kwargs, "weighting_kwargs")


@pytest.mark.parametrize(("loss", "kwargs"), [("focal", {"gamma": -1}), ("logit_adjusted", {"tau": math.nan})])
def test_ranges_of_losses_are_read(loss: str, kwargs: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="example_loss_kwargs"):
        EXAMPLE_LOSSES[loss].check(kwargs, "example_loss_kwargs")


def test_the_schema_imports_nothing_heavy() -> None:
    """Kills: a class imported for its name, which costs the command line seconds."""
    code = "import sys, hf_otw.config.settings; print({'torch', 'transformers', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
