"""Presets: what they set, what the user's own values and the weighting change."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from hf_otw.config.args import WeightingArguments
from hf_otw.config.build import build_cost, build_schedule, build_weight_model
from hf_otw.config.options import OF_A_GIVEN_COST, WEIGHTINGS
from hf_otw.config.presets import PRESETS
from hf_otw.tasks import SingleLabel
from hf_otw.transport.costs import CombinedCost, LabelCost
from hf_otw.types import Measure
from hf_otw.weighting import CleanPosterior, Table, WeightNet


def resolved(**values: object) -> WeightingArguments:
    args = WeightingArguments(**values)
    args.resolve_weighting()
    return args


def weight_model(args: WeightingArguments) -> object:
    return build_weight_model(args, torch.tensor([0, 0, 0, 1]), [3, 1], feature_dim=5, column=None, seed=0)


def test_presets_set_the_same_arguments() -> None:
    """Kills: an argument that one preset forgets and so leaves at None."""
    assert set(PRESETS["default"]) == set(PRESETS["paper"])


def test_default_judges_labels_by_features_alone() -> None:
    args = resolved()
    assert isinstance(weight_model(args), CleanPosterior)
    assert (args.target, args.example_loss) == ("examples", "logit_adjusted")
    assert (args.weight_refresh_steps, args.encode_at_solve) == (0, True)
    other = resolved(weighting="agreement")
    assert (other.cost, other.target) == ("feature", "prototypes")
    assert (other.weight_refresh_steps, other.encode_at_solve) == (None, False)


def test_paper_multiplies_by_raw_logits_that_start_at_effective_number_weights() -> None:
    args = resolved(preset="paper")
    model = weight_model(args)
    assert isinstance(model, Table)
    assert model.raw
    one, three = ((1 - 0.9999) / (1 - 0.9999**n) for n in (1, 3))
    mean = (3 * three + one) / 4
    torch.testing.assert_close(model.logits, torch.tensor([three / mean] * 3 + [one / mean]))


def test_paper_with_the_implicit_net_uses_its_softmax() -> None:
    assert isinstance(weight_model(resolved(preset="paper", weighting="net")), WeightNet)


def test_paper_cost_is_twice_that_of_its_code() -> None:
    """The code: half of 1 - cos plus half of the mean squared one-hot difference. Second derivation, in full."""
    source = Measure(torch.randn(4, 6), torch.tensor([0, 1, 2, 0]), torch.full((4,), 0.25))
    target = Measure(torch.randn(3, 6), torch.tensor([0, 1, 2]), torch.full((3,), 1 / 3))
    one_hot = torch.eye(3)
    labels = (one_hot[source.labels][:, None] - one_hot[target.labels][None]).square().mean(-1)
    cosine = torch.nn.functional.cosine_similarity(source.features[:, None], target.features[None], dim=-1)
    cost = build_cost(resolved(preset="paper"), num_classes=3)
    torch.testing.assert_close(cost(source, target), 2 * (0.5 * (1 - cosine) + 0.5 * labels))


def test_label_weight_of_the_user_wins() -> None:
    assert build_cost(resolved(preset="paper", label_weight=3.0), 10) == CombinedCost(3.0)
    assert build_cost(resolved(weighting="closed_form", cost="label", label_weight=0.5), 10) == LabelCost(0.5)


@pytest.mark.parametrize("weighting", ["uniform", "inverse_frequency", "effective_number", "column"])
@pytest.mark.parametrize("preset", PRESETS)
def test_baselines_are_plain_whatever_the_preset(weighting: str, preset: str) -> None:
    args = resolved(weighting=weighting, preset=preset)
    assert (args.example_loss, args.weight_warmup, args.meta_loss_coefficient) == ("cross_entropy", 0.0, 0.0)
    assert not args.head_only_after_warmup


@pytest.mark.parametrize("weighting", ["closed_form", "relaxed_rows", "bounded_rows", "table", "net"])
def test_free_rows_see_the_labels(weighting: str) -> None:
    assert resolved(weighting=weighting).cost == "combined"


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_weighting_goes_with_every_preset(preset: str, weighting: str) -> None:
    """Kills: a preset that brings what the weighting is refused with, such as the paper's batch scope; and values that
    are refused when they are given again, as a file of arguments does.
    """
    args = resolved(preset=preset, weighting=weighting)
    values = {field.name: getattr(args, field.name) for field in dataclasses.fields(args)}
    again = resolved(**values)
    assert {name: getattr(again, name) for name in values} == values
    if weighting == "clean_posterior":
        assert (args.weight_scope, args.encode_at_solve, args.weight_refresh_steps) == ("dataset", True, 0)
        assert [getattr(args, name) for name in OF_A_GIVEN_COST] == [None] * len(OF_A_GIVEN_COST)


def test_a_weighting_that_is_set_later_brings_its_defaults() -> None:
    """As scripts do with arguments. Kills: the values of the weighting before, kept or taken for the user's."""
    args = resolved()
    args.weighting = "agreement"
    args.resolve_weighting()
    args.resolve_task(SingleLabel())
    assert (args.cost, args.reg, args.target, args.encode_at_solve) == ("feature", 0.1, "prototypes", False)
    args.weighting = "clean_posterior"
    args.resolve_weighting()
    args.resolve_task(SingleLabel())
    assert (args.cost, args.reg, args.target, args.encode_at_solve) == (None, None, "examples", True)
    args.reg = 0.2
    with pytest.raises(ValueError, match="Expected no reg with weighting='clean_posterior'.*got 0.2"):
        args.resolve_task(SingleLabel())


