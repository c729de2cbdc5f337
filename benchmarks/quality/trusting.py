"""The default as development chose it, until `clean_posterior` itself does the same."""

from __future__ import annotations

import torch
from torch import Tensor

from hf_otw.types import Cost, Measure, Weights
from hf_otw.weighting import CleanPosterior
from hf_otw.weighting.base import exact, mean_one
from hf_otw.weighting.models.trust import trust_of, with_least_share
from hf_otw.weighting.statistics import class_totals


class Trusting(CleanPosterior):
    """Weights by the posterior with log-odds in favour of every label, always, and a least share of each class."""

    @torch.no_grad()
    def forward(self, index: Tensor, source: Measure, target: Measure, cost: Cost | None = None) -> Weights:
        """Shape as in `WeightModel.forward`; `cost` is not used."""
        num_classes = int(target.labels.max()) + 1
        trust, _ = with_least_share(trust_of(1 - self._doubt(source, target, num_classes)), source.labels, num_classes)
        totals = class_totals(trust, source.labels, num_classes)  # (K,)
        scale = self.class_mass(totals) / totals.clamp_min(torch.finfo(totals.dtype).tiny)
        return exact(mean_one(trust * scale[source.labels]).to(source.mass))
