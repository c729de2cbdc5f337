"""Weight models: one a file, one signature (`hf_otw.weighting.base.WeightModel`)."""

from __future__ import annotations

from hf_otw.weighting.base import WeightModel
from hf_otw.weighting.models.agreement import Agreement
from hf_otw.weighting.models.baselines import ClassWeighted, Column, Uniform, effective_number, inverse_frequency
from hf_otw.weighting.models.clean_posterior import CleanPosterior
from hf_otw.weighting.models.closed_form import ClosedForm
from hf_otw.weighting.models.keep_class_totals import KeepClassTotals
from hf_otw.weighting.models.net import WeightNet
from hf_otw.weighting.models.own_class import OwnClassMass
from hf_otw.weighting.models.row_mass import RowMass
from hf_otw.weighting.models.table import MirrorStep, SoftmaxSGDStep, Table

__all__ = [
    "Agreement",
    "ClassWeighted",
    "CleanPosterior",
    "ClosedForm",
    "Column",
    "KeepClassTotals",
    "MirrorStep",
    "OwnClassMass",
    "RowMass",
    "SoftmaxSGDStep",
    "Table",
    "Uniform",
    "WeightModel",
    "WeightNet",
    "effective_number",
    "inverse_frequency",
]
