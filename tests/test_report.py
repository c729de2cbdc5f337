from __future__ import annotations

import dataclasses
import math
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hf_otw.report.data import ReportData
from hf_otw.report.formatting import compare, metric_rows, percent, summarise, times
from hf_otw.report.page import render, write_report

FIGURES = ("class_totals", "weights", "recall")
HOSTILE = "<script>alert(1)</script></script><img src=x onerror=alert(2)>"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NAMES = ["earn", "acq", "crude", "trade", "money-fx", "interest", "ship", "grain"]
COUNTS = [284, 160, 25, 25, 21, 19, 11, 4]


def toy(num_classes=8, *, texts=True, plain=True, text="Net 1.2 mln vs 1.0 mln"):
    names = NAMES if num_classes == 8 else [f"topic {k}" for k in range(num_classes)]
    counts = COUNTS if num_classes == 8 else [max(2, 300 // (k + 1)) for k in range(num_classes)]
    labels = np.repeat(np.arange(num_classes), counts)
    weights = np.random.default_rng(0).lognormal(sigma=1.5, size=len(labels)) / np.sqrt(np.array(counts))[labels]
    weights /= weights.mean()
    totals = np.bincount(labels, weights, minlength=num_classes) / len(labels)
    return ReportData(
        title="Reuters R8",
        class_names=names,
        class_counts=counts,
        class_totals=totals.tolist(),
        weights=weights,
        labels=labels,
        texts=[f"{text} {row}" for row in range(len(labels))] if texts else None,
        plain={"accuracy": [0.94, 0.95], "balanced_accuracy": [0.83, 0.832]} if plain else None,
        ot={"accuracy": [0.94, 0.96], "balanced_accuracy": [0.90, 0.904]},
        plain_recall=np.linspace(0.98, 0.4, num_classes).tolist() if plain else None,
        ot_recall=np.linspace(0.97, 0.7, num_classes).tolist(),
        settings={"Model": "distilbert", "Seeds": "0, 1"},
    )


class Page(HTMLParser):
    """Every start tag of a page with its attributes, and the text outside scripts and styles."""

    def __init__(self, content):
        super().__init__()
        self.tags, self.raw, self.text = [], {"script": [], "style": []}, ""
        self.inside = None
        self.feed(content)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag if tag in self.raw else None
        if self.inside:
            self.raw[tag].append((dict(attrs), []))

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside:
            self.raw[self.inside][-1][1].append(data)
        else:
            self.text += data

    def loaded(self):
        """URLs that a browser fetches for this page; links are not fetched."""
        names = {"src", "srcset", "href", "data", "poster", "action"}
        urls = [value for tag, attrs in self.tags if tag != "a" for name, value in attrs.items() if name in names]
        css = "".join("".join(parts) for _, parts in self.raw["style"])
        return urls + re.findall(r"url\([^)]*\)|@import[^;]*", css)


@pytest.mark.parametrize("num_classes", [2, 8, 52])
@pytest.mark.parametrize("complete", [True, False])
def test_a_page_has_all_figures_and_loads_nothing(num_classes, complete):
    content = render(toy(num_classes, texts=complete, plain=complete))
    page = Page(content)
    for name in FIGURES:
        assert sum(attrs.get("id") == name and bool(attrs["aria-label"]) for _, attrs in page.tags) == 1
    assert sum(tag == "svg" for tag, _ in page.tags) == len(FIGURES)
    labels = re.findall(r">(share|weight|recall)(?: \(log[^<]*)?</text>", content)
    assert labels == ["share", "weight", "recall"]
    assert page.loaded() == []
    assert page.raw["script"] == []
    headers = [attrs for tag, attrs in page.tags if tag == "th"]
    assert headers
    assert all(attrs["scope"] in ("row", "col") for attrs in headers)


def test_the_detector_of_loaded_urls_detects_them():
    page = Page(
        '<style>@import "a.css"; p {background: url(b.png)}</style><img src="c"><link href="d"><a href="e">x</a>'
    )
    assert sorted(page.loaded()) == ['@import "a.css"', "c", "d", "url(b.png)"]


def test_hostile_strings_are_text():
    data = toy(text=HOSTILE)
    clean = Page(render(toy()))
    data = dataclasses.replace(
        data, title=HOSTILE, class_names=[HOSTILE, *NAMES[1:]], settings={HOSTILE: HOSTILE, "Seeds": "0"}
    )
    content = render(data)
    page = Page(content)
    assert "<script>alert" not in content
    assert "<img" not in content
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in clean.tags]
    assert page.text.count(HOSTILE) > 8


def test_the_headline_and_the_table_tell_the_result():
    content = render(toy())
    text = " ".join(Page(content).text.split())
    assert "balanced accuracy rises from 83.1 to 90.2 %: +7.1 points over plain training, the mean of 2 seeds" in text
    cells = [cell.replace("\u00a0", " ") for cell in re.findall(r"<td[^>]*>([^<]*±[^<]*)</td>", content)]
    assert cells == ["83.1 ± 0.1", "90.2 ± 0.3", "+7.1 ± 0.1", "94.5 ± 0.7", "95.0 ± 1.4", "+0.5 ± 0.7"]
    assert re.findall(r'<td class="(better|worse|even)">', content) == ["better", "even"]
    worse = dataclasses.replace(toy(), ot={"balanced_accuracy": [0.8]})
    assert "falls from 83.1 to 80.0" in " ".join(Page(render(worse)).text.split())
    alone = " ".join(Page(render(toy(plain=False))).text.split())
    assert "balanced accuracy is 90.2 %, the mean of 2 seeds. There is no run of plain training" in alone
    assert "Difference" not in alone
    without = Page(render(dataclasses.replace(toy(), ot={}, plain=None))).text
    assert "With learned weights," not in without


def test_what_was_not_measured_is_a_dash():
    content = render(dataclasses.replace(toy(), weights=np.ones(sum(COUNTS)), ot_recall=[math.nan] * 8))
    assert "nan" not in re.sub(r"<style>.*?</style>", "", content, flags=re.DOTALL).lower()


def test_each_class_shows_its_extreme_examples_once():
    data = toy(2)
    data = dataclasses.replace(data, weights=np.arange(len(data.weights)) * 2 / (len(data.weights) - 1))
    rows = [int(row) for row in re.findall(r"<small>row (\d+)</small>", render(data))]
    assert rows == [299, 298, 297, 0, 1, 2, *range(449, 446, -1), 300, 301, 302]
    content = render(toy(8))
    shown = [int(row) for row in re.findall(r"<small>row (\d+)</small>", content)]
    assert len(shown) == len(set(shown)) == 7 * 6 + 4  # the last class has 4 examples
    assert content.rsplit("Highest weights", 1)[1].split("Lowest weights")[0].count("<small>row") == 2


def test_a_long_text_is_folded():
    content = render(toy(2, text="word " * 100))
    assert '<p class="full" dir="auto">' in content
    assert max(map(len, re.findall(r'<summary dir="auto">(.*?)</summary>', content))) <= 241


def test_the_file_is_written_and_survives_lone_surrogates(tmp_path):
    path = write_report(tmp_path / "new" / "report.html", toy(2, text="broken \ud800"))
    assert path == tmp_path / "new" / "report.html"
    assert "broken ? " in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_names": []}, "at least one class and one training example, got 0 and 549"),
        ({"class_counts": [1, 2]}, "`class_counts` to have 8 values, one a class, got 2"),
        ({"ot_recall": [0.5]}, "`ot_recall` to have 8 values, one a class, got 1"),
        ({"texts": ["one"]}, "`texts` to have 549 values, one a row of `weights`, got 1"),
        ({"class_totals": [0.5] * 8}, "sum to 1, got .* sum to 4. Please divide"),
        ({"class_counts": [0] * 8}, "`class_counts` >= 0, not all 0, got"),
        ({"ot": {"accuracy": [94.0]}}, r"`ot\['accuracy'\]` in \[0, 1\], got 94.0. Please divide percentages"),
        ({"plain": {"macro_f1": [-0.1]}}, r"`plain\['macro_f1'\]` in \[0, 1\], got -0.1"),
        ({"ot_recall": [97.0] * 8}, r"`ot_recall` in \[0, 1\], got 97.0"),
    ],
)
def test_wrong_data_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(toy(), **change)


