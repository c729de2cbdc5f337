"""The report on learning quality: its statistics against closed forms, its page against what the files hold."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmarks.quality.compared import TITLES, Regime, cell_title
from benchmarks.quality.development_report import development_section
from benchmarks.quality.problems import Cell
from benchmarks.quality.report import PAGE, README, fill_readme, page, page_of_files
from benchmarks.quality.results import RESULTS, describe
from benchmarks.quality.statistics import (
    cliques,
    critical_difference,
    friedman,
    mean_se,
    paired_difference,
    ranks,
)
from benchmarks.quality.tables import README_METHODS, loss_table, readme_table, same_test_table, score_table
from benchmarks.quality.targets import best_everywhere, compare_best, verdicts

CLEAN, NOISY = Cell("trec"), Cell("trec", label_noise=0.4)
OTHER = Cell("sst2", counts=(20, 1000))
MERGED = Cell("fashion_mnist", 100, merged=(0, 0, 1))
SETS = {"cross_entropy": 0.70, "logit_adjustment": 0.74, "focal": 0.71, "closed_form": 0.77, "default": 0.78}


def made(
    regime: str = "frozen",
    cells: Iterable[Cell] = (CLEAN, NOISY),
    means: dict[str, float] | None = None,
    seeds: int = 3,
) -> list[dict[str, Any]]:
    """Rows whose seeds move all methods alike, and each by a little of its own."""
    return [
        {
            "regime": regime,
            **describe(cell),
            "method": method,
            "seed": seed,
            "setting": {"l2": 0.1},
            "accuracy": mean + 0.01,
            "balanced_accuracy": mean + 0.02 * seed + 0.001 * ((seed + place) % 3) - 0.1 * (cell.label_noise > 0),
            "worst_group": mean / 2,
            "expected_calibration_error": 0.2 - mean / 10,
            "seconds": 1.0 + place,
        }
        for cell in cells
        for place, (method, mean) in enumerate((means or SETS).items())
        for seed in range(seeds)
    ]


def file_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"versions": {"hf_otw": "1.2.3"}, "rows": rows}


def without(rows: list[dict[str, Any]], **columns: Any) -> list[dict[str, Any]]:
    kept = [row for row in rows if any(row[name] != value for name, value in columns.items())]
    assert len(kept) < len(rows), "nothing was taken out"
    return kept


def test_mean_and_standard_error() -> None:
    found = mean_se([1.0, 2.0, 4.0])
    assert found.mean == pytest.approx(7 / 3)
    assert found.standard_error == pytest.approx(stats.sem([1.0, 2.0, 4.0]))
    assert math.isnan(mean_se([5.0]).standard_error)
    with pytest.raises(ValueError, match="at least one value"):
        mean_se([])


def test_paired_interval_is_that_of_scipy() -> None:
    first = {0: 0.81, 1: 0.84, 2: 0.79, 3: 0.9}
    second = {0: 0.80, 1: 0.80, 2: 0.80, 3: 0.82}
    found = paired_difference(first, second)
    test = stats.ttest_rel(list(first.values()), list(second.values()))
    low, high = test.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.mean / found.standard_error == pytest.approx(test.statistic)
    unpaired = stats.ttest_ind(list(first.values()), list(second.values())).confidence_interval(0.95)
    assert found.low != pytest.approx(unpaired.low)


def test_only_shared_seeds_are_compared() -> None:
    """Kills: means over different seeds. Seed 9 would turn the sign."""
    found = paired_difference({0: 0.5, 1: 0.6, 9: 9.0}, {1: 0.5, 0: 0.6, 7: 3.0})
    assert found.count == 2
    assert found.mean == pytest.approx(0.0)
    assert paired_difference({0: 1.0}, {1: 1.0}) is None
    one = paired_difference({0: 1.0}, {0: 0.5})
    assert one.mean == 0.5
    assert math.isnan(one.low)


def test_ranks_with_ties_by_hand() -> None:
    scores = np.array([[0.9, 0.7, 0.9, 0.5], [0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.5, 0.5]])
    expected = [[1.5, 3, 1.5, 4], [4, 3, 2, 1], [2.5, 2.5, 2.5, 2.5]]
    np.testing.assert_array_equal(ranks(scores), expected)


def test_friedman_is_that_of_scipy_with_and_without_ties() -> None:
    rng = np.random.default_rng(0)
    for scores in (rng.normal(size=(8, 5)), rng.integers(0, 3, size=(8, 5)).astype(float)):
        expected = stats.friedmanchisquare(*scores.T)
        assert friedman(scores) == pytest.approx((expected.statistic, expected.pvalue))
    assert friedman(np.ones((4, 3))) == (0.0, 1.0)
    with pytest.raises(ValueError, match="at least 2 cells"):
        friedman(np.ones((1, 3)))


@pytest.mark.parametrize(("methods", "q"), [(2, 1.960), (5, 2.728), (10, 3.164)])
def test_critical_difference_is_that_of_the_published_table(methods: int, q: float) -> None:
    """The table of Demšar 2006 holds the Studentized range over sqrt 2; its last digit is rounded."""
    cells = 14
    expected = q * math.sqrt(methods * (methods + 1) / (6 * cells))
    assert critical_difference(methods, cells) == pytest.approx(expected, rel=4e-4)


def test_cliques_by_hand() -> None:
    assert cliques([1.0, 1.8, 2.5, 4.0], 1.0) == [(0, 1), (1, 2)]
    assert cliques([1.0, 1.2, 1.4], 1.0) == [(0, 2)]
    assert cliques([1.0, 3.0], 1.0) == []
    assert cliques([1.0, 2.0], 1.0) == []  # the critical difference itself is a difference


def test_cells_in_words() -> None:
    words = {cell_title({**describe(cell)}) for cell in (CLEAN, NOISY, OTHER, MERGED, Cell("trec", 50, meta="split"))}
    assert words == {
        "trec as it is",
        "trec as it is, 40 % uniform",
        "sst2 20:1000",
        "fashion_mnist merged 1:100",
        "trec 1:50, meta split off",
    }


def test_best_baseline_of_a_cell_is_none_of_ours() -> None:
    regime = Regime.of(made(), "frozen")
    found = compare_best(regime, CLEAN.name)
    assert found.baseline == "logit_adjustment"
    assert found.difference.mean == pytest.approx(0.04, abs=1e-3)
    assert found.difference.count == 3


def test_a_lucky_seed_is_not_the_best_baseline() -> None:
    rows = made()
    for row in rows:
        if row["method"] == "focal" and row["seed"] == 0:
            row["balanced_accuracy"] = 0.99
    rows = [row for row in rows if row["method"] != "focal" or row["seed"] == 0]
    assert compare_best(Regime.of(rows, "frozen"), CLEAN.name).baseline == "logit_adjustment"
    shown = score_table(Regime.of(rows, "frozen"), [CLEAN.name])
    assert "| 99.0 (n=1) |" in shown
    assert "| **80.1 ± 1.1** |" in shown  # the default's, over its three seeds


def test_two_seeds_are_enough_for_the_best_baseline() -> None:
    """Kills: looking at those with all seeds alone, of which there may be one that is easily beaten."""
    rows = made()
    for row in rows:
        if row["method"] == "focal":
            row["balanced_accuracy"] = 0.9 + 0.01 * row["seed"]
    regime = Regime.of([row for row in rows if row["method"] != "focal" or row["seed"] < 2], "frozen")
    found = compare_best(regime, CLEAN.name)
    assert (found.baseline, found.difference.count) == ("focal", 2)
    assert "| **90.5 ± 0.5** (n=2) |" in score_table(regime, [CLEAN.name])


def test_every_method_is_held_to_what_the_default_is_held_to() -> None:
    """Kills: a method that is its own rival, ours as anyone's rival, cells with wrong labels among those without."""
    rows = made(cells=(CLEAN, OTHER, NOISY))
    for row in rows:  # the best of one cell
        row["balanced_accuracy"] += 0.05 * (row["method"] == "focal" and row["cell"] == OTHER.name)
    lines = [line.strip("| ").split(" | ") for line in same_test_table(Regime.of(rows, "frozen")).splitlines()[2:]]
    found = {line[0]: line[1:] for line in lines}
    assert found["default"] == ["0 of 2", "+3.0", "+4.0"]
    assert found["closed form"] == ["0 of 2", "+2.0", "+3.0"]
    assert found["LA"] == ["1 of 2", "+0.5", "+3.0"]
    assert found["focal"] == ["1 of 2", "−0.5", "−3.0"]
    assert found["CE"] == ["2 of 2", "−5.0", "−4.0"]


