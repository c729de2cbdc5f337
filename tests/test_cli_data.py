"""The commands over labelled rows, and the report of a run, from files to files."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from transformers import ViTConfig, ViTImageProcessor, ViTModel

from hf_otw.audit.findings import Finding, write_csv
from tests.command_line import Done, hf_otw
from tests.test_audit import blobs, with_errors
from tests.test_cli_train import COLUMNS, QUICK, QUICK_PLAIN, here  # noqa: F401
from tests.test_cli_train import write_csv as write_moods
from tests.test_report import CHROMIUM, Page, browse

HOSTILE = "<script>alert(1)</script>"
TOPICS = {"cats": "cat purr whisker paw", "stocks": "share market profit loss", "rain": "cloud wet storm drizzle"}


@pytest.fixture
def vectors(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """A table of embeddings with wrong labels, and which those are."""
    features, labels = blobs()
    given, is_wrong = with_errors(labels, 0.1)
    names = np.array(["red", "green", "blue"])
    table = {"vector": pa.array(features.tolist()), "colour": names[given], "id": np.arange(len(labels))}
    pa.parquet.write_table(pa.table(table), tmp_path / "vectors.parquet")
    return tmp_path / "vectors.parquet", is_wrong


@pytest.fixture
def texts(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """A table of texts with wrong labels, one of them hostile."""
    rng = np.random.default_rng(0)
    names = list(TOPICS)
    labels = np.arange(120) % 3
    given, is_wrong = with_errors(labels, 0.08)
    with (tmp_path / "texts.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["text", "label"])
        for row, (k, name) in enumerate(zip(labels, given, strict=True)):
            words = rng.choice(TOPICS[names[k]].split(), 5)
            out.writerow([f"{HOSTILE} {' '.join(words)} line {row}", names[name]])
    return tmp_path / "texts.csv", is_wrong


def ok(done: Done) -> Done:
    assert done.code == 0, done.err
    return done


def test_weights_of_embeddings_for_any_trainer(vectors, tmp_path: Path, capsys) -> None:
    """Kills: rows in another order, weights that are not those of the labels, totals that do not fit."""
    path, is_wrong = vectors
    output = tmp_path / "new" / "w.parquet"
    done = ok(hf_otw(capsys, "weights", path, "--label", "colour", "--features", "vector", "--output", output))
    table = pyarrow.parquet.read_table(output).to_pydict()
    assert list(table) == ["example_index", "label", "weight", "class_total"]
    assert table["example_index"] == list(range(len(is_wrong)))
    weights = np.array(table["weight"])
    assert weights.mean() == pytest.approx(1)
    assert weights[is_wrong].mean() < 0.3 * weights[~is_wrong].mean()
    red = np.array(table["label"]) == "red"
    assert np.array(table["class_total"])[red] == pytest.approx(weights[red].sum() / weights.sum())
    assert "Effective sample size" in done.out
    few = tmp_path / "few.parquet"
    ok(hf_otw(capsys, "weights", path, "--label", "colour", "--max-rows", "100", "--output", few))
    index = pyarrow.parquet.read_table(few)["example_index"].to_pylist()
    assert len(index) == 100
    assert index != list(range(100)), "numbers are those of the rows as given"


def test_a_trusted_set_replaces_the_drawn_one(vectors, tmp_path: Path, capsys) -> None:
    """Kills: --meta that is parsed and ignored."""
    path, _ = vectors
    features, labels = blobs((10, 10, 10), seed=5)
    names = np.array(["red", "green", "blue"])[labels]
    trusted = tmp_path / "trusted.parquet"
    pa.parquet.write_table(pa.table({"vector": pa.array(features.tolist()), "colour": names}), trusted)
    base = ["weights", path, "--label", "colour"]
    for name, more in (("own", []), ("meta", ["--meta", trusted]), ("agree", ["--weighting", "agreement"])):
        ok(hf_otw(capsys, *base, *more, "--output", tmp_path / f"{name}.parquet"))
    own, meta, agree = (
        pyarrow.parquet.read_table(tmp_path / f"{n}.parquet")["weight"].to_pylist() for n in ("own", "meta", "agree")
    )
    assert own != meta
    assert own != agree
    pa.parquet.write_table(pa.table({"vector": pa.array(features.tolist()), "colour": ["grey"] * 30}), trusted)
    refused = hf_otw(capsys, *base, "--meta", trusted)
    assert (refused.code, "got ['grey'] as well" in refused.err) == (1, True)


def test_an_audit_of_texts_as_table_csv_and_page(texts, tmp_path: Path, capsys) -> None:
    """Kills: rows of other numbers, a page that runs what a text says, a CSV without all rows."""
    path, is_wrong = texts
    files = ["--csv", tmp_path / "a.csv", "--html", tmp_path / "a.html"]
    done = ok(hf_otw(capsys, "audit", path, *files, "--show", "5"))
    assert "Features: words of the column 'text' (tfidf)" in done.err
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert sorted(int(row["example_index"]) for row in rows) == list(range(120))
    doubted = [int(row["example_index"]) for row in rows if row["kind"] == "label"]
    assert is_wrong[doubted].mean() > 0.8
    assert len(doubted) >= 0.7 * is_wrong.sum()
    assert doubted == [int(row["example_index"]) for row in rows[: len(doubted)]], "doubted labels come first"
    shown = re.findall(r"│ (\d+) +│ label", done.out)
    assert [int(row) for row in shown] == doubted[: len(shown)]
    assert len(re.findall(r"^│ \d+ ", done.out, flags=re.MULTILINE)) == 5
    page = Page((tmp_path / "a.html").read_text(encoding="utf-8"))
    assert page.loaded() == []
    assert [dict(attrs) for tag, attrs in page.tags if tag == "script"] == [{}], "our own, which the policy names"
    assert page.text.count(HOSTILE) >= len(doubted)
    assert f"{len(doubted)} of 120 labels in 3 classes are doubted" in " ".join(page.text.split())


def test_an_audit_of_pictures_shows_thumbnails(tmp_path: Path, capsys) -> None:
    """Kills: pictures that the page loads from disk, or those of other rows."""
    rng = np.random.default_rng(0)
    for name in ("dark", "light"):
        (tmp_path / "photos" / name).mkdir(parents=True)
    for i in range(60):
        label, low = (("dark", 0), ("light", 200))[i % 2]
        label = ("light", "dark")[i % 2] if i < 4 else label  # the first four lie in the wrong folder
        pixels = rng.integers(low, low + 50, (10, 14, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{i:02}.png")
    size = {"image_size": 8, "patch_size": 4, "hidden_size": 16, "intermediate_size": 16}
    config = ViTConfig(num_hidden_layers=1, num_attention_heads=2, initializer_range=0.3, **size)
    torch.manual_seed(0)
    ViTModel(config).save_pretrained(tmp_path / "vit")
    ViTImageProcessor(size={"height": 8, "width": 8}).save_pretrained(tmp_path / "vit")
    wrong = [(0, "dark"), (1, "dark"), (30, "light"), (31, "light")]
    refused = hf_otw(capsys, "audit", tmp_path / "photos")
    assert (refused.code, "Expected --model for pictures" in refused.err) == (1, True)
    html = tmp_path / "a.html"
    ok(hf_otw(capsys, "audit", tmp_path / "photos", "--model", tmp_path / "vit", "--html", html))
    page = Page(html.read_text(encoding="utf-8"))
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    assert {attrs["alt"] for attrs in images} == {f"row {row}, labelled {label}" for row, label in wrong}
    assert all(attrs["src"].startswith("data:image/jpeg;base64,") for attrs in images)


def test_a_comparison_recommends_and_keeps_its_numbers(vectors, tmp_path: Path, capsys) -> None:
    path, _ = vectors
    kept = tmp_path / "c.json"
    done = ok(hf_otw(capsys, "compare", path, "--label", "colour", "--repeats", "2", "--json", kept))
    found = json.loads(kept.read_text(encoding="utf-8"))
    assert found["recommendation"] in done.out.replace("\n", " ")
    assert [len(values) for values in found["scores"].values()] == [2] * 4
    for name in found["scores"]:
        assert name in done.out
    assert hf_otw(capsys, "compare", path, "--label", "colour", "--metric", "auc").code == 1


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("weights", "gone.csv"), "Expected a file or folder at gone.csv"),
        (("weights", "{path}"), "Expected a column 'label', got"),
        (("weights", "{path}", "--label", "color"), "Did you mean 'colour'?"),
        (
            ("weights", "{path}", "--label", "colour", "--text", "vector"),
            "Expected texts in the column 'vector'",
        ),
        (("audit", "{path}", "--label", "id"), "Expected two classes or more"),
        (("report", "nowhere"), "Expected the folder of a run with metrics.json"),
    ],
)
def test_mistakes_are_told(argv, message, vectors, capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = hf_otw(capsys, *(word.format(path=vectors[0]) for word in argv))
    assert done.code == 1
    assert message in done.err
    assert "Traceback" not in done.err


def test_a_text_is_no_formula(tmp_path: Path) -> None:
    """Kills: a cell that a spreadsheet runs."""
    write_csv(tmp_path / "a.csv", [Finding(0, "label", "=1+1", "b", 0.5, 0.1, 0.2, "@SUM(A1)", {"id": "=2"})])
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        row = list(csv.DictReader(file))[0]
    assert (row["label"], row["text"], row["id"]) == ("'=1+1", "'@SUM(A1)", "'=2")


def test_the_report_of_a_run(here: Path, capsys) -> None:  # noqa: F811
    """Kills: numbers of another run, a lost class, a report of what has no weights."""
    ok(hf_otw(capsys, "train", "digits-plain", *QUICK_PLAIN))
    ok(hf_otw(capsys, "train", "digits", *QUICK))
    ok(hf_otw(capsys, "report", "runs/digits", "--baseline", "runs/digits-plain", "--title", "My digits"))
    page = Page((here / "runs/digits/report.html").read_text(encoding="utf-8"))
    drawings = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(drawings) == 3  # class totals, weights, recall
    text = " ".join(page.text.split())
    assert "My digits" in text
    for run in ("digits", "digits-plain"):
        metrics = json.loads((here / "runs" / run / "metrics.json").read_text())["metrics"]
        assert f"{100 * metrics['balanced_accuracy']:.1f}" in text
    assert re.search(r"\b469\b", text)
    refused = hf_otw(capsys, "report", "runs/digits-plain")
    assert (refused.code, "Report the weighted run" in refused.err) == (1, True)
    no_texts = hf_otw(capsys, "report", "runs/digits", "--texts")
    assert (no_texts.code, "Leave out --texts" in no_texts.err) == (1, True)


def test_the_report_shows_texts_of_the_right_rows(here: Path, capsys) -> None:  # noqa: F811
    """Kills: texts that are those of other rows: here each says its class."""
    import yaml

    from tests.test_cli_train import bert

    config = {
        "shows": "moods",
        "source": {"files": {"train": str(write_moods(here / "moods.csv"))}, "columns": COLUMNS},
        "model": {"name": "text", "options": {"checkpoint": str(bert(here / "bert")), "max_tokens": 8}},
        "arguments": {},
    }
    (here / "moods.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    ok(hf_otw(capsys, "train", "moods.yaml", *QUICK))
    ok(hf_otw(capsys, "report", "runs/moods", "--texts"))
    content = (here / "runs/moods/report.html").read_text(encoding="utf-8")
    parts = re.split(r'<details class="[^"]*class[^"]*"', content)[1:]
    words = {"sad": range(0, 10), "glad": range(10, 20), "so-so": range(20, 30)}
    assert len(parts) == 3
    for part in parts:
        name = re.search(r"<summary[^>]*>\s*([\w-]+)", part).group(1)
        found = {int(number) for number in re.findall(r"\bw(\d+)\b", part.split("</details>\n</section>")[0])}
        assert found
        assert found <= set(words[name])


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")
def test_the_audit_opens_in_a_browser(texts, tmp_path: Path, capsys) -> None:
    """Kills: a page that a real browser complains about."""
    html = tmp_path / "a.html"
    ok(hf_otw(capsys, "audit", texts[0], "--html", html))
    dom, console = browse(html, tmp_path / "profile")
    assert console == []
    assert dom.count('<li class="row"') >= 5


def test_messages_call_columns_as_the_file_does(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Kills: the name that the label's column has inside, which is in nobody's file."""
    (tmp_path / "a.csv").write_text("words,stars\nx,0.5\ny,1.5\n", encoding="utf-8")
    done = hf_otw(capsys, "weights", str(tmp_path / "a.csv"), "--label", "stars")
    assert done.code == 1
    assert "in the column 'stars', got 0.5" in done.err
    (tmp_path / "b.csv").write_text("words,stars\nx,0\ny,1\n", encoding="utf-8")
    done = hf_otw(capsys, "weights", str(tmp_path / "b.csv"), "--label", "stars", "--text", "word")
    assert done.code == 1
    assert "Expected a column 'word', got ['words']. Did you mean 'words'?" in done.err


def test_a_folder_that_is_not_there_is_said_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Kills: a message about the Hub alone to who mistyped a path."""
    monkeypatch.chdir(tmp_path)
    done = hf_otw(capsys, "audit", "pets")
    assert done.code == 1
    assert "there is no such file or folder" in done.err
