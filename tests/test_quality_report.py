"""The report on learning quality: its statistics against closed forms, its page against what the files hold."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.quality.compared import TITLES, Regime, cell_title
from benchmarks.quality.development_report import development_section
from benchmarks.quality.per_row import pack
from benchmarks.quality.problems import Cell
from benchmarks.quality.report import PAGE, README, development_page, fill_readme, page, pages_of_files
from benchmarks.quality.results import RESULTS, describe
from benchmarks.quality.tables import README_METHODS, behind_table, edge_share, readme_table, score_table
from benchmarks.quality.targets import best_everywhere, by_block, compare, compare_best, over_cells, verdicts

CLEAN, NOISY = Cell("trec"), Cell("trec", label_noise=0.4)
OTHER = Cell("sst2", counts=(20, 1000))
HUMAN = Cell("noisy_ag_news", label_noise=0.2, noise_kind="human")
MERGED = Cell("fashion_mnist", 100, merged=(0, 0, 1))
SETS = {
    "cross_entropy": 0.70,
    "logit_adjustment": 0.74,
    "focal": 0.71,
    "confident_learning": 0.72,
    "closed_form": 0.77,
    "default": 0.78,
    "default_without_doubts": 0.75,
    "oracle": 0.80,
}


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


def test_a_standard_error_holds_the_test_sets_sampling() -> None:
    """Kills: an error of the seeds alone, which all have the same test rows."""
    rows = made(cells=(CLEAN,))
    labels = torch.tensor([0, 1] * 20)
    alone = compare(Regime.of(rows, "frozen"), CLEAN.name, "focal").difference.standard_error
    for row in rows:
        answers = labels if row["method"] == "default" else torch.zeros(40, dtype=torch.long)
        row |= pack(torch.nn.functional.one_hot(torch.where(labels == 1, answers, labels), 2).float(), labels)
        row["right"] = pack(torch.eye(2)[torch.arange(40) // 20 if row["method"] == "default" else labels], labels)[
            "right"
        ]
    regime = Regime.of(rows, "frozen")
    variance = regime.sampling_variance(CLEAN.name, "default", "focal")
    assert variance > 0
    found = compare(regime, CLEAN.name, "focal").difference.standard_error
    assert found == pytest.approx(math.sqrt(alone**2 + variance))


def test_cells_in_words() -> None:
    cells = (CLEAN, NOISY, OTHER, HUMAN, MERGED, Cell("trec", 50, meta="split"), Cell("trec", counts=(5, 5)))
    assert {cell_title({**describe(cell)}) for cell in cells} == {
        "trec as it is",
        "trec as it is, 40 % uniform",
        "sst2 20:1000",
        "noisy_ag_news as it is, 20 % by people",
        "fashion_mnist merged 1:100",
        "trec 1:50, meta split off",
        "trec 5 a class",
    }


def test_kinds_and_blocks_of_cells() -> None:
    """Kills: noise by people among noise that was made, CIFAR-10N's three sets of labels as three data sets."""
    photographs = [Cell(f"cifar10n_{name}", label_noise=0.1, noise_kind="human") for name in ("aggre", "worse")]
    regime = Regime.of(made(cells=(CLEAN, NOISY, HUMAN, MERGED, *photographs)), "frozen")
    assert set(regime.of_kind("human")) == {HUMAN.name, *(cell.name for cell in photographs)}
    assert regime.of_kind("made") == (NOISY.name,)
    assert {regime.block(cell.name) for cell in photographs} == {"cifar10n"}
    assert regime.block(MERGED.name) == "fashion_mnist"


def test_best_baseline_of_a_cell_is_none_of_ours() -> None:
    found = compare_best(Regime.of(made(), "frozen"), CLEAN.name)
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
    assert "| 99.0 (n=1) |" in score_table(Regime.of(rows, "frozen"), [CLEAN.name])


def test_two_seeds_are_enough_for_the_best_baseline() -> None:
    """Kills: looking at those with all seeds alone, of which there may be one that is easily beaten."""
    rows = made()
    for row in rows:
        if row["method"] == "focal":
            row["balanced_accuracy"] = 0.9 + 0.01 * row["seed"]
    regime = Regime.of([row for row in rows if row["method"] != "focal" or row["seed"] < 2], "frozen")
    found = compare_best(regime, CLEAN.name)
    assert (found.baseline, found.difference.count) == ("focal", 2)


def test_single_best_baseline_has_results_everywhere() -> None:
    rows = without(made(cells=(CLEAN, NOISY, OTHER)), method="logit_adjustment", cell=OTHER.name)
    baseline, found, mean = best_everywhere(Regime.of(rows, "frozen"), (CLEAN.name, NOISY.name, OTHER.name))
    assert baseline == "confident_learning"
    assert (len(found), mean.count) == (3, 2)


