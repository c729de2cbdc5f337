"""Fine-tuning on imbalanced and imperfect data, with example weights learned by optimal transport.

Importing this package imports nothing: torch, and for the Trainer transformers, come with the first use of a name, so
that `hf-otw --help` answers at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hf_otw._version import __version__

if TYPE_CHECKING:
    from hf_otw.audit.api import audit as audit_labels
    from hf_otw.checkpoint import last_complete_checkpoint
    from hf_otw.config.args import OTWeightedTrainingArguments
    from hf_otw.learn import learn_weights
    from hf_otw.metrics import make_compute_metrics
    from hf_otw.report.callback import FigureCallback
    from hf_otw.trainer import OTWeightedTrainer
    from hf_otw.weighting.base import WeightModel
    from hf_otw.weighting.statistics import WeightsResult

_LAZY = {
    "FigureCallback": "hf_otw.report.callback",
    "OTWeightedTrainer": "hf_otw.trainer",
    "OTWeightedTrainingArguments": "hf_otw.config.args",
    "WeightModel": "hf_otw.weighting.base",
    "WeightsResult": "hf_otw.weighting.statistics",
    "last_complete_checkpoint": "hf_otw.checkpoint",
    "audit_labels": "hf_otw.audit.api",
    "learn_weights": "hf_otw.learn",
    "make_compute_metrics": "hf_otw.metrics",
}
#: Names that differ from those in their modules.
_RENAMED = {"audit_labels": "audit"}  # `hf_otw.audit` is the package

__all__ = [
    "FigureCallback",
    "OTWeightedTrainer",
    "OTWeightedTrainingArguments",
    "WeightModel",
    "WeightsResult",
    "__version__",
    "audit_labels",
    "last_complete_checkpoint",
    "learn_weights",
    "make_compute_metrics",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), _RENAMED.get(name, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
