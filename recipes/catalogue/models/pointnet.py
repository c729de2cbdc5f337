"""PointNet (https://huggingface.co/papers/1612.00593) without its alignment networks."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from hf_otw.recipe.base import Facts
from recipes.catalogue.models.outputs import classified


class PointNet(nn.Module):
    """One network for every point, the maximum over points, a network for the cloud.

    Shape:
        - points: `(B, P, 3)`. Output: `logits` `(B, K)`.
    """

    def __init__(self, num_labels: int, width: int, dropout: float) -> None:
        super().__init__()
        self.point_network = nn.Sequential(
            *_shared(3, width), *_shared(width, width), *_shared(width, 2 * width), *_shared(2 * width, 8 * width)
        )
        self.cloud_network = nn.Sequential(
            nn.Linear(8 * width, 4 * width), nn.BatchNorm1d(4 * width), nn.ReLU(), nn.Dropout(dropout)
        )
        self.head = nn.Linear(4 * width, num_labels)

    def forward(self, points: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Classify clouds."""
        of_points = self.point_network(points.transpose(1, 2))  # (B, 8 W, P)
        return classified(self.head(self.cloud_network(of_points.amax(dim=2))), labels)


def pointnet(facts: Facts, processor: Any, *, width: int = 32, dropout: float = 0.3) -> nn.Module:
    """Make a `PointNet`."""
    return PointNet(facts.num_labels, width, dropout)


def _shared(inputs: int, outputs: int) -> list[nn.Module]:
    """One layer that every point goes through alone."""
    return [nn.Conv1d(inputs, outputs, 1, bias=False), nn.BatchNorm1d(outputs), nn.ReLU()]
