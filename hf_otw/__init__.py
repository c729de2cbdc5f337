"""Fine-tuning on imbalanced and imperfect data, with example weights learned by optimal transport.

Importing this package imports nothing: torch, and for the Trainer transformers, come with the first use of a name, so
that `hf-otw --help` answers at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hf_otw.audit.api import audit as audit_labels
    from hf_otw.checkpoint import last_complete_checkpoint
    from hf_otw.config.args import OTWeightedTrainingArguments
    from hf_otw.learn import learn_weights
    from hf_otw.trainer import OTWeightedTrainer
    from hf_otw.weighting.statistics import WeightsResult

__version__ = "0.1.0"

_LAZY = {
    "OTWeightedTrainer": "hf_otw.trainer",
    "OTWeightedTrainingArguments": "hf_otw.config.args",
    "WeightsResult": "hf_otw.learn",
    "learn_weights": "hf_otw.learn",
    "last_complete_checkpoint": "hf_otw.checkpoint",
    "audit_labels": "hf_otw.audit.api",
}
#: Names that differ from those in their modules.
_RENAMED = {"audit_labels": "audit"}  # `hf_otw.audit` is the package

__all__ = [
    "OTWeightedTrainer",
    "OTWeightedTrainingArguments",
    "WeightsResult",
    "audit_labels",
    "last_complete_checkpoint",
    "learn_weights",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), _RENAMED.get(name, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