def test_values_of_the_user_win() -> None:
    args = resolved(preset="paper", reg=0.7, weight_warmup=0.0, meta_loss_coefficient=0.0)
    assert (args.reg, args.weight_warmup, args.meta_loss_coefficient) == (0.7, 0.0, 0.0)


@pytest.mark.parametrize(
    ("warmup", "max_steps", "epoch_steps", "expected"),
    [
        (None, 100, 30, 30),
        (None, 40, 30, 20),
        (0.0, 100, 30, 0),
        (0.64, 100, 30, 64),
        (7, 100, 30, 7),
        (1, 100, 30, 1),
    ],
)
def test_warmup(warmup: float | None, max_steps: int, epoch_steps: int, expected: int) -> None:
    schedule = build_schedule(resolved(weight_warmup=warmup), max_steps, epoch_steps)
    assert (schedule.warmup_steps, schedule.refresh_steps) == (expected, 0)
    assert build_schedule(resolved(weighting="closed_form"), max_steps, epoch_steps).refresh_steps == epoch_steps


def test_names_tell_wrapped_models_apart() -> None:
    """Kills: a checkpoint header that names the wrapper alone, so that another inner model's state is loaded."""
    names = {
        weight_model(resolved(weighting=w, keep_class_totals=k)).name
        for w in ("own_class", "agreement")
        for k in (0, 1)
    }
    assert names == {"OwnClassMass", "Agreement", "KeepClassTotals(OwnClassMass)", "KeepClassTotals(Agreement)"}


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"weighting": "own_class", "target_ess": 0.5}, "Expected weighting='closed_form' for target_ess"),
        ({"weighting": "agreement", "raw_weight_logits": True}, "Expected weighting='table' for raw_weight_logits"),
        ({"weighting": "uniform", "keep_class_totals": True}, "for keep_class_totals"),
        ({"weighting": "column", "head_only_after_warmup": True}, "for head_only_after_warmup"),
        ({"weight_smoothing": 1.0}, "Expected 0 <= weight_smoothing < 1, got 1.0"),
        ({"reg": -1.0}, "Expected reg > 0"),
        ({"weighting": "clean_posteriour"}, "Did you mean `clean_posterior`"),
        ({"preset": "papr"}, "Did you mean `paper`"),
    ],
)
def test_values_without_effect_or_out_of_range_are_refused(values: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        resolved(**values)