def test_single_best_baseline_has_results_everywhere() -> None:
    rows = without(made(cells=(CLEAN, NOISY, OTHER)), method="logit_adjustment", cell=OTHER.name)
    baseline, found = best_everywhere(Regime.of(rows, "frozen"), (CLEAN.name, NOISY.name, OTHER.name))
    assert baseline == "focal"
    assert len(found) == 3


@pytest.mark.parametrize(
    ("means", "reached"),
    [
        (SETS, [True, True, True, True, True]),
        (SETS | {"default": 0.76}, [True, False, False, True, False]),  # the closed form has the better rank
        (SETS | {"default": 0.69}, [False, False, False, False, False]),
    ],
)
def test_targets(means: dict[str, float], reached: list[bool]) -> None:
    assert [one.reached for one in verdicts(Regime.of(made(means=means), "frozen"))] == reached


def test_a_loss_within_a_standard_error_is_no_loss() -> None:
    """The best baseline is 0.003 ahead on average, with a standard error of 0.012."""
    rows = made(cells=(CLEAN,))
    for row in rows:
        if row["method"] == "default":
            lead = (0.017, -0.003, -0.023)[row["seed"]]
            (theirs,) = (one for one in rows if one["method"] == "logit_adjustment" and one["seed"] == row["seed"])
            row["balanced_accuracy"] = theirs["balanced_accuracy"] + lead
    assert verdicts(Regime.of(rows, "frozen"))[0].reached is True
    for row in rows:
        row["balanced_accuracy"] -= 0.03 * (row["method"] == "default")
    assert verdicts(Regime.of(rows, "frozen"))[0].reached is False


