"""Leave-one-out class scores by ridge regression on the labels, in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from hf_otw.features.stored import BLOCK_ROWS
from hf_otw.types import Measure, Shard

#: Wider features are first multiplied by a fixed random matrix: the regression takes `D^3` operations.
MAX_WIDTH = 1024
#: Penalties that are tried, per row, for features of variance 1.
PENALTIES = tuple(10 ** (k / 2) for k in range(-9, 4))
#: A row that the regression can only fit by heart has a leverage of 1, and no leave-one-out score.
MAX_LEVERAGE = 0.999
TINY = 1e-30


class ClassScores(NamedTuple):
    """How much each row looks like each class.

    Shape:
        - rows: `(o, K)`, float64, of the rows held here, each by the regression on all rows but itself.
        - columns: `(m, K)`, float64, of the columns of the target, which the regression has not seen.
    """

    rows: Tensor
    columns: Tensor


def class_scores(source: Measure, target: Measure, num_classes: int, row_weights: Tensor) -> ClassScores:
    """Regress one-hot labels on features, and predict every row by the regression without it.

    The prediction without a row follows from the one with it, `(s_i - h_i e_i) / (1 - h_i)`, `e_i` being the one-hot
    label and `h_i` the row's leverage: one decomposition of the `D x D` moments for all rows (Allen 1974, PRESS). Rows
    may be divided among processes, which then share these moments only. The penalty is the one with the smallest
    leave-one-out error, every class counting the same in total.

    Args:
        source: rows with their given labels, which may be wrong.
        target: columns.
        num_classes: `K`.
        row_weights: `(n,)`, positive, mean 1.
    """
    regression = _Regression(source, num_classes, row_weights)
    penalty = regression.best_penalty()
    rows = [scores for _, scores in regression.left_out([penalty])]
    empty = regression.moments.new_zeros(0, num_classes)
    return ClassScores(torch.cat([empty, *(found[0] for found in rows)]), regression.predict(target.features, penalty))


def alignment(source: Measure, target: Measure, num_classes: int, row_weights: Tensor) -> Tensor:
    """How well a regression with these weights predicts the columns: the cosine between all scores and all labels.

    Classes count the same, in the regression and in the cosine. A common factor of the scores, which wrong labels make
    smaller and which changes no decision, does not matter.

    Args:
        source: rows with their given labels.
        target: columns.
        num_classes: `K`, at least 2.
        row_weights: `(n,)`, positive.

    Returns:
        `Tensor`: `()`, in `[-1, 1]`.
    """
    totals = _totals(row_weights.double(), source.labels, num_classes)
    weights = row_weights / totals[source.labels]  # (n,)
    regression = _Regression(source, num_classes, weights / weights.mean())
    scores = regression.predict(target.features, regression.best_penalty())
    one_hot = F.one_hot(target.labels, num_classes).double()  # (m, K)
    share = 1 / one_hot.sum(dim=0).clamp_min(1)[target.labels]  # (m,)
    scores, one_hot = scores - scores.mean(dim=1, keepdim=True), one_hot - 1 / num_classes
    products = [(share[:, None] * left * right).sum() for left, right in ((scores, one_hot), (scores, scores))]
    return products[0] / ((share[:, None] * one_hot.square()).sum() * products[1]).clamp_min(TINY).sqrt()


class _Regression:
    """Weighted ridge regression with an intercept that is not penalised."""

    def __init__(self, source: Measure, num_classes: int, row_weights: Tensor) -> None:
        self.source, self.num_classes = source, num_classes
        n, device = len(source.labels), source.features.device
        shard = source.shard
        self.start, self.stop = (0, n) if shard is None else (shard.start, shard.stop)
        self.projection = _projection(source.features.shape[1], device)
        self.row_weights = row_weights.double()
        totals = _totals(self.row_weights, source.labels, num_classes)
        self.shares = self.row_weights / totals[source.labels]  # (n,), each class sums to 1
        self.total = self.row_weights.sum()
        width = min(source.features.shape[1], MAX_WIDTH)
        moments = torch.zeros(width + 1, width + num_classes, dtype=torch.float64, device=device)
        for _, x, labels, w in self._blocks():
            both = torch.cat([x, labels], dim=1)
            moments[:-1] += (w[:, None] * x).T @ both
            moments[-1] += w @ both
        self.moments = _sum(moments, shard)  # rows: features and 1; columns: features and classes
        self.x_mean, self.y_mean = self.moments[-1, :width] / self.total, self.moments[-1, width:] / self.total
        centred = self.moments[:-1] - self.total * torch.outer(self.x_mean, self.moments[-1] / self.total)
        values, self.vectors = torch.linalg.eigh(centred[:, :width])  # (D,), (D, D)
        self.values = values.clamp_min(0)
        self.against = self.vectors.T @ centred[:, width:]  # (D, K)

    def best_penalty(self) -> float:
        errors = torch.zeros(len(PENALTIES), dtype=torch.float64, device=self.values.device)
        for rows, scores in self.left_out(PENALTIES):
            one_hot = F.one_hot(self.source.labels[rows], self.num_classes)
            errors += (self.shares[rows] * (scores - one_hot).square().sum(dim=2)).sum(dim=1)
        return PENALTIES[int(_sum(errors, self.source.shard).argmin())]

    def left_out(self, penalties: tuple[float, ...] | list[float]) -> Iterator[tuple[slice, Tensor]]:
        """Blocks of rows, and their scores under each of `p` penalties, `(p, rows, K)`."""
        shrunk = self._shrunk(penalties)  # (p, D)
        for rows, x, one_hot, w in self._blocks():
            turned = (x - self.x_mean) @ self.vectors  # (rows, D)
            fitted = turned @ (shrunk[:, :, None] * self.against) + self.y_mean  # (p, rows, K)
            leverage = w * (turned.square() @ shrunk.T + 1 / self.total).T  # (p, rows)
            kept = 1 - leverage.clamp(max=MAX_LEVERAGE)
            yield rows, one_hot - (one_hot - fitted) / kept[:, :, None]

    def predict(self, features: Tensor, penalty: float) -> Tensor:
        turned = (self._reduced(features) - self.x_mean) @ self.vectors
        return turned @ (self._shrunk([penalty])[0, :, None] * self.against) + self.y_mean

    def _shrunk(self, penalties: tuple[float, ...] | list[float]) -> Tensor:
        ridge = self.total * self.values.new_tensor(penalties)  # (p,)
        return 1 / (self.values + ridge[:, None])

    def _reduced(self, features: Tensor) -> Tensor:
        x = features.double()
        return x if self.projection is None else x @ self.projection

    def _blocks(self) -> Iterator[tuple[slice, Tensor, Tensor, Tensor]]:
        """Rows, features `(rows, D)`, one-hot labels `(rows, K)` and weights `(rows,)`."""
        for start in range(self.start, self.stop, BLOCK_ROWS):
            rows = slice(start, min(start + BLOCK_ROWS, self.stop))
            x = self._reduced(self.source.features[start - self.start : rows.stop - self.start])
            yield rows, x, F.one_hot(self.source.labels[rows], self.num_classes).double(), self.row_weights[rows]


def _totals(row_weights: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Weight of each label, `(K,)`."""
    return torch.zeros(num_classes, dtype=row_weights.dtype, device=labels.device).index_add_(0, labels, row_weights)


def _projection(width: int, device: torch.device) -> Tensor | None:
    if width <= MAX_WIDTH:
        return None
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(width, MAX_WIDTH, generator=generator, dtype=torch.float64)
    return (drawn / MAX_WIDTH**0.5).to(device)


def _sum(part: Tensor, shard: Shard | None) -> Tensor:
    return part if shard is None else shard.sum(part)
