"""What the transport plan may do with the mass of its rows.

In every entropic problem of this package a row's mass is a function of one number, its *fit*
`r_i = log sum_j exp(h_j - C_ij / reg)` (how well the columns can be reached from the row). The four ways to
constrain rows differ in that function alone:

| rows | constraint | log(row mass / a_i) |
|---|---|---|
| `FixedRows()` | `T 1 = a` | `0` |
| `FreeRows()` | none (semi-relaxed) | `r_i` |
| `RelaxedRows(rho)` | penalty `rho * KL(T 1 given a)` | `r_i * reg / (reg + rho)` |
| `BoundedRows(cap)` | `T 1 <= cap * a` | `min(r_i, log cap)` |

`RelaxedRows` is unbalanced transport (https://arxiv.org/abs/1607.05816), `BoundedRows` a capacity constraint
(https://arxiv.org/abs/1412.5154). `rho -> 0` and `cap -> infinity` give `FreeRows`, `rho -> infinity` and `cap = 1`
give `FixedRows`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class RowMarginal(Protocol):
    """How a row's mass answers to its fit."""

    def log_mass(self, fit: Tensor, reg: float) -> Tensor:
        """Return `log(row mass / a)`, shape `(n,)`, for `fit` of shape `(n,)`."""
        ...


@dataclass(frozen=True)
class FixedRows:
    """Every row keeps its mass: balanced transport."""

    def log_mass(self, fit: Tensor, reg: float) -> Tensor:
        return fit.new_zeros(()).expand_as(fit)


@dataclass(frozen=True)
class FreeRows:
    """Rows take any mass: semi-relaxed transport, one iteration."""

    def log_mass(self, fit: Tensor, reg: float) -> Tensor:
        return fit


@dataclass(frozen=True)
class RelaxedRows:
    """Rows pay `rho * KL(T 1 given a)` for leaving their prior mass; `rho` in units of the cost."""

    rho: float = 0.3

    def __post_init__(self) -> None:
        if not self.rho > 0:
            raise ValueError(f"Expected rho > 0, got {self.rho}. Use `FreeRows()` for rows without a constraint.")

    def log_mass(self, fit: Tensor, reg: float) -> Tensor:
        return fit * (reg / (reg + self.rho))


@dataclass(frozen=True)
class BoundedRows:
    """No row takes more than `cap` times its prior mass."""

    cap: float = 1.5

    def __post_init__(self) -> None:
        if not self.cap >= 1:
            raise ValueError(f"Expected cap >= 1 (rows must be able to carry all the mass), got {self.cap}.")

    def log_mass(self, fit: Tensor, reg: float) -> Tensor:
        return fit.clamp(max=math.log(self.cap))