def test_targets_are_open_where_nothing_was_run() -> None:
    rows = without(made(), method="default")
    found = verdicts(Regime.of(rows, "frozen"))
    assert [one.reached for one in found] == [None] * 5
    one_seed = verdicts(Regime.of(made(seeds=1), "frozen"))
    assert one_seed[0].reached is None  # a standard error needs two seeds


def test_coverage_of_a_target_is_said() -> None:
    rows = without(made(cells=(CLEAN, OTHER, NOISY)), method="default", cell=OTHER.name)
    found = verdicts(Regime.of(rows, "frozen"))
    assert "(judged: 1 of 2 cells)" in found[0].numbers
    assert "(judged: 2 of 3 cells)" in found[3].numbers


def test_marks_of_a_table() -> None:
    """Best in bold, within a standard error of the paired difference in italics; of calibration errors the lowest."""
    regime = Regime.of(made(means=SETS | {"focal": 0.7799}), "frozen")
    line = score_table(regime, [CLEAN.name]).splitlines()[2]
    cells = [cell.strip() for cell in line.split("|")][2:-2]
    shown = dict(zip(regime.methods, cells, strict=True))
    assert shown["default"].startswith("**")
    assert shown["focal"].startswith("*")
    assert not shown["focal"].startswith("**")
    assert not shown["cross_entropy"].startswith("*")
    line = score_table(regime, [CLEAN.name], "expected_calibration_error").splitlines()[2]
    assert "| **12.2 ± 0.0** |" in line


def test_missing_methods_cells_and_seeds_are_named() -> None:
    rows = made(cells=(CLEAN, NOISY, OTHER))
    rows = without(rows, method="focal", cell=OTHER.name)
    rows = without(rows, method="cross_entropy", cell=CLEAN.name, seed=1)
    found = Regime.of(rows, "frozen").missing()
    assert found == {"focal": ["sst2 20:1000"], "cross_entropy": ["trec as it is (seeds 1)"]}
    text = page(file_of(rows), None, "")
    assert "Missing: 2 of 15 entries" in text
    assert "- focal: sst2 20:1000" in text
    assert "- CE: trec as it is (seeds 1)" in text
    assert "(n=2)" in text


def test_ranks_use_cells_that_all_methods_have() -> None:
    rows = without(made(cells=(CLEAN, NOISY, OTHER)), method="focal", cell=OTHER.name)
    methods, cells, means = Regime.of(rows, "frozen").rankable()
    assert set(methods) == set(SETS)
    assert OTHER.name not in cells
    assert means.shape == (2, 5)
    rows = without(rows, method="focal", cell=NOISY.name)
    methods, cells, _ = Regime.of(rows, "frozen").rankable()
    assert "focal" not in methods  # in one cell of three
    assert len(cells) == 3
    assert "Left out, with results in less than half of the cells: focal" in page(file_of(rows), None, "")


