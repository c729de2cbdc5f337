"""The label audit knows which labels are wrong, judges by them alone, and goes on where it was stopped."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.quality import audit
from benchmarks.quality.problems import Cell, Frozen
from benchmarks.quality.results import read

OURS = ("default", "closed_form", "agreement", "nearest_neighbours")
CELL = Cell("clouds", label_noise=0.3)


@pytest.fixture
def clouds(monkeypatch: pytest.MonkeyPatch) -> Frozen:
    """Three well separated classes."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(3), 60))
    features = (4 * np.eye(3, 5)[labels] + rng.normal(size=(180, 5))).astype(np.float32)
    features[:, -1] = np.arange(180)
    data = Frozen(features, labels, features[:30], labels[:30])
    monkeypatch.setattr(audit, "load", lambda name: data)
    monkeypatch.setattr(audit, "BASES", (Cell("clouds"),))
    return data


def test_true_labels_are_those_of_the_rows(clouds: Frozen) -> None:
    """The last feature is the row's number, so that its rank tells the row whatever the standardisation."""
    problem, wrong = audit.draw_audited(CELL, 3)
    numbers = torch.cat([problem.features, problem.meta_features])[:, -1].argsort().argsort().numpy()
    assert len(numbers) == len(clouds.labels)
    rows = numbers[: len(wrong)]
    np.testing.assert_array_equal(wrong, clouds.labels[rows] != problem.labels.numpy())
    assert 0.2 < wrong.mean() < 0.4


def test_scores_by_hand() -> None:
    wrong = np.array([True, False, True, False])
    assert audit.judge(np.array([0.1, 0.9, 0.2, 0.8]), wrong) == {"auc": 1.0, "precision_at_errors": 1.0}
    assert audit.judge(np.array([0.9, 0.1, 0.8, 0.2]), wrong) == {"auc": 0.0, "precision_at_errors": 0.0}
    assert audit.judge(np.ones(4), wrong) == {"auc": 0.5, "precision_at_errors": 0.5}


def test_precision_does_not_depend_on_the_order_of_ties() -> None:
    """The limit falls among three equal rows, one of which is wrong: a third of the second place is right."""
    quality, wrong = np.array([0.0, 0.5, 0.5, 0.5, 1.0]), np.array([True, False, True, False, False])
    assert audit.precision_at(quality, wrong, 2) == pytest.approx((1 + 1 / 3) / 2)
    assert audit.precision_at(quality[::-1].copy(), wrong[::-1].copy(), 2) == pytest.approx((1 + 1 / 3) / 2)


def test_our_methods_find_wrong_labels_of_separated_classes(clouds: Frozen) -> None:
    for row in audit.audit(CELL, 0, OURS):
        assert row["auc"] > 0.9, row["method"]
        assert row["precision_at_errors"] > 0.8, row["method"]
        assert {"dataset", "label_noise", "noise_kind", "method", "seed", "seconds"} <= row.keys()


def test_cleanlab_finds_them_too(clouds: Frozen) -> None:
    pytest.importorskip("cleanlab", reason="a competitor, not a dependency")
    found = audit.audit(CELL, 0, audit.CLEANLAB + audit.CLEANLAB_WITH_META)
    assert [row["method"] for row in found] == [*audit.CLEANLAB, *audit.CLEANLAB_WITH_META]
    assert min(row["auc"] for row in found) > 0.9


def test_probabilities_have_not_seen_the_row(clouds: Frozen) -> None:
    """A row repeated under two labels is known to who has seen it; here its probability does not follow its label."""
    problem, _ = audit.draw_audited(CELL._replace(label_noise=0.0), 0)
    flipped = problem.labels.clone()
    flipped[:3] = (flipped[:3] + 1) % 3
    before = audit.held_out_probabilities(problem, 0, with_meta=False)
    after = audit.held_out_probabilities(problem._replace(labels=flipped), 0, with_meta=False)
    np.testing.assert_allclose(before.sum(1), 1.0)
    assert (after[:3].argmax(1) == problem.labels[:3].numpy()).all()
    assert before.shape == (len(problem.labels), 3)


def test_a_class_of_one_row_does_not_stop_the_audit(clouds: Frozen) -> None:
    problem, _ = audit.draw_audited(CELL._replace(label_noise=0.0), 0)
    keep = torch.cat([torch.where(problem.labels == 0)[0][:1], torch.where(problem.labels > 0)[0]])
    rare = problem._replace(features=problem.features[keep], labels=problem.labels[keep])
    found = audit.held_out_probabilities(rare, 0, with_meta=False)
    assert found[0, 0] == 0.0  # nobody else has the class
    assert audit.held_out_probabilities(rare, 0, with_meta=True)[0, 0] > 0.5  # but the meta set has


def test_a_stopped_audit_goes_on_and_a_fresh_one_replaces(
    clouds: Frozen, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(audit.metadata, "version", lambda name: "0")
    path, calls = tmp_path / "audit.json", []
    real = audit.audit
    monkeypatch.setattr(audit, "audit", lambda cell, seed, methods: calls.append(methods) or real(cell, seed, methods))

    def run(*arguments: str) -> int:
        calls.clear()
        monkeypatch.setattr(sys, "argv", ["audit", "--results", str(path), "--cells", "uniform", *arguments])
        audit.main()
        return len(calls)

    assert run("--seeds", "1", "--methods", "default", "agreement") == 2  # two shares of wrong labels
    assert run("--seeds", "2", "--methods", "default") == 2
    assert calls == [("default",), ("default",)]
    rows = read(path)
    assert len(rows) == 6
    assert run("--seeds", "2", "--methods", "default") == 0
    assert run("--seeds", "2", "--methods", "default", "--fresh") == 4
    again = read(path)
    keys = [(row["cell"], row["method"], row["seed"]) for row in again]
    assert len(set(keys)) == len(keys) == 6


def test_methods_that_share_their_work_are_asked_for_together() -> None:
    assert audit.with_siblings(("cleanlab_margin",)) == audit.CLEANLAB
    assert audit.with_siblings(("default", "agreement")) == ("default", "agreement")
