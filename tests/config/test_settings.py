"""How options are resolved: preset, weighting, task and user; what is refused because it would have no effect."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from hf_otw.config.args import WeightingArguments
from hf_otw.config.build import build_class_mass, build_cost, build_weight_model
from hf_otw.config.options import COSTS, EXAMPLE_LOSSES, WEIGHTINGS, WeightingOption
from hf_otw.config.presets import PRESETS
from hf_otw.config.settings import OF_WEIGHTING, SHARED, Settings, resolve
from hf_otw.tasks import MultiLabel, Regression, SingleLabel, Tokens
from hf_otw.training.session import build_schedule
from hf_otw.transport.costs import CombinedCost, LabelCost
from hf_otw.types import Measure
from hf_otw.weighting import CleanPosterior, Table, WeightNet
from hf_otw.weighting.base import Facts

BASELINES = ("uniform", "inverse_frequency", "effective_number", "column")


def resolved(**values: Any) -> Settings:
    return WeightingArguments(**values).settings(SingleLabel())


def weight_model(settings: Settings) -> object:
    facts = Facts(
        labels=torch.tensor([0, 0, 0, 1]),
        class_counts=torch.tensor([3, 1]),
        class_mass=build_class_mass(settings.target_mass),
        feature_dim=5,
    )
    return build_weight_model(settings.option, settings.weighting_kwargs, facts)


def cost_of(settings: Settings, num_classes: int) -> object:
    return build_cost(settings.cost, settings.cost_kwargs, num_classes)


def test_presets_set_the_same_options() -> None:
    """Kills: an option that one preset forgets."""
    assert set(PRESETS["default"]) == set(PRESETS["paper"])


def test_settings_have_the_names_of_the_arguments() -> None:
    """Kills: an argument that nothing resolves."""
    arguments = {field.name for field in dataclasses.fields(WeightingArguments)}
    settings = {field.name for field in dataclasses.fields(Settings)}
    assert arguments - settings == {"task", "push_example_weights"}
    assert settings - arguments == {"option"}


def test_default_judges_labels_by_features_alone() -> None:
    settings = resolved()
    assert isinstance(weight_model(settings), CleanPosterior)
    assert (settings.target_points, settings.example_loss, settings.cost) == ("examples", "logit_adjusted", None)
    assert (settings.weight_refresh_steps, settings.encode_at_solve) == (0, True)
    other = resolved(weighting="agreement")
    assert (other.cost, other.target_points) == ("feature", "prototypes")
    assert (other.weight_refresh_steps, other.encode_at_solve) == (None, False)


def test_the_loss_decides_how_much_the_weights_balance() -> None:
    """Kills: weights and loss that both balance in full, and neither."""
    assert resolved().target_mass == "square_root"
    assert resolved(example_loss="cross_entropy").target_mass == "balanced"
    assert resolved(target_mass="class_prior").target_mass == "class_prior"
    assert WeightingArguments().settings(Regression()).target_mass == "balanced"


def test_paper_multiplies_by_raw_logits_that_start_at_effective_number_weights() -> None:
    model = weight_model(resolved(preset="paper"))
    assert isinstance(model, Table)
    assert model.raw
    one, three = ((1 - 0.9999) / (1 - 0.9999**n) for n in (1, 3))
    mean = (3 * three + one) / 4
    torch.testing.assert_close(model.logits, torch.tensor([three / mean] * 3 + [one / mean]))


def test_paper_with_the_implicit_net_uses_its_softmax() -> None:
    """Kills: arguments of the preset's weighting that go to another one which does not take them."""
    settings = resolved(preset="paper", weighting="net")
    assert settings.weighting_kwargs == {"objective": "sharp", "reg": 0.2, "steps": 1, "lr": 0.005}
    assert isinstance(weight_model(settings), WeightNet)


def test_paper_cost_is_twice_that_of_its_code() -> None:
    """The code: half of 1 - cos plus half of the mean squared one-hot difference. Second derivation, in full."""
    source = Measure(torch.randn(4, 6), torch.tensor([0, 1, 2, 0]), torch.full((4,), 0.25))
    target = Measure(torch.randn(3, 6), torch.tensor([0, 1, 2]), torch.full((3,), 1 / 3))
    one_hot = torch.eye(3)
    labels = (one_hot[source.labels][:, None] - one_hot[target.labels][None]).square().mean(-1)
    cosine = torch.nn.functional.cosine_similarity(source.features[:, None], target.features[None], dim=-1)
    cost = cost_of(resolved(preset="paper"), 3)
    torch.testing.assert_close(cost(source, target), 2 * (0.5 * (1 - cosine) + 0.5 * labels))


def test_label_weight_of_the_user_wins() -> None:
    assert cost_of(resolved(preset="paper", cost_kwargs={"label_weight": 3.0}), 10) == CombinedCost(3.0)
    label = resolved(weighting="closed_form", cost="label", cost_kwargs={"label_weight": 0.5})
    assert cost_of(label, 10) == LabelCost(0.5)