def test_losses_are_listed_worst_first() -> None:
    rows = made(means=SETS | {"default": 0.72})
    for row in rows:
        if row["cell"] == NOISY.name and row["method"] == "default":
            row["balanced_accuracy"] -= 0.05
    lines = loss_table(Regime.of(rows, "frozen")).splitlines()
    assert lines[2].startswith("| trec as it is, 40 % uniform | LA |")
    assert lines[3].startswith("| trec as it is | LA |")
    assert loss_table(Regime.of(made(), "frozen")) == ""


def test_hidden_subgroups_have_a_table_of_their_own() -> None:
    assert "hidden subgroup" in page(file_of(made(cells=(CLEAN, NOISY, MERGED))), None, "")
    assert "hidden subgroup" not in page(file_of(made()), None, "")


def test_published_figures_stand_beside_ours() -> None:
    text = page(file_of(made(cells=(CLEAN, NOISY, OTHER))), None, "")
    assert "| 20 : 1000 | 54.9 | 75.1 | 71.0 ± 0.0 | 79.0 ± 0.0 | 3 |" in text
    assert "| 50 : 1000 |" not in text


def test_page_is_a_function_of_the_files() -> None:
    """Nor does it change them, and the order of rows is nothing to it."""
    rows = made(cells=(CLEAN, NOISY, OTHER)) + made("fine_tuning")
    kept = copy.deepcopy(rows)
    first = page(file_of(rows), None, "## What was tried and dropped\n\nThis.\n")
    assert rows == kept
    assert page(file_of(rows[::-1]), None, "## What was tried and dropped\n\nThis.\n") == first
    assert first.endswith("This.\n")
    assert "hf_otw 1.2.3" in first
    assert page(file_of(made(means=SETS | {"focal": 0.5})), None, "") != page(file_of(made()), None, "")


@pytest.mark.parametrize("rows", [[], made(cells=(CLEAN,), means={"default": 0.5}, seeds=1), made(cells=(NOISY,))])
def test_page_of_little(rows: list[dict[str, Any]]) -> None:
    assert "nan" not in page(file_of(rows), None, "").lower()


def test_page_refuses_a_regime_that_it_would_leave_out() -> None:
    with pytest.raises(ValueError, match="got \\['distilled'\\]"):
        page(file_of(made("distilled")), None, "")


def test_table_of_the_readme() -> None:
    rows = made(means=dict.fromkeys(README_METHODS, 0.7) | SETS) + made("fine_tuning", means=SETS)
    lines = readme_table(rows).splitlines()
    assert len(lines) == 6
    frozen = [cell.strip() for cell in lines[2].split("|")][1:-1]
    assert frozen[0] == "linear head on frozen features, clean labels (1 cell)"
    assert frozen[-1] == "**80.1**"
    assert frozen[1] == "72.1"
    tuned = dict(zip(README_METHODS, [cell.strip() for cell in lines[5].split("|")][2:-1], strict=True))
    assert tuned["meta_weight_net"] == "not run"
    assert tuned["default"] == "**70.1**"


def test_table_of_the_readme_shows_no_mean_over_other_cells() -> None:
    """Kills: a mean over those cells that a method happens to have."""
    rows = made(cells=(CLEAN, OTHER, NOISY))
    fewer = without(rows, method="logit_adjustment", cell=OTHER.name)
    assert "| 1 of 2 cells run |" in readme_table(fewer).splitlines()[2]
    seed_less = without(rows, method="logit_adjustment", cell=OTHER.name, seed=2)
    assert "| 1 of 2 cells run |" in readme_table(seed_less).splitlines()[2]


def test_every_method_of_the_arena_has_a_title() -> None:
    from benchmarks.quality.audit import METHODS as audited
    from benchmarks.quality.fine_tuning import METHODS as fine_tuned
    from benchmarks.quality.methods import METHODS as frozen

    assert {*frozen, *fine_tuned, *audited} == TITLES.keys()
    headings = [heading for heading, _ in TITLES.values()]
    assert len(set(headings)) == len(headings)


