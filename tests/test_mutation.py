"""The bookkeeping of `make mutation`."""

from __future__ import annotations

import json

import pytest

from benchmarks.reliability import RESULTS
from tests.mutation.run import SURVIVORS, TARGET, argued, function_of


@pytest.mark.parametrize(
    ("mutant", "function"),
    [
        ("hf_otw.transport.blocks.xǁCostBlocksǁsum__mutmut_2", "hf_otw.transport.blocks.CostBlocks.sum"),
        ("hf_otw.transport._check.x_check_reg__mutmut_11", "hf_otw.transport._check.check_reg"),
        ("hf_otw.transport.costs.x__over_all__mutmut_4", "hf_otw.transport.costs._over_all"),
        ("hf_otw.transport.costs.xǁFeatureCostǁ__call____mutmut_17", "hf_otw.transport.costs.FeatureCost.__call__"),
    ],
)
def test_names(mutant: str, function: str) -> None:
    assert function_of(mutant) == function


def test_a_reason_belongs_to_one_change_of_one_function() -> None:
    """Kills: a reason that covers whatever else survives in the same function."""
    known = [{"function": "f", "change": "-a\n+b", "why": "same"}]
    found = [{"function": "f", "change": change} for change in ("-a\n+b", "-a\n+c")]
    assert [one["why"] for one in argued(found, known)] == ["same", ""]


def test_what_was_recorded() -> None:
    """Kills: a count or a list of survivors that was changed without the other, or a reason left out."""
    counts = json.loads(RESULTS.read_text(encoding="utf-8"))["mutation"]
    survivors = json.loads(SURVIVORS.read_text(encoding="utf-8"))
    assert counts["killed"] >= TARGET * counts["total"]
    assert counts["total"] - counts["killed"] == len(survivors)
    assert [one for one in survivors if not one["why"]] == []