@pytest.mark.parametrize("weighting", BASELINES)
@pytest.mark.parametrize("preset", PRESETS)
def test_baselines_are_plain_whatever_the_preset(weighting: str, preset: str) -> None:
    settings = resolved(weighting=weighting, preset=preset)
    assert (settings.example_loss, settings.weight_warmup) == ("cross_entropy", 0.0)
    assert (settings.meta_loss_coefficient, settings.head_only_after_warmup) == (0.0, False)
    assert not settings.needs_meta


@pytest.mark.parametrize("weighting", ["closed_form", "table", "net"])
def test_free_rows_see_the_labels(weighting: str) -> None:
    assert resolved(weighting=weighting).cost == "combined"


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_weighting_goes_with_every_preset(preset: str, weighting: str) -> None:
    """Kills: a preset that brings what the weighting is refused with, such as the paper's batch scope."""
    settings = resolved(preset=preset, weighting=weighting)
    if weighting == "clean_posterior":
        found = (settings.weight_scope, settings.encode_at_solve, settings.weight_refresh_steps, settings.cost)
        assert found == ("dataset", True, 0, None)


def test_arguments_are_left_as_they_were_given() -> None:
    """Kills: values of one weighting that stay when a script sets another."""
    args = WeightingArguments()
    assert args.settings(SingleLabel()).weighting == "clean_posterior"
    args.weighting = "agreement"
    settings = args.settings(SingleLabel())
    assert (settings.cost, settings.target_points, settings.encode_at_solve) == ("feature", "prototypes", False)
    assert args == WeightingArguments(weighting="agreement")


def test_values_of_the_user_win() -> None:
    settings = resolved(preset="paper", weighting_kwargs={"reg": 0.7}, weight_warmup=0.0, meta_loss_coefficient=0.0)
    assert settings.weighting_kwargs == {"objective": "sharp", "reg": 0.7, "steps": 1, "lr": 0.005, "raw": True}
    assert (settings.weight_warmup, settings.meta_loss_coefficient) == (0.0, 0.0)


def test_defaults_suit_the_task_and_what_the_user_set_wins() -> None:
    """Logit adjustment has no place in a regression: the weights must balance. Kills: a preset that overrides the
    user, and the schedule of `clean_posterior` for a weighting that needs several solves.
    """
    args = WeightingArguments(weight_warmup=3)
    regression, tokens = args.settings(Regression()), args.settings(Tokens())
    assert (regression.weighting, regression.example_loss) == ("closed_form", "squared_error")
    assert (regression.cost, regression.weighting_kwargs) == ("combined", {"target_ess": 0.5})
    assert (regression.weight_refresh_steps, regression.encode_at_solve) == (None, False)
    assert (tokens.weighting, tokens.example_loss) == ("clean_posterior", "logit_adjusted")
    assert regression.weight_warmup == tokens.weight_warmup == 3
    agreement = WeightingArguments(weighting="agreement").settings(MultiLabel())
    assert (agreement.cost, agreement.example_loss) == ("feature", "binary_cross_entropy")
    assert WeightingArguments(weighting="uniform").settings(Regression()).meta_loss_coefficient == 0.0


def test_one_argument_takes_the_place_of_another() -> None:
    """Kills: a reg of the user's that the task's target_ess overrides in silence."""
    settings = WeightingArguments(weighting_kwargs={"reg": 0.3}).settings(Regression())
    assert settings.weighting_kwargs == {"reg": 0.3}
    with pytest.raises(ValueError, match="Expected one of reg, target_ess in weighting_kwargs.*got both"):
        resolved(weighting="closed_form", weighting_kwargs={"reg": 0.3, "target_ess": 0.5})


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


#: A legal value of every shared option that is not its default.
OTHER: dict[str, Any] = {
    "weight_scope": "batch",
    "cost": "label",
    "cost_kwargs": {"label_weight": 2.0},
    "target_mass": "class_prior",
    "target_points": "examples",
    "feature_module": ["bert.pooler"],
    "feature_memory": "mapped",
    "standardize_features": False,
    "weight_warmup": 2,
    "weight_refresh_steps": 3,
    "encode_at_solve": True,
    "head_only_after_warmup": True,
    "meta_loss_coefficient": 0.5,
    "meta_batch_size": 4,
    "meta_examples_per_class": 3,
}


@pytest.mark.parametrize("name", SHARED)
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_a_shared_option_acts_or_is_refused(weighting: str, name: str) -> None:
    """Kills: a setting that passes and is then read by nothing. `tests/config/test_acting.py` trains with each."""
    option = WEIGHTINGS[weighting]
    extra = {"cost": "combined"} if name == "cost_kwargs" and "cost" in option.uses else {}
    needs_term = name in ("meta_batch_size", "meta_examples_per_class") and not option.needs_transport
    if needs_term and name in option.uses:
        extra = {"meta_loss_coefficient": 0.5}
    given = {"weighting": weighting, name: OTHER[name], **extra}
    if name in option.uses and not (option.learns_cost and name == "weight_scope"):
        found = getattr(resolve(given), name)
        assert (list(found) if isinstance(found, tuple) else found) == OTHER[name]
    else:
        with pytest.raises(ValueError, match=f"{name}.*weighting='{weighting}'|weight_scope='dataset' with"):
            resolve(given)