def test_wrong_weights_and_labels_are_refused():
    data = toy()
    with pytest.raises(ValueError, match="mean 1, got minimum .* and mean 3. Please divide them by their mean"):
        dataclasses.replace(data, weights=3 * data.weights)
    with pytest.raises(ValueError, match=r"`labels` in 0..7, as many as `class_names`, got 1..8"):
        dataclasses.replace(data, labels=data.labels + 1)


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'need matplotlib.*pip install "hf_otw\[report\]"'):
        render(toy())


def test_metrics_over_seeds():
    assert summarise([0.8, math.nan, 0.9]) == pytest.approx((0.85, math.sqrt(0.005), 2))
    assert math.isnan(summarise([]).mean)
    assert compare([0.1, 0.3], [0.2, 0.4]).std == pytest.approx(0, abs=1e-12)  # paired: the spread of seeds cancels
    assert (percent(-0.00001), percent(-0.05), percent(0.05, signed=True), percent(math.nan)) == (
        "0.0",
        "−5.0",
        "+5.0",
        "–",
    )
    assert [times(w) for w in (0, 0.0001, 0.042, 0.5, 12.34, 1234, math.nan)] == (
        ["×0", "<×0.001", "×0.042", "×0.50", "×12.3", "×1234", "–"]
    )
    rows = metric_rows({"accuracy": [0.9, 0.9]}, {"mcc": [0.5], "accuracy": [0.88, 0.93], "few_shot": [0.3]})
    assert [(row.label, row.plain, row.ot, row.difference, row.trend) for row in rows] == [
        ("Accuracy", "90.0 ± 0.0", "90.5 ± 3.5", "+0.5 ± 3.5", "even"),
        ("Few-shot accuracy", "–", "30.0", "–", "unknown"),
        ("Mcc", "–", "0.5000", "–", "unknown"),
    ]


