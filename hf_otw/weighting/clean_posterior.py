"""The probability that a row's label is right, with the noise rate estimated: leaves clean data alone by itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hf_otw.target import Fold
from hf_otw.transport._check import check_reg
from hf_otw.types import Cost, Measure, Weights
from hf_otw.weighting.agreement import own_class_share
from hf_otw.weighting.base import WeightModel, exact, mean_one

FIRST_GUESS = 0.1
#: Strengths that `calibrate` tries, 0.05 to 6.4. A small meta set that is told apart without a mistake would ask for
#: 0, which no such set can vouch for.
STRENGTHS = tuple(0.05 * 2 ** (k / 2) for k in range(15))
UNCALIBRATED = 0.1
MAX_ITER = 500
TINY = torch.finfo(torch.float32).tiny
TOLERANCE = 1e-6


class CleanPosterior(WeightModel):
    """`w_i` proportional to the posterior probability that label `y_i` is right.

    Each row ships its mass by a softmax over the columns, `P_i = softmax_j(-C_ij / reg)`, and may leave it in an
    outlier column instead, which stands for a label drawn at random (unbalanced transport with one more column):

        w_i = (1 - e) P_i[y_i] / ((1 - e) P_i[y_i] + e / K)

    `P_i[y_i]` is the share that arrives at the row's own class, `e` the mass of the outlier column: the noise rate. It
    is not given but estimated by expectation maximisation, `e = mean(1 - w_i)`, which increases the likelihood of the
    labels in every iteration. Where features tell the classes apart, `e` goes to about 0 on clean data and every
    weight to 1, however rare the class; on noisy data rows that sit in another class lose their weight. Where they do
    not, `e` is large and says nothing about noise. The cost must not see the labels.

    How far `P_i` can be trusted is measured where labels are known to be right: of some strengths `reg`, the one is
    taken that gives the labels of held-out meta examples the highest likelihood, the other meta examples being the
    columns (temperature scaling, https://arxiv.org/abs/1706.04599). While features are poor, it is large, `P_i` is
    flat, and all weights stay near 1; a fixed strength would take what the features cannot yet tell for noise.

    Args:
        reg: entropic strength, in units of the cost; chosen on the meta set, again at every solve, by default.

    Attributes:
        noise_rate (`Tensor`): `()`, `e` as last estimated.
        strength (`Tensor`): `()`, `reg` as last used.
    """

    divisible = True

    def __init__(self, *, reg: float | None = None) -> None:
        super().__init__()
        if reg is not None:
            check_reg(reg)
        self.calibrates = reg is None
        self.register_buffer("noise_rate", torch.tensor(FIRST_GUESS, dtype=torch.float64))
        self.register_buffer("strength", torch.tensor(UNCALIBRATED if reg is None else reg, dtype=torch.float64))

    @torch.no_grad()
    def calibrate(self, folds: Sequence[Fold], cost: Cost) -> None:
        """Choose the strength, unless it was given or no class has two meta examples."""
        if not (self.calibrates and folds):
            return
        losses = []
        for reg in STRENGTHS:
            shares = [own_class_share(fold.held_out, fold.target, cost, reg).double() for fold in folds]
            losses.append(-torch.cat(shares).clamp_min(TINY).log().mean().item())
        self.strength.fill_(STRENGTHS[losses.index(min(losses))])

    @torch.no_grad()
    def forward(self, index: Tensor, source: Measure, target: Measure, cost: Cost) -> Weights:
        share = own_class_share(source, target, cost, self.strength.item()).double()  # (n,), in [0, 1]
        share = share.clamp_min(TINY)  # no share at all, of any row, is no reason to prefer a row
        prior = source.mass.double()
        prior = prior / prior.sum()
        num_classes = target.labels.unique().numel()
        e = torch.full_like(self.noise_rate, FIRST_GUESS)
        for _ in range(MAX_ITER):
            clean = _posterior(share, e, num_classes)  # E step
            # M step. Short of 1, where every weight were 0: towards it the weights go to `share`, up to their mean.
            updated = (prior * (1 - clean)).sum().clamp(max=1 - TOLERANCE)
            settled = (updated - e).abs() < TOLERANCE
            e = updated
            if settled:
                break
        self.noise_rate = e
        weights = mean_one(_posterior(share, e, num_classes)).to(source.mass.dtype)
        return exact(weights)._replace(value=e.to(weights))


def _posterior(share: Tensor, e: Tensor, num_classes: int) -> Tensor:
    clean, noise = (1 - e) * share, e / num_classes
    return clean / (clean + noise)
