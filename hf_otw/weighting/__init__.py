"""Weight models: rows in, weights out (`hf_otw.weighting.base.WeightModel`)."""

from __future__ import annotations

from hf_otw.weighting.base import WeightModel
from hf_otw.weighting.models.agreement import Agreement
from hf_otw.weighting.models.baselines import ClassWeighted, Column, EffectiveNumber, InverseFrequency, Uniform
from hf_otw.weighting.models.clean_posterior import CleanPosterior
from hf_otw.weighting.models.closed_form import ClosedForm
from hf_otw.weighting.models.net import WeightNet
from hf_otw.weighting.models.table import MirrorStep, SoftmaxSGDStep, Table

__all__ = [
    "Agreement",
    "ClassWeighted",
    "CleanPosterior",
    "ClosedForm",
    "Column",
    "EffectiveNumber",
    "InverseFrequency",
    "MirrorStep",
    "SoftmaxSGDStep",
    "Table",
    "Uniform",
    "WeightModel",
    "WeightNet",
]
