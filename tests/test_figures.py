"""Figures: their numbers, as SVG on a page, in TensorBoard during training, and as PNG files."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from hf_otw.report import figures
from hf_otw.report.axis import recall_axis
from hf_otw.report.callback import FigureCallback
from hf_otw.report.svg import inline_svg
from hf_otw.report.theme import DARK, LIGHT
from tests.test_report import COUNTS, NAMES, toy


def test_the_figures_show_the_numbers_of_the_report() -> None:
    """Kills: classes in another order than their numbers, and totals taken for counts."""
    data = toy()
    figure = figures.class_totals(data.class_names, data.class_counts, data.class_totals)
    before, after = figure.axes[0].collections[-2:]
    np.testing.assert_allclose(before.get_offsets()[:, 0], np.array(COUNTS) / sum(COUNTS))
    np.testing.assert_allclose(after.get_offsets()[:, 0], data.class_totals)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == NAMES
    flipped = figures.class_totals(NAMES[::-1], COUNTS[::-1], data.class_totals[::-1])
    assert flipped.axes[0].get_yticklabels()[0].get_text() == "earn", "the largest class on top"
    box = figures.weights(data.class_names, data.class_counts, data.weights, data.labels).axes[0].patches
    own = [np.quantile(data.weights[data.labels == k], [0.25, 0.75]) for k in range(8)]
    np.testing.assert_allclose([[b.get_x(), b.get_x() + b.get_width()] for b in box], own)
    recall = figures.recall(data.class_names, data.class_counts, data.ot_recall, data.plain_recall)
    np.testing.assert_allclose(recall.axes[0].collections[-1].get_offsets()[:, 0], data.ot_recall)
    colours = recall.axes[0].collections[-1].get_facecolors()[:2]
    assert [to_hex(colour) for colour in colours] == [LIGHT["worse"], LIGHT["ot"]]  # 0.98 -> 0.97, and a gain
    alone = figures.recall(data.class_names, data.class_counts, data.ot_recall, None)
    assert len(alone.axes[0].collections) == 2
    assert recall.axes[0].get_ylim() == (7.6, -0.6), "the first class, the largest, on top"


def test_degenerate_weights_are_drawn() -> None:
    """Kills: a logarithmic axis for equal weights, and zeros that it cannot show."""
    data = toy()
    ones = figures.weights(data.class_names, data.class_counts, np.ones_like(data.weights), data.labels)
    assert ones.axes[0].get_xscale() == "linear"
    zeros = np.zeros_like(data.weights)
    zeros[-1] = len(zeros)
    axes = figures.weights(data.class_names, data.class_counts, zeros, data.labels).axes[0]
    assert "smaller at the edge" in axes.get_xlabel()
    dots = [line for line in axes.lines if line.get_marker() == "."]
    assert min(line.get_xdata().min() for line in dots) > 0


def test_recalls_that_are_all_high_fill_the_axis() -> None:
    assert recall_axis(np.array([0.3, np.nan])).low == 0
    assert recall_axis(np.array([0.93, 0.97])).low == pytest.approx(0.8)
    assert recall_axis(np.full(3, np.nan)).high == 1


HOSTILE = "</text><script>alert(1)"


def test_svg_follows_the_theme_of_the_page() -> None:
    """Kills: a colour that stays light on a dark page, a font of its own, text as outlines, identifiers shared."""
    assert LIGHT.keys() == DARK.keys()
    assert len(set(LIGHT.values())) == len(LIGHT), "a role is found by its light colour"
    data = toy()
    found = {name: inline_svg(figure, name) for name, figure in figures.report_figures(data).items()}
    identifiers = [name for svg in found.values() for name in re.findall(r'\bid="([^"]*)"', svg)]
    assert len(set(identifiers)) == len(identifiers) > 0
    for svg in found.values():
        assert re.search(r"#[0-9a-fA-F]{6}|font-family|font:|<metadata|<style|<!--", svg) is None
        assert all(f">{name}</text>" in svg for name in NAMES)
        used = re.findall(r'(?:href="#|url\(#)([^")]*)', svg)
        assert set(used) <= set(identifiers)
        assert set(re.findall(r"var\(--([\w-]+)\)", svg)) <= set(LIGHT)


def test_class_names_are_text() -> None:
    """Kills: mark-up or mathematics in a class name, and characters that would break the page or the drawing."""
    data = dataclasses.replace(toy(), class_names=[HOSTILE, "$x$ #ffffff", "a\x00\ud800b", "汉字", *NAMES[4:]])
    svg = inline_svg(figures.recall(data.class_names, data.class_counts, data.ot_recall, None), "recall")
    assert "<script" not in svg
    assert ">&lt;/text&gt;&lt;script&gt;aler…</text>" in svg
    for text in ("$x$ #ffffff", "a\ufffd\ufffdb", "汉字"):
        assert f">{text}</text>" in svg


def test_png_files_are_pictures(tmp_path: Path) -> None:
    paths = figures.save_figures(tmp_path / "new", toy(text="$x$"))
    assert [path.name for path in paths] == ["class_totals.png", "weights.png", "recall.png"]
    for path in paths:
        pixels = np.asarray(Image.open(path).convert("L"))
        assert pixels.shape[1] == figures.WIDTH * figures.DPI
        assert pixels.std() > 10, "something is drawn"


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "hf_otw\[report\]"'):
        figures.class_totals(["a"], [1], [1.0])


def trainer_on_digits(tmp_path: Path, *more: str, recipe: str = "digits-noise") -> object:
    from hf_otw.recipe.built_in import catalogue_for
    from hf_otw.recipe.find import library
    from hf_otw.recipe.reading import load_recipe
    from hf_otw.recipe.run import build_trainer, prepare

    changes = ["arguments.num_train_epochs=3", "arguments.use_cpu=true", "data.max_train=200", *more]
    found = load_recipe(library()[recipe], changes)
    return build_trainer(prepare(found, tmp_path, catalogue_for()), 0)


def test_figures_are_drawn_while_weights_are_learned(tmp_path: Path) -> None:
    """Kills: figures of the first epoch, when all weights are 1; a callback that draws nothing."""
    trainer = trainer_on_digits(tmp_path)
    trainer.add_callback(FigureCallback(trainer, folder=tmp_path / "figures"))
    trainer.train()
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    steps = sorted({int(name.split("_")[0]) for name in names})
    assert names == sorted(f"{step:06}_{kind}.png" for step in steps for kind in ("class_totals", "weights"))
    epoch = trainer.state.max_steps // 3
    assert steps[-1] == trainer.state.max_steps
    assert epoch not in steps, "nothing was learned in the first epoch"


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="needs tensorboard, of the extra test")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_figures_reach_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills: a writer that is not found, or figures under another step."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "logs"))
    trainer = trainer_on_digits(tmp_path, "arguments.report_to=[tensorboard]")
    trainer.train()
    log = EventAccumulator(str(tmp_path / "logs"))
    log.Reload()
    assert set(log.Tags()["images"]) == {"otw/class_totals", "otw/weights"}
    assert log.Images("otw/weights")[-1].step == trainer.state.max_steps
    assert "train/otw/ess" in log.Tags()["scalars"]


def test_a_trainer_without_weights_is_refused(tmp_path: Path) -> None:
    trainer = trainer_on_digits(tmp_path, recipe="digits-plain")
    with pytest.raises(ValueError, match="Leave the callback out"):
        FigureCallback(trainer)
