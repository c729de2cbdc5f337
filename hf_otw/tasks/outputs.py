"""Model outputs come as a dictionary, a tuple or a bare tensor: what we need of each."""

from __future__ import annotations

from typing import Any

from torch import Tensor

SHAPES = {2: "(B, K)", 3: "(B, T, K)"}


def logits_of(outputs: Any, ndim: int = 2) -> Tensor:
    """Return the logits of a forward pass: shape `(B, K)`, or `(B, T, K)` for `ndim=3`.

    Raises:
        ValueError: outputs without logits of that shape.
    """
    if isinstance(outputs, dict):
        logits = outputs.get("logits")
    else:
        logits = outputs if isinstance(outputs, Tensor) else outputs[0]
    if logits is None or logits.ndim != ndim:
        found = sorted(outputs) if isinstance(outputs, dict) else type(outputs).__name__
        shape = None if logits is None else tuple(logits.shape)
        expected = SHAPES.get(ndim, f"with {ndim} dimensions")  # a task of the user's own may have any
        raise ValueError(
            f"Expected the model to return logits of shape {expected}, got {found} with logits of shape {shape}. "
            "Use a model for the task (`AutoModelForSequenceClassification`, ...), name the task (`task`), or set "
            "weighting='none'."
        )
    return logits


def with_loss(outputs: Any, loss: Tensor) -> Any:
    """Put the loss where the Trainer expects it: nowhere in a dictionary, first in a tuple."""
    if isinstance(outputs, dict):
        return outputs
    return (loss, outputs) if isinstance(outputs, Tensor) else (loss, *outputs)
