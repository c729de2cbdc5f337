"""The counts on the reliability page are those that the gates recorded."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.reliability import PAGE, RESULTS, counts_table, fill_page, record

FOUND = {
    "kills": {"tried": 3, "bit_equal": 2, "by_processes": {"1": {"tried": 3, "bit_equal": 2}}},
    "conformance": {"runs": {"none": {"passed": 8, "failed": 2, "skipped": 5, "failed_beside_stock": 1}}},
    "properties": {"cases": 1200, "failures": 3},
    "mutation": {"total": 90, "killed": 80},
    "hostile_recipes": {"tried": 70, "refused": 60, "harmless": 5},
}


def test_page_says_what_was_recorded() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == fill_page(page, json.loads(RESULTS.read_text(encoding="utf-8")))


def test_counts_that_held_and_did_not() -> None:
    """Kills: a table that takes what was tried for what held, or skipped tests for passed ones."""
    shown = counts_table(FOUND)
    assert "1 process: bit-equal to one that was not | `make faults` | 3 | 2 |" in shown
    assert "| 10 | 9 |" in shown
    assert "| 1,200 | 1,197 |" in shown
    assert "| 90 | 80 |" in shown
    assert "| 70 | 65 |" in shown


def test_a_record_leaves_the_others_alone(tmp_path: Path) -> None:
    path = tmp_path / "reliability.json"
    record("kills", {"tried": 1}, path)
    record("conformance", {"passed": 2}, path)
    record("kills", {"tried": 3}, path)
    found = json.loads(path.read_text(encoding="utf-8"))
    assert (found["kills"]["tried"], found["conformance"]["passed"]) == (3, 2)
    assert "torch" in found["kills"]["versions"]
    assert [file.name for file in tmp_path.iterdir()] == ["reliability.json"]
