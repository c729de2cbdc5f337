"""Which rows a person should look at, where time is short."""

from __future__ import annotations

import numpy as np

from hf_otw.audit.judge import Verdicts
from hf_otw.audit.labelled import UNKNOWN, Labelled


def rows_to_review(rows: Labelled, verdicts: Verdicts, count: int) -> np.ndarray:
    """Rows whose review helps most, best first, at most `count`.

    A review says most where a label may as well be wrong as right. Classes take turns, so that the trusted rows that
    come of it are of many classes.
    """
    p = np.clip(verdicts.quality, 1e-6, 1 - 1e-6)
    uncertainty = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
    if rows.known is not None:
        uncertainty = np.where(rows.known == UNKNOWN, uncertainty, -1)
    order = np.argsort(-uncertainty, kind="stable")
    turn = np.empty(len(order), dtype=np.int64)
    for k in np.unique(rows.labels):
        own = order[rows.labels[order] == k]
        turn[own] = np.arange(len(own))
    ranked = np.lexsort((-uncertainty, turn))
    return ranked[uncertainty[ranked] >= 0][:count]
