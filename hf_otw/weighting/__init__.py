"""Weight models: one a file, one signature (`hf_otw.weighting.base.WeightModel`)."""

from __future__ import annotations

from hf_otw.weighting.agreement import Agreement
from hf_otw.weighting.base import WeightModel
from hf_otw.weighting.class_balanced import ClassWeighted, effective_number, inverse_frequency
from hf_otw.weighting.clean_posterior import CleanPosterior
from hf_otw.weighting.closed_form import ClosedForm
from hf_otw.weighting.column import Column
from hf_otw.weighting.keep_class_totals import KeepClassTotals
from hf_otw.weighting.net import WeightNet
from hf_otw.weighting.own_class import OwnClassMass
from hf_otw.weighting.row_mass import RowMass
from hf_otw.weighting.table import Table
from hf_otw.weighting.uniform import Uniform
from hf_otw.weighting.updates import MirrorStep, SoftmaxSGDStep

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
