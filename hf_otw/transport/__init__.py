"""Solvers: one a file, each with the problem it solves at its head."""

from __future__ import annotations

from hf_otw.transport.geomloss import solve_geomloss
from hf_otw.transport.objectives import OBJECTIVES, Objective, ObjectiveGradient
from hf_otw.transport.rows import BoundedRows, FixedRows, FreeRows, RelaxedRows, RowMarginal
from hf_otw.transport.semi_relaxed import solve_semi_relaxed
from hf_otw.transport.sinkhorn import own_class_mass, solve_sinkhorn
from hf_otw.transport.symmetric import solve_symmetric

__all__ = [
    "OBJECTIVES",
    "BoundedRows",
    "FixedRows",
    "FreeRows",
    "Objective",
    "ObjectiveGradient",
    "RelaxedRows",
    "RowMarginal",
    "own_class_mass",
    "solve_geomloss",
    "solve_semi_relaxed",
    "solve_sinkhorn",
    "solve_symmetric",
]
