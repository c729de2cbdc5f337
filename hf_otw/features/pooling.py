"""From what a module receives to one vector an example."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def one_vector(z: Tensor, inputs: Mapping[str, Any], pad_token_id: int | None) -> Tensor:
    """One vector per example, shape `(B, D)`.

    Vectors stay as they are; of a decoder's tokens it is the last that is not padding, whose logits the head returns;
    patches, frames and pixels are averaged, without those that an `attention_mask` of their number leaves out. (Frames
    of audio have none: batch clips of one length, or take features from a module behind the model's own pooling.)

    Shape:
        - z: `(B, D)`, `(B, T, D)`, or a feature map `(B, D, H, W)`.

    Raises:
        ValueError: anything else.
    """
    if z.ndim == 2:
        return z
    if z.ndim == 4:
        return z.mean(dim=(2, 3))
    if z.ndim != 3:
        raise ValueError(
            f"Expected a head input of shape (B, D), (B, T, D) or (B, D, H, W), got {tuple(z.shape)}. Set "
            "`feature_module` to a module whose input is one vector per example."
        )
    ids = inputs.get("input_ids")
    if ids is None or ids.shape != z.shape[:2]:
        return _masked_mean(z, inputs.get("attention_mask"))
    return z[torch.arange(len(z), device=z.device), last_token(ids, pad_token_id)]


def _masked_mean(z: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None or mask.shape != z.shape[:2]:
        return z.mean(dim=1)
    share = mask.to(z.dtype)[..., None]  # (B, T, 1)
    return (z * share).sum(dim=1) / share.sum(dim=1).clamp_min(1)


def last_token(ids: Tensor, pad_token_id: int | None) -> Tensor:
    """Position of the rightmost token that is not padding, shape `(B,)`."""
    if pad_token_id is None:
        return torch.full((len(ids),), ids.shape[1] - 1, device=ids.device)
    position = torch.arange(ids.shape[1], device=ids.device)
    return (position * (ids != pad_token_id)).argmax(dim=1)
