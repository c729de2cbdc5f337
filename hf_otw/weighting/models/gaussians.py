"""A Gaussian for each class, of a covariance of its own where there are few classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

#: Classes up to which each has a covariance of its own: `K^3` numbers, and as many operations a row. With more, they
#: share one.
MOST_COVARIANCES = 64
#: Rows that the common covariance is worth in that of a class.
COMMON_ROWS = 300.0
#: Share of the mean variance that is added to every direction.
SHRINKAGE = 0.1
TINY = 1e-9


class Gaussians(NamedTuple):
    """Densities of class scores, one a class.

    Shape:
        - means: `(K, K)`; whiten: `(K, K, K)`, or `(1, K, K)` if all have the same covariance: lower triangular, from
          a difference of scores to one of covariance 1.
    """

    means: Tensor
    whiten: Tensor

    @classmethod
    def of(cls, means: Tensor, covariances: Tensor) -> Gaussians:
        """From covariances `(C, K, K)`, C being K or 1, each widened by `SHRINKAGE` of the mean variance of all."""
        K = len(means)
        identity = torch.eye(K, dtype=means.dtype, device=means.device)
        widened = covariances + (SHRINKAGE * _spread(covariances) + TINY) * identity
        lower = torch.linalg.cholesky(widened)
        return cls(means, torch.linalg.solve_triangular(lower, identity.expand_as(lower), upper=False))

    def log_density(self, scores: Tensor) -> Tensor:
        """Up to a constant, of points `(o, K)`: shape `(o, K)`."""
        if len(self.whiten) == 1:
            turn = self.whiten[0].T
            return torch.cdist(scores @ turn, self.means @ turn).square() / -2
        each = zip(self.means, self.whiten, strict=True)
        squares = torch.stack([((scores - mean) @ whiten.T).square().sum(dim=1) for mean, whiten in each], dim=1)
        return squares / -2 + self.whiten.diagonal(dim1=1, dim2=2).log().sum(dim=1)


class Weighted(NamedTuple):
    """Points that belong to classes in part.

    Shape:
        - points: `(o, K)`; shares: `(o, K)`, of each point in each class.
    """

    points: Tensor
    shares: Tensor


def covariances(
    rows: Weighted,
    known: Weighted,
    means: Tensor,
    totals: Tensor,
    add: Callable[[Tensor], Tensor],
    *,
    shared: bool = False,
) -> Tensor:
    """Of rows and known points together, about the means: shape `(K, K, K)`, or `(1, K, K)` if one is for all.

    Each class's is drawn towards the common one, as if that were `COMMON_ROWS` more points of the class (Friedman
    1989, eq. 16, with a number of rows in the place of a share).

    Args:
        rows: may be divided among processes.
        known: the same in all processes.
        means: `(K, K)`.
        totals: `(K,)`, the sum of all shares.
        add: from what was summed over this process's rows to the sum over all.
        shared: one for all classes; with more than `MOST_COVARIANCES` classes in any case.
    """
    if shared or len(means) > MOST_COVARIANCES:
        return (add(_common_scatter(rows, means)) + _common_scatter(known, means))[None] / totals.sum()
    scatters = add(_scatters(rows, means)) + _scatters(known, means)  # (K, K, K)
    common = scatters.sum(dim=0) / totals.sum()
    return (scatters + COMMON_ROWS * common) / (totals + COMMON_ROWS)[:, None, None]


def _scatters(part: Weighted, means: Tensor) -> Tensor:
    """`sum_i share_ik (x_i - mu_k)(x_i - mu_k)^T`, `(K, K, K)`."""
    found = means.new_empty(len(means), *means.shape)
    for k, mean in enumerate(means):
        apart = part.points - mean  # (o, K)
        torch.mm((apart * part.shares[:, k : k + 1]).T, apart, out=found[k])
    return found


def _common_scatter(part: Weighted, means: Tensor) -> Tensor:
    """The sum of `_scatters` over the classes, `(K, K)`, without them; about a point near the means."""
    centre = means.mean(dim=0)
    points, means = part.points - centre, means - centre
    cross = means.T @ (part.shares.T @ points)
    second = (points * part.shares.sum(dim=1, keepdim=True)).T @ points
    return second - cross - cross.T + means.T @ (part.shares.sum(dim=0)[:, None] * means)


def _spread(covariances: Tensor) -> Tensor:
    """Mean variance of a direction, `()`."""
    return covariances.diagonal(dim1=1, dim2=2).mean()
