"""The part of docs/quality.md on finding wrong labels."""

from __future__ import annotations

from typing import Any

from benchmarks.quality.compared import Regime
from benchmarks.quality.tables import details, difference_table, legend, markdown, missing_text, score_table
from benchmarks.quality.targets import compare_best, gain, points


def audit_section(audit: dict[str, Any]) -> str:
    """Which labels are wrong, by low weights and by cleanlab."""
    regime = Regime.of(audit["rows"], "label_audit")
    cleanlab = [method for method in regime.methods if method.startswith("cleanlab")]
    kinds = []
    for kind in sorted({row["noise_kind"] for row in regime.rows}):
        own = [cell for cell in regime.cells if regime.first[cell]["noise_kind"] == kind]
        line = [kind]
        for metric in ("auc", "precision_at_errors"):
            found = [compare_best(regime, cell, metric, cleanlab) for cell in own]
            known = [one for one in found if one is not None]
            ahead = sum(one.difference.mean > 0 for one in known)
            line += [points(gain(known)), f"{ahead} of {len(known)}"] if known else ["not run", "–"]
        kinds.append(line)
    head = ["wrong labels", "AUC", "ahead in", "precision", "ahead in"]
    return "\n\n".join(
        [
            "## Finding wrong labels",
            "Low weight as suspicion, on the same frozen features and drawings "
            "(`python -m benchmarks.quality.audit`); of the default the posterior as it is, as `hf-otw audit` takes "
            "it. Cleanlab scores out-of-fold probabilities of logistic "
            "regression in five folds; its strength is chosen by log-loss on the labels as given. We see the meta set "
            'of 10 clean examples a class, so "+ meta" trains cleanlab\'s model on it as well. AUC: of low quality '
            "for wrong labels; precision: the share of wrong labels among as many suspects as there are errors. "
            f"Versions: {', '.join(f'{name} {version}' for name, version in audit['versions'].items())}.",
            missing_text(regime, "auc"),
            details("Methods", legend(regime.methods)),
            "Default minus the best cleanlab variant of each cell, mean over the cells, in points:",
            markdown(head, kinds),
            "### AUC",
            score_table(regime, regime.cells, "auc"),
            difference_table(regime, regime.cells, "auc", cleanlab),
            "### Precision",
            details("Per cell", score_table(regime, regime.cells, "precision_at_errors")),
            difference_table(regime, regime.cells, "precision_at_errors", cleanlab),
        ]
    )
