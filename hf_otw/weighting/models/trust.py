"""From the probability that a label is right to the trust in it, which is high until the label is surely wrong."""

from __future__ import annotations

import torch
from torch import Tensor

#: Log-odds that speak for every label beforehand. Labels that people give are wrong where examples are hard, not at
#: random, so that a model of the noise doubts right labels of hard examples too; losing one of these costs more than
#: keeping one that is wrong. Chosen on held-out training rows, see docs/quality-development.md.
BENEFIT = 2.0
#: Trust in a label that is surely wrong. A class that all rows left would have no prior.
LEAST_TRUST = 0.02
#: Share of a class's rows that its total trust is at least: doubts may be wrong, and a class that is gone is not
#: learned at all.
LEAST_SHARE = 1 / 3


def trust_of(posterior: Tensor, benefit: float = BENEFIT) -> Tensor:
    """The posterior with its odds multiplied by `exp(benefit)`, in `[LEAST_TRUST, 1]`, `(n,) -> (n,)`.

    Args:
        posterior: in [0, 1], probability that the label is right.
        benefit: log-odds; 0 leaves the posterior as it is.
    """
    favoured = posterior * torch.tensor(benefit, dtype=posterior.dtype).exp()
    return LEAST_TRUST + (1 - LEAST_TRUST) * favoured / (favoured + 1 - posterior)


def with_least_share(trust: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Draw the trust of a class that lost most of its rows towards 1, so that `LEAST_SHARE` of it stays.

    Shape:
        - trust: `(n,)`, in [0, 1], labels: `(n,)`.

    Returns:
        trust `(n,)`, and which classes were raised, `(num_classes,)` bool.
    """
    zeros = trust.new_zeros(num_classes)
    totals = zeros.index_add(0, labels, trust)  # (K,)
    counts = zeros.index_add(0, labels, torch.ones_like(trust))
    lack = (LEAST_SHARE * counts - totals).clamp_min(0)
    room = (counts - totals).clamp_min(torch.finfo(trust.dtype).tiny)
    share = (lack / room).clamp_max(1)[labels]  # (n,)
    return trust + share * (1 - trust), lack > 0
