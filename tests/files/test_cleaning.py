"""Acting on an audit: cleaned copies, decisions, the Python API, the estimator; from a CSV file to predictions."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import check_estimator

from hf_otw.audit import audit
from hf_otw.audit.weigh import weigh
from hf_otw.sklearn import OTWeightedClassifier, sample_weight
from tests.command_line import hf_otw
from tests.test_audit import blobs, with_errors

TOPICS = {"cats": "cat purr whisker paw", "größe": "share market profit loss", "rain": "cloud wet storm drizzle"}
NAMES = list(TOPICS)


def tickets(rows: int = 150) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Tickets with some wrong queues: the table, the true classes, and which are wrong."""
    rng = np.random.default_rng(0)
    labels = np.arange(rows) % 3
    given, is_wrong = with_errors(labels, 0.1)
    bodies = [" ".join([*rng.choice(TOPICS[NAMES[k]].split(), 5), "line", str(row)]) for row, k in enumerate(labels)]
    ids = [f"{row:05}" for row in range(rows)]
    return pd.DataFrame({"id": ids, "body": bodies, "Queue": [NAMES[k] for k in given]}), labels, is_wrong


@pytest.fixture
def file(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """The tickets as spreadsheet programs of Western Europe write them."""
    frame, labels, is_wrong = tickets()
    frame.to_csv(tmp_path / "tickets.csv", sep=";", index=False, encoding="cp1252")
    return tmp_path / "tickets.csv", labels, is_wrong


def as_given(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep=";", encoding="cp1252", dtype=str)


def test_fix_drops_or_relabels_and_keeps_the_original(file, tmp_path: Path, capsys) -> None:
    """Kills: another encoding or delimiter, an ID without its zeros, rows that are not doubted changed."""
    path, labels, is_wrong = file
    before = path.read_bytes()
    base = ["audit", path, "--label", "Queue", "--text", "body", "--show", "3"]
    assert hf_otw(capsys, *base, "--fix", tmp_path / "drop.csv").code == 0
    dropped = as_given(tmp_path / "drop.csv")
    original = as_given(path)
    gone = np.flatnonzero(~original.id.isin(dropped.id))
    assert is_wrong[gone].mean() > 0.8
    assert len(gone) > 0.7 * is_wrong.sum()
    pd.testing.assert_frame_equal(dropped.reset_index(drop=True), original.drop(gone).reset_index(drop=True))
    assert hf_otw(capsys, *base, "--fix", tmp_path / "new.csv", "--how", "relabel").code == 0
    new = as_given(tmp_path / "new.csv")
    moved = new.label_before.notna().to_numpy()
    assert list(new.columns) == ["id", "body", "Queue", "label_before", "confidence"]
    assert [NAMES.index(name) for name in new.Queue[moved]] == labels[moved].tolist()
    assert (new.Queue[~moved] == original.Queue[~moved]).all()
    assert (new.label_before[moved] == original.Queue[moved]).all()
    assert hf_otw(capsys, *base, "--fix", tmp_path / "w.csv", "--how", "weight").code == 0
    weights = as_given(tmp_path / "w.csv").weight.astype(float)
    assert weights[is_wrong].mean() < 0.5 * weights[~is_wrong].mean()
    refused = hf_otw(capsys, *base, "--fix", path)
    assert (refused.code, "The original is kept" in refused.err) == (1, True)
    assert path.read_bytes() == before


def test_columns_of_the_user_are_kept(file, tmp_path: Path, capsys) -> None:
    """Kills: an audit whose rows cannot be found again in the user's system."""
    path, _, _ = file
    outputs = ["--csv", tmp_path / "a.csv", "--html", tmp_path / "a.html"]
    done = hf_otw(capsys, "audit", path, "--label", "Queue", *outputs, "--show", "2")
    assert "id" in done.out
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert {int(row["example_index"]): row["id"] for row in rows} == {row: f"{row:05}" for row in range(150)}
    assert rows[0]["id"] in done.out
    assert f"<b>id</b> {rows[0]['id']}" in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_decisions_are_carried_out_and_trusted(file, tmp_path: Path, capsys) -> None:
    """Kills: --decisions that are parsed and ignored, and decisions about other data."""
    path, _, is_wrong = file
    original = as_given(path)
    wrong, right = np.flatnonzero(is_wrong)[:2].tolist(), int(np.flatnonzero(~is_wrong)[0])
    other = next(name for name in NAMES if name != original.Queue[right])
    lines = [
        "example_index,given,decision,label",
        f"{wrong[0]},{original.Queue[wrong[0]]},keep,",
        f"{wrong[1]},{original.Queue[wrong[1]]},drop,",
        f"{right},{original.Queue[right]},relabel,{other}",
    ]
    decisions = tmp_path / "decisions.csv"
    decisions.write_text("\n".join(lines) + "\n", encoding="utf-8")
    base = ["audit", path, "--label", "Queue", "--text", "body", "--decisions", decisions, "--csv", tmp_path / "a.csv"]
    assert hf_otw(capsys, *base, "--fix", tmp_path / "fixed.csv").code == 0
    fixed = as_given(tmp_path / "fixed.csv").set_index("id")
    assert len(fixed) == 149, "only what was decided is changed"
    assert f"{wrong[1]:05}" not in fixed.index
    assert fixed.Queue[f"{right:05}"] == other
    assert fixed.Queue[f"{wrong[0]:05}"] == original.Queue[wrong[0]]
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as opened:
        kinds = {int(row["example_index"]): row["kind"] for row in csv.DictReader(opened)}
    assert kinds[wrong[0]] != "label", "a label that is known to be right is not doubted"
    decisions.write_text(lines[0] + f"\n{right},{other},keep,\n", encoding="utf-8")
    refused = hf_otw(capsys, *base)
    assert (refused.code, "the data have changed since" in refused.err) == (1, True)


def test_the_page_names_the_rows_to_review(file, tmp_path: Path, capsys) -> None:
    """Kills: a suggestion that is printed and not to be decided on."""
    done = hf_otw(capsys, "audit", file[0], "--label", "Queue", "--suggest", "4", "--html", tmp_path / "a.html")
    assert "Rows whose review helps most" in done.out
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    review = page.split("To review first")[1].split("</section>")[0]
    assert len(re.findall(r'data-row="\d+"', review)) == 4
    rows = re.findall(r'data-row="(\d+)"', page)
    assert len(rows) == len(set(rows)), "one decision a row"


def test_the_api_takes_tables_data_sets_and_arrays() -> None:
    """Kills: issues of other rows, and a copy of another kind or with other rows."""
    frame, labels, is_wrong = tickets()
    frame.index = frame.index + 1000
    found = audit(frame, label="Queue", text="body")
    flagged = found.issues.is_label_issue.to_numpy()
    assert is_wrong[flagged].mean() > 0.8
    assert found.rate == pytest.approx(0.1, abs=0.04)
    copy = found.clean()
    pd.testing.assert_frame_equal(copy, frame[~flagged])
    again = found.clean("relabel")
    assert (again.Queue != frame.Queue).sum() >= 0.7 * is_wrong.sum()
    assert found.weights.shape == (150,)
    assert len(found.review(5)) == 5
    features = Features({"body": Value("string"), "Queue": ClassLabel(names=NAMES)})
    codes = [NAMES.index(name) for name in frame.Queue]
    rows = Dataset.from_dict({"body": frame.body.tolist(), "Queue": codes}, features)
    of_rows = audit(rows, label="Queue")
    assert of_rows.issues.is_label_issue.tolist() == flagged.tolist()
    assert of_rows.clean("relabel").features == rows.features
    assert of_rows.clean("relabel")["Queue"][:] == [NAMES.index(name) for name in again.Queue]
    texts, kept = audit(frame.body.tolist(), codes).clean()
    assert (texts, kept.tolist()) == (copy.body.tolist(), [NAMES.index(name) for name in copy.Queue])
    x, y = blobs()
    given, wrong = with_errors(y, 0.1)
    for matrix in (x, sparse.csr_matrix(x)):
        issues = audit(matrix, given).issues
        assert (issues.is_label_issue.to_numpy() == wrong).mean() > 0.97
    with pytest.raises(TypeError, match="Expected a DataFrame"):
        audit([1, 2])
    with pytest.raises(ValueError, match="Expected 280 labels"):
        audit(x, given[:-1])


def test_a_trusted_set_helps_the_audit() -> None:
    """Kills: `trusted` that is taken and ignored: a third of the labels is wrong."""
    x, y = blobs((100, 100))
    given = np.where(np.random.default_rng(0).random(200) < 0.35, 1 - y, y)
    trusted = blobs((20, 20), seed=9)
    found = audit(x, given, trusted=trusted).issues
    alone = audit(x, given).issues
    assert found.quality[given == y].mean() > 0.8 > 0.2 > found.quality[given != y].mean()
    assert not np.allclose(found.quality, alone.quality)


def test_a_class_that_is_mostly_doubted_keeps_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills: a rare class that stands on one row."""
    x, y = blobs((200, 200, 12))
    doubt = np.where((y == 2) & (np.arange(len(y)) % 12 > 0), 0.05, 1.0)
    monkeypatch.setattr("hf_otw.audit.weigh.solve", lambda features, *rest: features[:, -1])
    features = np.column_stack([x, doubt])
    found = weigh(features, y)
    assert found.kept[2] < 1 / 3
    assert found.levelled.tolist() == [False, False, True]
    assert np.ptp(found.weights[y == 2]) < 1e-9
    np.testing.assert_allclose(found.class_totals, 1 / 3)
    trusted = weigh(features, y, features[::7], y[::7])
    assert np.ptp(trusted.weights[y == 2]) > 1, "trusted examples are believed"


@pytest.mark.filterwarnings("ignore")  # the checks provoke warnings on purpose
def test_the_estimator_is_one_of_scikit_learn() -> None:
    results = check_estimator(OTWeightedClassifier(), on_fail=None, on_skip=None)
    assert [row["check_name"] for row in results if row["status"] == "failed"] == []
    assert sum(row["status"] == "passed" for row in results) > 40


def test_the_estimator_gains_on_noise_and_imbalance() -> None:
    """Kills: weights that are learned and not used, and `trusted` that is ignored."""
    x, y = blobs((300, 30), apart=1.5)
    given, _ = with_errors(y, 0.15)
    x_test, y_test = blobs((500, 500), apart=1.5, seed=5)

    def recall(model: object) -> float:
        guess = model.fit(x, given).predict(x_test)  # type: ignore[attr-defined]
        return float(np.mean([(guess == k)[y_test == k].mean() for k in range(2)]))

    plain = recall(LogisticRegression())
    assert recall(OTWeightedClassifier(LogisticRegression())) > plain + 0.05
    trusted = OTWeightedClassifier(trusted=blobs((20, 20), apart=1.5, seed=9)).fit(x, given)
    assert not np.allclose(trusted.sample_weight_, OTWeightedClassifier().fit(x, given).sample_weight_)
    np.testing.assert_allclose(sample_weight(x, given), OTWeightedClassifier().fit(x, given).sample_weight_)
    words = sample_weight(["good film", "bad film", "good book", "bad book"] * 8, ["+", "-"] * 16)
    assert words.mean() == pytest.approx(1)


@pytest.mark.slow
def test_from_a_csv_file_to_predictions(file, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills: a run that cannot be repeated or used, and probabilities that do not add up to 1."""
    path, labels, _ = file
    monkeypatch.chdir(tmp_path)
    done = hf_otw(
        capsys, "train", path, "--label", "Queue", "--text", "body", "--num_train_epochs", "4", "--logging_steps", "5"
    )
    assert done.code == 0, done.err
    assert re.search(r"step \d+ of \d+: loss", done.err)
    assert (tmp_path / "runs/tickets/recipe.yaml").is_file()
    as_given(path).drop(columns="Queue").to_csv(tmp_path / "new.csv", index=False)
    done = hf_otw(capsys, "predict", "runs/tickets", "new.csv", "-o", "out.csv")
    assert done.code == 0, done.err
    out = pd.read_csv("out.csv", dtype={"id": str})
    assert out.id.tolist() == [f"{row:05}" for row in range(150)]
    assert np.mean([NAMES.index(name) for name in out.predicted] == labels) > 0.9
    np.testing.assert_allclose(out[[f"probability of {name}" for name in NAMES]].sum(axis=1), 1)
    refused = hf_otw(capsys, "predict", "runs/tickets", path, "-o", path)
    assert refused.code == 2