@pytest.mark.parametrize("name", sorted(OF_WEIGHTING - set(SHARED)))
def test_the_stock_trainer_takes_no_option_of_weighting(name: str) -> None:
    value: Any = {"task": "single_label", "weight_per_token": True, "label_bins": 3, "group_column": "domain"}.get(
        name
    )
    if name.endswith("_kwargs"):
        value = {"reg": 1.0}
    if name == "example_loss":
        value = "focal"
    with pytest.raises(ValueError, match="weighting='none'|for 'none'|to hold what it takes"):
        resolve({"weighting": "none", name: value})


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (
            {"weighting": "agreement", "weighting_kwargs": {"target_ess": 0.5}},
            "'agreement' to hold .*got 'target_ess'",
        ),
        ({"weighting": "agreement", "weighting_kwargs": {"lr": 3.0}}, r"what it takes \(reg\), got 'lr'"),
        ({"weighting": "agreement", "weighting_kwargs": {"objective": "kl"}}, "got 'objective'"),
        ({"weighting": "uniform", "weighting_kwargs": {"reg": 1.0}}, r"what it takes \(no arguments\), got 'reg'"),
        ({"weighting": "clean_posterior", "weighting_kwargs": {"reg": 0.1}}, "got 'reg'"),
        ({"weighting": "clean_posterior", "cost": "feature"}, "no cost with weighting='clean_posterior'"),
        (
            {"weighting": "closed_form", "cost": "label", "cost_kwargs": {"block_weights": [1.0]}},
            "got 'block_weights'",
        ),
        (
            {"weighting": "closed_form", "cost_kwargs": {"block_weights": [1.0, 2.0]}, "feature_module": ["a"]},
            r"for each feature_module, got \[1.0, 2.0\] for \['a'\]",
        ),
        ({"example_loss": "focal", "example_loss_kwargs": {"tau": 1.0}}, r"\(gamma\), got 'tau'"),
        ({"weighting": "clean_posterior", "weight_scope": "batch"}, "weight_scope='dataset' with weighting='clean"),
        ({"weighting": "agreement", "weight_scope": "batch", "encode_at_solve": True}, "for encode_at_solve, got 'b"),
        ({"weighting": "agreement", "weight_scope": "batch", "feature_memory": "sharded"}, "for feature_memory, got"),
        ({"weighting": "uniform", "meta_batch_size": 4}, "meta_loss_coefficient > 0 for meta_batch_size"),
        ({"weighting": "uniform", "meta_examples_per_class": 4}, "needs a meta set for meta_examples_per_class"),
        ({"weighting": "clean_posteriour"}, "Did you mean `clean_posterior`"),
        ({"preset": "papr"}, "Did you mean `paper`"),
        ({"weighting_kwargs": 3}, "Expected weighting_kwargs to be a dictionary, got 3"),
        ({"weighting_kwargs": "reg=1"}, "Expected weighting_kwargs to be a JSON object, got 'reg=1'"),
        ({"weighting_kwargs": "[1]"}, "Expected weighting_kwargs to be a JSON object"),
        ({"group_column": "domain"}, "no group_column for the task 'single_label'"),
        ({"label_bins": 5}, "label_bins for regression"),
        ({"example_loss": "squared_error"}, "example_loss for the task 'single_label' to be one of"),
    ],
)
def test_values_without_effect_are_refused(values: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        resolved(**values)


def test_the_message_names_the_weightings_that_read_a_setting() -> None:
    with pytest.raises(ValueError, match="weighting='agreement', which does not read it, got 'balanced'.*'closed_fo"):
        resolved(weighting="agreement", target_mass="balanced")


def test_an_object_and_a_name_for_one_thing_are_refused() -> None:
    own = WeightingOption("Mine", "", "", uses=frozenset())
    with pytest.raises(
        ValueError, match="one weighting, got weighting='uniform' in the arguments and the object Mine"
    ):
        resolve({"weighting": "uniform"}, own_weighting=own)


def test_kwargs_may_be_json() -> None:
    """As a command line gives them."""
    settings = resolved(weighting="agreement", weighting_kwargs='{"reg": 0.25}')
    assert settings.weighting_kwargs == {"reg": 0.25}


def test_a_report_shows_what_acts() -> None:
    shown = resolved(weighting="uniform").shown()
    assert shown["weighting"] == "uniform"
    assert not {"cost", "target_mass", "feature_memory"} & set(shown)
    assert resolved(weighting="closed_form").shown()["cost"] == "combined"


def test_every_option_of_the_schema_is_reachable() -> None:
    """Kills: an entry whose module or attribute does not exist."""
    for table in (WEIGHTINGS, COSTS, EXAMPLE_LOSSES):
        for option in table.values():
            assert option.name == "none" or callable(option.load())
