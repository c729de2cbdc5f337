"""The part of docs/quality.md on finding wrong labels."""

from __future__ import annotations

from typing import Any

from benchmarks.quality.compared import Regime
from benchmarks.quality.tables import details, difference_table, legend, markdown, score_table
from benchmarks.quality.targets import compare_best, gain, points

METRICS = ("auc", "precision_at_errors")


def audit_section(audit: dict[str, Any]) -> str:
    """Which labels are wrong, by low weights and by cleanlab."""
    regime = Regime.of(audit["rows"], "label_audit")
    versions = ", ".join(f"{name} {version}" for name, version in audit["versions"].items())
    return "\n\n".join(
        [
            "## Finding wrong labels",
            "Low weight as suspicion (`make audit`), of the default the posterior as it is, as `hf-otw audit` takes "
            "it. Cleanlab scores out-of-fold probabilities of logistic regression in five folds, its strength chosen "
            'by log-loss on the labels as given; "+ meta": trained on the 10 clean examples a class too, which we are '
            "given. AUC: of low quality for wrong labels; precision: the share of wrong labels among as many suspects "
            f"as there are errors. Versions: {versions}. Default minus the best cleanlab variant of each cell, mean "
            "over the cells, in points:",
            kind_table(regime),
            details("Methods", legend(regime.methods)),
            details("AUC", score_table(regime, regime.cells, "auc")),
            details("AUC against cleanlab", difference_table(regime, regime.cells, "auc", cleanlab(regime))),
            details("Precision", score_table(regime, regime.cells, "precision_at_errors")),
            details(
                "Precision against cleanlab",
                difference_table(regime, regime.cells, "precision_at_errors", cleanlab(regime)),
            ),
        ]
    )


def cleanlab(regime: Regime) -> list[str]:
    """The variants of cleanlab."""
    return [method for method in regime.methods if method.startswith("cleanlab")]


def kind_table(regime: Regime) -> str:
    """Default minus the best of cleanlab by kind of noise."""
    lines = []
    for kind in sorted({row["noise_kind"] for row in regime.rows}):
        own = [cell for cell in regime.cells if regime.first[cell]["noise_kind"] == kind]
        line = [{"human": "made by people"}.get(kind, kind)]
        for metric in METRICS:
            found = [compare_best(regime, cell, metric, cleanlab(regime)) for cell in own]
            known = [one for one in found if one is not None]
            ahead = sum(one.difference.mean > 0 for one in known)
            line += [points(gain(known)), f"{ahead} of {len(known)}"] if known else ["not run", "–"]
        lines.append(line)
    return markdown(["wrong labels", "AUC", "ahead in", "precision", "ahead in"], lines)
