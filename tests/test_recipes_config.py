"""Recipes are read strictly: what is not understood is an error that helps."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import pytest

from hf_otw import OTWeightedTrainingArguments
from hf_otw.recipe.find import folder_recipes
from hf_otw.recipe.reading import load_recipe, merge
from hf_otw.recipe.run import COMMON, arguments, uses_meta
from recipes.catalogue import catalogue
from recipes.catalogue.models import MODELS
from recipes.catalogue.pipelines import PIPELINES
from tools.table import RECIPES

VARIANTS = ("plain", "class_balanced", "paper", "ot")
BY_NAME = folder_recipes(RECIPES)
PATHS = list(BY_NAME.values())
MINIMAL = """
shows: something
source: {packaged: toy}
model: {name: mlp}
arguments: {max_steps: 3}
"""


def recipe(tmp_path: Path, text: str = MINIMAL, name: str = "ot") -> Path:
    path = tmp_path / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", PATHS, ids=BY_NAME)
def test_every_recipe_is_valid(path: Path, tmp_path: Path) -> None:
    found = load_recipe(path)
    entry = catalogue().entry(found.model)
    assert entry.pipeline in PIPELINES
    args = arguments(found, found.seed, tmp_path)
    variant = path.stem
    weightings = {"plain": ("none",), "class_balanced": ("effective_number", "inverse_frequency")}
    if variant in weightings:
        assert args.weighting in weightings[variant]
    assert (args.preset == "paper") == (variant == "paper")
    assert uses_meta(args) == (variant not in weightings)
    assert len(found.shows) > 20
    assert "download" in found.needs or found.source.packaged


def test_there_are_plain_and_ot_for_every_model() -> None:
    folders = {name.rpartition("/")[0] for name in BY_NAME}
    assert len(folders) >= 11
    assert {f"{folder}/{variant}" for folder in folders for variant in ("plain", "ot")} <= set(BY_NAME)
    assert {name.rpartition("/")[2].split("_")[0] for name in BY_NAME} <= {v.split("_")[0] for v in VARIANTS}
    assert {load_recipe(path).model.name for path in PATHS} >= set(MODELS) - {"smollm2_lora_language"}


@pytest.mark.parametrize("path", PATHS, ids=BY_NAME)
def test_variants_share_all_but_the_weighting(path: Path) -> None:
    """A gain must not come from more steps or another learning rate."""
    ours, plain = load_recipe(path), load_recipe(path.with_name("plain.yaml"))
    assert (ours.source, ours.data, ours.model, ours.seed) == (plain.source, plain.data, plain.model, plain.seed)
    weighting = {f.name for f in dataclasses.fields(OTWeightedTrainingArguments)} - {
        f.name for f in dataclasses.fields(OTWeightedTrainingArguments.__mro__[2])
    }
    budget = [{k: v for k, v in r.arguments.items() if k not in weighting} for r in (ours, plain)]
    assert budget[0] == budget[1]
    assert "max_steps" in budget[0] or "num_train_epochs" in budget[0]


@pytest.mark.parametrize("path", PATHS, ids=BY_NAME)
def test_defaults_are_not_repeated(path: Path) -> None:
    defaults = {
        f.name: f.default for f in dataclasses.fields(OTWeightedTrainingArguments) if f.name not in COMMON
    } | COMMON
    repeated = {name: v for name, v in load_recipe(path).arguments.items() if defaults.get(name, object()) == v}
    assert repeated == {}
    model = load_recipe(path).model
    functions = (catalogue().entry(model).build, catalogue().entry(model).processor)
    options = {name: p.default for f in functions for name, p in inspect.signature(f).parameters.items()}
    assert {name: value for name, value in model.options.items() if options[name] == value} == {}


@pytest.mark.parametrize(
    ("change", "suggestion"),
    [
        (("shows:", "show:"), "Did you mean 'shows'"),
        (("packaged:", "packagd:"), "Did you mean 'packaged'"),
        (("max_steps:", "max_step:"), "Did you mean 'max_steps'"),
        (("name: mlp", "name: mlp, option: {}"), "Did you mean 'options'"),
        (("max_steps:", "weigting: none, max_steps:"), "Did you mean 'weighting'"),
        (("max_steps:", "seed: 1, max_steps:"), "at the top level"),
        (("max_steps: 3", "max_steps: many"), r"Expected int at .*max_steps, got 'many'"),
        (("max_steps: 3", "save_strategy: no"), "needs quotes"),
        (("{packaged: toy}", "toy"), "Expected a mapping"),
        (("{packaged: toy}", "{}"), "got neither"),
        (("shows: something", "seed: 1"), "Expected 'shows'"),
        (("shows: something", "shows: something\nseed: 1.5"), "Expected int"),
        (("shows: something", "shows: something\nneeds: [gpu]"), "accelerator"),
        (("shows: something", "shows: something\nshows: twice"), "shows twice"),
        (("shows: something", "shows: something\ndata: {noise_kind: gaussian}"), "uniform"),
        (("shows: something", "shows: something\nextends: ../base.yaml"), "beside it"),
        (("shows: something", "shows: something\nextends: missing.yaml"), "found no file"),
    ],
)
def test_mistakes_are_named(change: tuple[str, str], suggestion: str, tmp_path: Path) -> None:
    assert load_recipe(recipe(tmp_path))
    with pytest.raises(ValueError, match=suggestion):
        load_recipe(recipe(tmp_path, MINIMAL.replace(*change)))


def test_unknown_models_and_options_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Did you mean 'resnet32'"):
        catalogue().entry(load_recipe(recipe(tmp_path), ["model.name=resnet_32"]).model)
    with pytest.raises(ValueError, match="Did you mean 'hidden'"):
        catalogue().entry(load_recipe(recipe(tmp_path), ["model.options.hiden=3"]).model)


def test_overrides_win_over_the_file_and_the_file_over_its_base(tmp_path: Path) -> None:
    recipe(tmp_path, MINIMAL + "seed: 4\n", "base")
    path = recipe(tmp_path, "extends: base.yaml\narguments: {learning_rate: 1e-4}")
    found = load_recipe(path)
    assert found.arguments == {"max_steps": 3, "learning_rate": 1e-4}
    assert isinstance(found.arguments["learning_rate"], float)
    assert found.seed == 4
    found = load_recipe(path, ["arguments.max_steps=7", "seed=5", "data.label_noise=0.2", "model.options.hidden=9"])
    assert found.arguments == {"max_steps": 7, "learning_rate": 1e-4}
    assert (found.seed, found.data.label_noise, found.model.options) == (5, 0.2, {"hidden": 9})
    with pytest.raises(ValueError, match="Did you mean 'max_steps'"):
        load_recipe(path, ["arguments.max_stepss=7"])
    with pytest.raises(ValueError, match="Expected an override like"):
        load_recipe(path, ["max_steps"])


def test_extends_goes_one_level(tmp_path: Path) -> None:
    recipe(tmp_path, MINIMAL, "root")
    recipe(tmp_path, "extends: root.yaml", "base")
    with pytest.raises(ValueError, match="one level"):
        load_recipe(recipe(tmp_path, "extends: base.yaml"))


def test_a_file_that_is_no_yaml_is_told_with_its_line(tmp_path: Path) -> None:
    """Kills: an exception of the parser's own kind, which the command line would show as a traceback."""
    (tmp_path / "bad.yaml").write_text("shows: x\nsource: {packaged: digits\n", encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"Expected YAML in .*bad\.yaml, got what does not parse: .* line 2, column 9"
    ):
        load_recipe(tmp_path / "bad.yaml")


def test_merging_changes_neither_side() -> None:
    base, top = {"a": {"b": [1]}, "c": 1}, {"a": {"d": 2}, "c": {"e": 3}}
    merged = merge(base, top)
    assert merged == {"a": {"b": [1], "d": 2}, "c": {"e": 3}}
    merged["a"]["b"].append(2)
    assert base == {"a": {"b": [1]}, "c": 1}
    assert top == {"a": {"d": 2}, "c": {"e": 3}}


def test_every_yaml_below_the_recipes_is_a_recipe_or_a_base() -> None:
    others = set(RECIPES.rglob("*.yaml")) - set(PATHS)
    assert {path.name for path in others} <= {"base.yaml"}
