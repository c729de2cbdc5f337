"""Model outputs come as a dictionary, a tuple or a bare tensor: what we need of each."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def logits_of(outputs: Any) -> Tensor:
    """Return the logits, shape `(B, K)`, of a forward pass without labels.

    Raises:
        ValueError: outputs without logits of that shape.
    """
    if isinstance(outputs, dict):
        logits = outputs.get("logits")
    else:
        logits = outputs if isinstance(outputs, Tensor) else outputs[0]
    if logits is None or logits.ndim != 2:
        found = sorted(outputs) if isinstance(outputs, dict) else type(outputs).__name__
        shape = None if logits is None else tuple(logits.shape)
        raise ValueError(
            f"Expected the model to return logits of shape (B, K), got {found} with logits of shape {shape}. Use a "
            f"classification model "
            "(`AutoModelForSequenceClassification`), or weighting='none'."
        )
    return logits


def with_loss(outputs: Any, loss: Tensor) -> Any:
    """Put the loss where the Trainer expects it: nowhere in a dictionary, first in a tuple."""
    if isinstance(outputs, dict):
        return outputs
    return (loss, outputs) if isinstance(outputs, Tensor) else (loss, *outputs)