def test_pictures_are_the_same_twice(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the pictures are drawn by who writes the report")
    from benchmarks.quality.report import draw

    regime = Regime.of(made(cells=(CLEAN, NOISY, OTHER)), "frozen")
    for folder in ("first", "second"):
        draw(regime, regime, tmp_path / folder)
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert names == ["costs_frozen.svg", "ranks_frozen.svg"]
    for name in names:
        first, second = (tmp_path / folder / name for folder in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()
        assert b"<dc:date>" not in first.read_bytes()
        rows = file_of(made(cells=(CLEAN, NOISY, OTHER)))
        assert f"(quality/{name})" in page(rows, None, "", cost=rows)


def test_times_are_those_of_runs_side_by_side() -> None:
    """Kills: times of runs of other days in the place of those that compare."""
    rows = made(cells=(CLEAN, NOISY))
    assert "Cost and gain" not in page(file_of(rows), None, "")
    side_by_side = made(cells=(NOISY,), seeds=1)
    for row in side_by_side:
        row["seconds"] = 30.0 if row["method"] == "default" else 10.0
    text = page(file_of(rows), None, "", cost=file_of(side_by_side))
    assert "| default | 3.00 | +8.0 | 2 |" in text


def test_names_beside_dots_do_not_overlap() -> None:
    pytest.importorskip("matplotlib", reason="the pictures are drawn by who writes the report")
    from benchmarks.quality.figures import spread

    assert spread([0.0, 5.0], 1.0) == [0.0, 5.0]
    assert spread([1.0, 1.0, 1.0], 1.0) == [0.0, 1.0, 2.0]
    found = spread([0.0, 0.1, 0.9, 1.0, 4.0], 1.0)
    assert min(np.diff(found)) >= 1.0 - 1e-9


def test_variants_stand_beside_the_default_by_kind_of_cell() -> None:
    """Kills: means over cells of another kind, or over seeds that a variant lacks."""
    clean, noisy = Cell("digits"), Cell("digits", label_noise=0.4)
    values = {
        ("default", clean): [0.9, 0.7],
        ("agreement", clean): [0.8],
        ("default", noisy): [0.5],
        ("agreement", noisy): [0.6],
    }
    rows = [
        {"regime": "frozen", **describe(cell), "method": method, "seed": seed, "balanced_accuracy": value}
        for (method, cell), seeds in values.items()
        for seed, value in enumerate(seeds)
    ]
    lines = development_section(rows + made_similar_and_split(rows)).splitlines()
    assert "| default | **90.0** | 50.0 | 50.0 | 50.0 |" in lines
    assert "| `agreement`, reg 0.1 | 80.0 | **60.0** | **60.0** | **60.0** |" in lines
    alone = [row | describe(Cell("trec")) for row in rows if row["method"] == "default"]  # a cell that a variant lacks
    assert development_section(rows + made_similar_and_split(rows) + alone).splitlines() == lines


def test_variants_of_a_regime_have_a_table_of_their_own() -> None:
    """Kills: heads and fine-tuning in one mean, seeds of the one counted for the other."""
    heads = made(cells=(CLEAN,), means={"default": 0.7, "without_meta_term": 0.5}, seeds=1)
    tuned = made("fine_tuning", cells=(CLEAN, NOISY), means={"default": 0.6, "tau_2": 0.8}, seeds=2)
    found = development_section(heads + tuned)
    assert "Linear head on frozen features, 1 seed a cell:" in found
    assert "Full fine-tuning, 2 seeds a cell:" in found
    assert "| default | **70.0** |" in found
    assert "| without meta term | 50.1 |" in found
    assert "| loss's prior to the power of 2 | **81.2** | **71.2** |" in found


def made_similar_and_split(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The noisy rows again as of the two other kinds."""
    noisy = [row for row in rows if row["label_noise"]]
    cells = (Cell("digits", label_noise=0.4, noise_kind="similar"), Cell("digits", label_noise=0.4, meta="split"))
    return [row | describe(cell) for cell in cells for row in noisy]


@pytest.mark.skipif(not RESULTS.exists(), reason="no results yet: python -m benchmarks.quality.run")
def test_page_says_what_the_results_say() -> None:
    quality = json.loads(RESULTS.read_text(encoding="utf-8"))
    expected = page_of_files()
    assert PAGE.read_text(encoding="utf-8") == expected, "run `python -m benchmarks.quality.report`"
    readme = README.read_text(encoding="utf-8")
    assert readme == fill_readme(readme, quality["rows"]), "run `python -m benchmarks.quality.report`"
    for line in expected.splitlines():
        if line.startswith("!["):
            assert (PAGE.parent / line.partition("](")[2].rstrip(")")).exists(), line
