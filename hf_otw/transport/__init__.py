"""Solvers: one per file, each with the problem it solves at its head."""

from __future__ import annotations

from hf_otw.transport.geomloss import solve_geomloss
from hf_otw.transport.objectives import OBJECTIVES, Objective, ObjectiveGradient
from hf_otw.transport.semi_relaxed import solve_semi_relaxed
from hf_otw.transport.sinkhorn import solve_sinkhorn

__all__ = [
    "OBJECTIVES",
    "Objective",
    "ObjectiveGradient",
    "solve_geomloss",
    "solve_semi_relaxed",
    "solve_sinkhorn",
]