@pytest.mark.parametrize(
    ("means", "reached"),
    [
        (SETS, [True, True, True, True, True, True]),
        (SETS | {"default": 0.75}, [True, False, False, False, True, True]),
        (SETS | {"default": 0.69}, [False, False, False, False, False, False]),
    ],
)
def test_targets(means: dict[str, float], reached: list[bool]) -> None:
    cells = (CLEAN, NOISY, HUMAN, OTHER, OTHER._replace(label_noise=0.4))
    assert [one.reached for one in verdicts(Regime.of(made(cells=cells, means=means), "frozen"))] == reached


def test_a_loss_within_a_standard_error_is_no_loss() -> None:
    """The best baseline is 0.003 ahead on average, with a standard error of 0.012."""
    rows = made(cells=(HUMAN,))
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
    found = verdicts(Regime.of(without(made(cells=(CLEAN, NOISY, HUMAN)), method="default"), "frozen"))
    assert [one.reached for one in found] == [None] * 6
    one_seed = verdicts(Regime.of(made(cells=(HUMAN,), seeds=1), "frozen"))
    assert one_seed[0].reached is None  # a standard error needs two seeds


def test_mean_by_data_set() -> None:
    rows = made(cells=(NOISY, NOISY._replace(noise_kind="similar"), OTHER._replace(label_noise=0.4)))
    for row in rows:
        row["balanced_accuracy"] += 0.1 * (row["method"] == "default" and row["dataset"] == "sst2")
    regime = Regime.of(rows, "frozen")
    found = by_block(regime, over_cells(regime, regime.cells, "logit_adjustment"))
    assert found.mean == pytest.approx((0.04 + 0.14) / 2, abs=1e-3)


def test_marks_of_a_table() -> None:
    """Best in bold, within a standard error of the paired difference in italics; of calibration errors the lowest."""
    regime = Regime.of(made(means=SETS | {"focal": 0.7999, "oracle": 0.8}), "frozen")
    line = score_table(regime, [CLEAN.name]).splitlines()[2]
    shown = dict(zip(regime.methods, [cell.strip() for cell in line.split("|")][2:-2], strict=True))
    assert shown["oracle"].startswith("**")
    assert shown["focal"].startswith("*")
    assert not shown["focal"].startswith("**")
    assert not shown["cross_entropy"].startswith("*")
    line = score_table(regime, [CLEAN.name], "expected_calibration_error").splitlines()[2]
    assert "| **12.0 ± 0.0** |" in line


def test_missing_methods_cells_and_seeds_are_named() -> None:
    rows = made(cells=(CLEAN, NOISY, OTHER))
    rows = without(rows, method="focal", cell=OTHER.name)
    rows = without(rows, method="cross_entropy", cell=CLEAN.name, seed=1)
    found = Regime.of(rows, "frozen").missing()
    assert found == {"focal": ["sst2 20:1000"], "cross_entropy": ["trec as it is (seeds 1)"]}
    text = page(file_of(rows), None, "")
    assert "Missing: 2 of 24 entries" in text
    assert "- focal: sst2 20:1000" in text


def test_ranks_use_cells_that_all_methods_have_and_no_oracle() -> None:
    rows = without(made(cells=(CLEAN, NOISY, OTHER)), method="focal", cell=OTHER.name)
    methods, cells, means = Regime.of(rows, "frozen").rankable()
    assert set(methods) == SETS.keys() - {"oracle"}
    assert OTHER.name not in cells
    assert means.shape == (2, len(SETS) - 1)
    rows = without(rows, method="focal", cell=NOISY.name)
    methods, cells, _ = Regime.of(rows, "frozen").rankable()
    assert "focal" not in methods  # in one cell of three
    assert len(cells) == 3


def test_losses_are_listed_worst_first() -> None:
    rows = made(means=SETS | {"default": 0.72})
    for row in rows:
        if row["cell"] == NOISY.name and row["method"] == "default":
            row["balanced_accuracy"] -= 0.05
    lines = behind_table(Regime.of(rows, "frozen")).splitlines()
    assert lines[2].startswith("| trec as it is, 40 % uniform | LA |")
    assert lines[3].startswith("| trec as it is | LA |")
    assert behind_table(Regime.of(made(), "frozen")) == ""


def test_penalties_at_the_edge_are_counted() -> None:
    rows = made(cells=(CLEAN, NOISY))
    for row, l2 in zip(
        (row for row in rows if row["method"] == "focal"), (1e-3, 10.0, 10.0, 2.0, 0.1, 0.5), strict=True
    ):
        row["setting"] = {"gamma": 1.0, "l2": l2}
    assert edge_share(Regime.of(rows, "frozen"), "focal") == "17 % low, 33 % high"


def test_hidden_subgroups_and_small_test_classes_are_told() -> None:
    rows = made(cells=(CLEAN, NOISY, MERGED))
    assert "hidden subgroup" in page(file_of(rows), None, "")
    assert "hidden subgroup" not in page(file_of(made()), None, "")
    for row in rows:
        row["test_counts"] = [50, 9, 50] if row["cell"] == CLEAN.name else [50, 50]
    assert "fewer than 10 test rows, whose recall is a coarse number: 1 of trec." in page(file_of(rows), None, "")


