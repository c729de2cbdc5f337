"""Model outputs come as a dictionary, a tuple or a bare tensor: what we need of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

SHAPES = {2: "(B, K)", 3: "(B, T, K)"}


def logits_of(outputs: Any, ndim: int = 2) -> Tensor:
    """Return the logits of a forward pass: shape `(B, K)`, or `(B, T, K)` for `ndim=3`.

    In a tuple they are the first tensor of so many dimensions: a loss, or None in its place, stands before them.

    Raises:
        ValueError: outputs without logits of that shape.
    """
    if isinstance(outputs, Mapping):
        logits = outputs.get("logits")
    elif isinstance(outputs, Tensor):
        logits = outputs
    else:
        tensors = [value for value in outputs if isinstance(value, Tensor) and value.ndim]
        logits = next((value for value in tensors if value.ndim == ndim), next(iter(tensors), None))
    if logits is None or logits.ndim != ndim:
        found = sorted(outputs) if isinstance(outputs, Mapping) else type(outputs).__name__
        shape = None if logits is None else tuple(logits.shape)
        expected = SHAPES.get(ndim, f"with {ndim} dimensions")  # a task of the user's own may have any
        raise ValueError(
            f"Expected the model to return logits of shape {expected}, got {found} with logits of shape {shape}. "
            "Use a model for the task (`AutoModelForSequenceClassification`, ...), name the task (`task`), or set "
            "weighting='none'."
        )
    return logits


def loss_of(outputs: Any) -> Tensor | None:
    """The loss that the model computed itself, shape `()`, or None."""
    if isinstance(outputs, Mapping):
        loss = outputs.get("loss")
    else:
        loss = None if isinstance(outputs, Tensor) or not outputs else outputs[0]
    return loss if isinstance(loss, Tensor) and loss.numel() == 1 else None


def with_loss(outputs: Any, loss: Tensor) -> Any:
    """Put the loss where the Trainer expects it: nowhere in a dictionary, first in a tuple."""
    if isinstance(outputs, Mapping):
        return outputs
    if isinstance(outputs, Tensor):
        return (loss, outputs)
    has_place = len(outputs) > 0 and (outputs[0] is None or loss_of(outputs) is not None)
    return (loss, *(outputs[1:] if has_place else outputs))
