"""Every example weighs 1: the correct plain baseline."""

from __future__ import annotations

import torch
from torch import Tensor

from hf_otw.types import Cost, Measure, Weights
from hf_otw.weighting.base import WeightModel, exact


class Uniform(WeightModel):
    """`w_i = 1`."""

    needs_transport = False

    def forward(self, index: Tensor, source: Measure, target: Measure | None, cost: Cost | None) -> Weights:
        return exact(torch.ones_like(source.mass))
