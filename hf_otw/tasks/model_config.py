"""What a saved model must say of itself: `pipeline()` reads the kind of problem and the names of the classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from torch import nn

from hf_otw.tasks.base import Task

_PROBLEMS = {
    "single_label": "single_label_classification",
    "multi_label": "multi_label_classification",
    "regression": "regression",
}
_DEFAULT_NAME = re.compile(r"LABEL_\d+")


def describe(model: nn.Module, task: Task, class_names: Sequence[str] | None) -> None:
    """Write into the model's configuration what it leaves open, as the model itself does at its first loss.

    Args:
        model: unwrapped; a module without a configuration of the library's is left as it is.
        task: what it is trained for.
        class_names: from the data set, one per output, or None where it has none.
    """
    base = getattr(model, "get_base_model", lambda: model)()
    config: Any = getattr(base, "config", None)
    if not hasattr(config, "num_labels"):
        return
    if task.name in _PROBLEMS and getattr(config, "problem_type", None) is None:
        config.problem_type = _PROBLEMS[task.name]
    known = getattr(config, "id2label", None) or {}
    if class_names is None or len(class_names) != len(known) or len(set(class_names)) < len(class_names):
        return
    if all(_DEFAULT_NAME.fullmatch(str(name)) for name in known.values()):
        config.id2label = dict(enumerate(class_names))
        config.label2id = {name: k for k, name in enumerate(class_names)}