def test_page_is_a_function_of_the_files() -> None:
    """Nor does it change them, and the order of rows is nothing to it."""
    rows = made(cells=(CLEAN, NOISY, OTHER, HUMAN)) + made("fine_tuning_4_epochs")
    kept = copy.deepcopy(rows)
    first = page(file_of(rows), None, "## In short\n\nThis.\n")
    assert rows == kept
    assert page(file_of(rows[::-1]), None, "## In short\n\nThis.\n") == first
    assert "## In short\n\nThis.\n" in first
    assert "hf_otw 1.2.3" in first
    assert "of 4 epochs, at which plain training has not converged" in first
    assert page(file_of(made(means=SETS | {"focal": 0.5})), None, "") != page(file_of(made()), None, "")
    assert development_page(None, "Notes.") == "# How the default was chosen\n\nNotes.\n"


@pytest.mark.parametrize("rows", [[], made(cells=(CLEAN,), means={"default": 0.5}, seeds=1), made(cells=(NOISY,))])
def test_page_of_little(rows: list[dict[str, Any]]) -> None:
    assert "nan" not in page(file_of(rows), None, "").lower()


def test_page_refuses_a_regime_that_it_would_leave_out() -> None:
    with pytest.raises(ValueError, match="got \\['distilled'\\]"):
        page(file_of(made("distilled")), None, "")


def test_table_of_the_readme() -> None:
    rows = made(cells=(CLEAN, NOISY, HUMAN), means=dict.fromkeys(README_METHODS, 0.7) | SETS)
    lines = readme_table(rows).splitlines()
    assert len(lines) == 5
    clean = dict(zip(README_METHODS, [cell.strip() for cell in lines[4].split("|")][2:-1], strict=True))
    assert lines[4].startswith("| labels as they are (1 cell) |")
    assert clean["default"] == "**80.1**"  # bold although the oracle has more
    assert clean["cross_entropy"] == "72.1"


def test_table_of_the_readme_shows_no_mean_over_other_cells() -> None:
    """Kills: a mean over those cells that a method happens to have."""
    rows = made(cells=(CLEAN, OTHER, NOISY))
    fewer = without(rows, method="logit_adjustment", cell=OTHER.name)
    assert "| 1 of 2 cells run |" in readme_table(fewer).splitlines()[4]


def test_every_method_of_the_arena_has_a_title() -> None:
    from benchmarks.quality.audit import METHODS as audited
    from benchmarks.quality.methods import METHODS as frozen
    from benchmarks.quality.tuned_methods import METHODS as fine_tuned

    assert {*frozen, *fine_tuned, *audited} == TITLES.keys()
    headings = [heading for heading, _ in TITLES.values()]
    assert len(set(headings)) == len(headings)


def test_pictures_are_the_same_twice(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the pictures are drawn by who writes the report")
    from benchmarks.quality.report import draw

    for folder in ("first", "second"):
        draw(Regime.of(made(cells=(CLEAN, NOISY, OTHER)), "frozen"), tmp_path / folder)
    first, second = (tmp_path / folder / "ranks_frozen.svg" for folder in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()
    assert b"<dc:date>" not in first.read_bytes()


def test_choices_stand_against_taking_every_label_for_right() -> None:
    """Kills: means over cells of another kind, over cells that a choice lacks, or an oracle as the best."""
    values = {"no_doubts": (0.70, 0.50), "log_odds_plus_2": (0.69, 0.60), "oracle": (0.70, 0.80)}
    facts = {"noise_rate": 0.4, "doubt_of_right_rows": 0.1, "doubt_of_wrong_rows": 0.7}
    rows = [
        {"regime": "development", **describe(cell), "method": name, "seed": 100, "balanced_accuracy": score, **facts}
        for name, scores in values.items()
        for cell, score in zip((CLEAN, NOISY), scores, strict=True)
    ]
    lines = development_section(rows).splitlines()
    assert "| log-odds + 2 | −1.0 | **+10.0** | +4.5 |" in lines
    assert "| wrong labels known | +0.0 | +30.0 | +15.0 |" in lines
    assert "| made wrong, any class | 40 % | 10 % | 70 % |" in lines
    alone = [row | describe(OTHER) for row in rows if row["method"] == "no_doubts"]
    assert development_section(rows + alone).splitlines() == lines


@pytest.mark.skipif(not RESULTS.exists(), reason="no results yet: python -m benchmarks.quality.run")
def test_pages_say_what_the_results_say() -> None:
    quality = json.loads(RESULTS.read_text(encoding="utf-8"))
    for path, expected in pages_of_files().items():
        assert path.read_text(encoding="utf-8") == expected, "run `python -m benchmarks.quality.report`"
        for line in expected.splitlines():
            if line.startswith("!["):
                assert (PAGE.parent / line.partition("](")[2].rstrip(")")).exists(), line
    readme = README.read_text(encoding="utf-8")
    assert readme == fill_readme(readme, quality["rows"]), "run `python -m benchmarks.quality.report`"
