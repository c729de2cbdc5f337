"""The table of recipes/README.md is that of the recipes and their results; metrics and alignments by hand."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from hf_otw.recipe.find import folder_recipes
from hf_otw.recipe.reading import load_recipe
from recipes.catalogue.pipelines import metrics
from recipes.catalogue.pipelines.points import in_unit_ball
from recipes.catalogue.pipelines.tokens import first_pieces
from tools.table import README, RECIPES, REQUIRED, RESULTS, filled, gain, markdown, printed, read_results

PATHS = folder_recipes(RECIPES)


def results(name: str, value: float, *, metric: str = "balanced_accuracy", higher: bool = True) -> dict[str, Any]:
    made = dict.fromkeys(REQUIRED) | {"recipe": name, "select": False, "seconds": 12.0}
    made["metric"] = {"name": metric, "higher_is_better": higher}
    return made | {"per_seed": [{"metrics": {metric: value}}, {"metrics": {metric: value}}]}


def test_readme_is_filled_from_recipes_and_results() -> None:
    text = README.read_text(encoding="utf-8")
    assert text == filled(text), "run `python -m tools.table --write`"
    for name in PATHS:
        assert f"]({name}.yaml)" in text


def test_kept_results_are_those_of_the_recipes() -> None:
    for name, found in read_results(RESULTS).items():
        assert name in PATHS, f"{name} has results and no recipe"
        assert "commit" in found, f"{name} was not kept by `python -m tools.run_all --save-results`"
        assert found["config"] == load_recipe(PATHS[name]).as_dict(), f"{name} has changed since it ran: run it again"
        assert found["metrics"].keys() >= {found["metric"]["name"]}


def test_a_changed_number_changes_the_table() -> None:
    paths = {name: path for name, path in PATHS.items() if name.startswith("diabetes/")}
    found = {"diabetes/mlp/plain": results("diabetes/mlp/plain", 45.25, metric="balanced_mae", higher=False)}
    table = markdown(found, paths)
    assert "45.2 (45.2–45.2), 2 seeds" in table
    assert "balanced mae (lower is better)" in table
    assert "not run yet" in table
    found["diabetes/mlp/plain"]["per_seed"][0]["metrics"]["balanced_mae"] += 1
    assert table != markdown(found, paths)


def test_gain_is_positive_where_ot_is_better() -> None:
    accuracy = {f"x/y/{v}": results(f"x/y/{v}", value) for v, value in (("plain", 0.5), ("ot", 0.625))}
    assert gain(accuracy, "x/y") == "+12.5"
    error = {
        f"x/y/{v}": results(f"x/y/{v}", value, metric="balanced_mae", higher=False)
        for v, value in (("plain", 50), ("ot", 47))
    }
    assert gain(error, "x/y") == "+3.0"
    assert gain({}, "x/y") == ""
    lines = printed(accuracy, list(accuracy)).splitlines()
    assert len(lines) == 2
    assert lines[1].split()[0] == "x/y"
    assert "+12.5" in lines[1]


def test_results_are_complete_and_of_the_test_split(tmp_path: Path) -> None:
    good = results("x/y/ot", 0.5)
    (tmp_path / "demo.json").write_text(json.dumps({"plain": 1}), encoding="utf-8")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "metrics.json").write_text(json.dumps(good), encoding="utf-8")
    assert read_results(tmp_path) == {"x/y/ot": good}
    for change, message in (({"select": True}, "--select"), ({"rows": ...}, "rows")):
        bad = copy.deepcopy(good) | change
        bad = {name: value for name, value in bad.items() if value is not ...}
        (tmp_path / "bad.json").write_text(json.dumps(bad), encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            read_results(tmp_path)


def predicted(predictions: Any, labels: Any) -> SimpleNamespace:
    return SimpleNamespace(predictions=np.asarray(predictions, dtype=float), label_ids=np.asarray(labels))


def test_token_metrics_ignore_what_has_no_label() -> None:
    logits = np.eye(3)[[[0, 1, 2], [0, 0, 1]]]  # classes 0 1 2 and 0 0 1
    found = metrics.tokens(["a", "b", "c"])(predicted(logits, [[0, 1, -100], [-100, 1, 1]]))
    assert found["accuracy"] == 0.75
    assert found["recall/a"] == 1
    assert found["recall/b"] == pytest.approx(2 / 3)
    assert "recall/c" not in found
    assert found["balanced_accuracy"] == pytest.approx(5 / 6)


def test_multi_label_metrics() -> None:
    logits = [[2, -1, -5], [-1, 1, -5], [1, 3, -5]]
    found = metrics.multi_label(["a", "b", "c"])(predicted(logits, [[1, 0, 0], [1, 0, 0], [0, 1, 0]]))
    # a: scores 2, -1, 1 for the truth 1, 1, 0: precision 1 at the first, 2/3 at the second. b: 1. c has no test row.
    assert found["macro_average_precision"] == pytest.approx(((1 + 2 / 3) / 2 + 1) / 2)
    assert found["macro_f1"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found["recall/a"] == 0.5
    assert "recall/c" not in found


def test_token_losses_are_those_of_the_shifted_model() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 4, 5), torch.tensor([[0, 1, 2, -100], [3, 4, -100, -100]])
    found = metrics.token_losses((logits, "cache"), labels)
    assert found[:, 1].tolist() == [2, 1]
    by_hand = torch.nn.functional.cross_entropy(logits[0, :2], torch.tensor([1, 2]), reduction="sum")
    assert found[0, 0].item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_perplexities_weigh_groups_alike() -> None:
    compute = metrics.perplexities([0, 0, 1], ["big", "small", "untested"])
    found = compute(predicted([[2.0, 2], [2.0, 2], [6.0, 2]], 0))
    assert found["token_loss"] == pytest.approx(10 / 6)
    assert found["group_loss"] == pytest.approx(2)
    assert found["worst_group_perplexity"] == pytest.approx(np.exp(3))
    with pytest.raises(ValueError, match="each of the 3 test rows"):
        compute(predicted([[2.0, 2]], 0))


def test_errors_are_a_mean_over_bins_in_the_unit_of_the_target() -> None:
    compute = metrics.errors_by_bin(np.array([0.0, 1.0]), scale=10, bins=2)
    found = compute(predicted([[0.0], [0.0], [0.0], [0.5]], [0.1, 0.1, 0.1, 0.9]))
    assert found["mae"] == pytest.approx((3 * 1 + 4) / 4)
    assert found["balanced_mae"] == pytest.approx((1 + 4) / 2)
    assert found["worst_bin_mae"] == pytest.approx(4)


def test_first_pieces_carry_the_label_of_their_word() -> None:
    assert first_pieces([None, 0, 0, 1, 2, 2, None], [5, 6, 7]) == [-100, 5, -100, 6, 7, -100, -100]


def test_clouds_fill_the_unit_ball() -> None:
    points = 7 + 3 * np.random.default_rng(0).normal(size=(4, 20, 3))
    found = in_unit_ball(points)
    np.testing.assert_allclose(found.mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=2).max(axis=1), 1, rtol=1e-6)
    assert found.dtype == np.float32
