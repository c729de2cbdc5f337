"""The ResNet-32 for CIFAR of He et al. 2015 (https://huggingface.co/papers/1512.03385, section 4.2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hf_otw.recipe.base import Facts
from recipes.catalogue.models.outputs import classified


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut without parameters: every other pixel, and zeros for new channels.

    Shape:
        - x: `(B, C, H, W)`. Output: `(B, C', H / stride, W / stride)`.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.stride, self.new_channels = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        """Add what the block found to its input."""
        found = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        kept = x[:, :, :: self.stride, :: self.stride]
        before = self.new_channels // 2
        return F.relu(found + F.pad(kept, (0, 0, 0, 0, before, self.new_channels - before)))


class ResNet32(nn.Module):
    """Three groups of blocks, global average, a linear head: 6 n + 2 layers.

    Shape:
        - pixel_values: `(B, C, H, W)`. Output: `logits` `(B, K)`.
    """

    def __init__(self, num_labels: int, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
        plan = [(width * 2**group, 2 if group and not block else 1) for group in range(3) for block in range(blocks)]
        widths = [width, *(outputs for outputs, _ in plan)]
        self.groups = nn.Sequential(
            *(BasicBlock(inputs, outputs, stride) for inputs, (outputs, stride) in zip(widths, plan, strict=False))
        )
        self.head = nn.Linear(4 * width, num_labels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Classify images; in training each is shifted by up to 4 pixels and mirrored half of the time, as in the
        paper.
        """
        if self.training:
            pixel_values = augmented(pixel_values)
        features = self.groups(F.relu(self.stem(pixel_values))).mean(dim=(2, 3))  # (B, 4 W)
        return classified(self.head(features), labels)


def augmented(images: Tensor, margin: int = 4) -> Tensor:
    """Random crops of the padded images `(B, C, H, W)`, mirrored half of the time; one draw an image."""
    batch, _, height, width = images.shape
    padded = F.pad(images, (margin,) * 4)
    across = torch.arange(width, device=images.device).expand(batch, width)
    mirror = torch.rand(batch, 1, device=images.device) < 0.5
    across = torch.where(mirror, width - 1 - across, across)
    down = torch.arange(height, device=images.device).expand(batch, height)
    shift = torch.randint(0, 2 * margin + 1, (2, batch, 1), device=images.device)
    rows = torch.arange(batch, device=images.device)[:, None, None]
    # Advanced indices around a slice put the channels last.
    return padded[rows, :, (down + shift[0])[:, :, None], (across + shift[1])[:, None, :]].movedim(-1, 1)


def resnet32(facts: Facts, processor: Any, *, width: int = 16, blocks: int = 5) -> nn.Module:
    """Make a `ResNet32`."""
    return ResNet32(facts.num_labels, facts.input_shape[0], width, blocks)
