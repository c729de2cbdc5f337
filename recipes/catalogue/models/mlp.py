"""A small network for rows of numbers."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from hf_otw.recipe.base import Facts


class Regressor(nn.Module):
    """Two hidden layers and one output.

    Shape:
        - features: `(B, D)`. Output: `logits` `(B, 1)`.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.head = nn.Linear(hidden, 1)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Predict, with the mean squared error where the targets are given."""
        logits = self.head(self.body(features))
        if labels is None:
            return {"logits": logits}
        return {"loss": F.mse_loss(logits.squeeze(1), labels.to(logits)), "logits": logits}


def mlp(facts: Facts, processor: Any, *, hidden: int = 64) -> nn.Module:
    """Make a `Regressor`."""
    return Regressor(facts.input_shape[0], hidden)