def browse(path: Path, profile: Path, *flags: str) -> tuple[str, list[str]]:
    """Return the drawn page and what it wrote to the console."""
    command = [
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *(
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={profile}",
        ),
        *("--enable-logging=stderr", "--virtual-time-budget=3000", *flags, "--dump-dom", path.as_uri()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def average(path: Path) -> float:
    """Return the mean brightness of a picture, 0 to 255."""
    return float(np.asarray(Image.open(path).convert("L"), dtype=float).mean())


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")
class TestBrowser:
    @pytest.mark.parametrize(("num_classes", "flags"), [(8, []), (52, ["--blink-settings=preferredColorScheme=0"])])
    def test_every_figure_is_drawn(self, tmp_path, num_classes, flags):
        """Kills: a page that a browser reads otherwise, and figures that stay light on a dark page."""
        data = toy(num_classes, text=HOSTILE)
        picture = tmp_path / "page.png"
        shot = [*flags, "--hide-scrollbars", "--window-size=1100,3000", f"--screenshot={picture}"]
        path = write_report(tmp_path / "report.html", data)
        dom, console = browse(path, tmp_path / "profile", *flags)
        assert console == []
        for name in FIGURES:
            svg = dom[dom.index(f'id="{name}"') :]
            svg = svg[: svg.index("</svg>")]
            assert svg.count("</text>") >= num_classes
            assert svg.count("<use") >= num_classes
        browse(path, tmp_path / "profile", *shot)
        assert average(picture) < 60 if flags else average(picture) > 200
