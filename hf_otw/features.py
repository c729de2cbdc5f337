"""Features: what the classification head receives, taken from the forward pass that training makes anyway.

A pre-hook on the head is the one definition of "penultimate embedding" that holds for every architecture: hidden
states are followed by a pooler, a dense layer, a norm or a mean in one model or another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def find_head(model: nn.Module, num_classes: int, feature_module: str | None = None) -> nn.Module:
    """Find the module whose input is the feature: `feature_module`, or the last `nn.Linear` with `K` outputs.

    Args:
        model: the unwrapped model.
        num_classes: `K`.
        feature_module: dotted path of the module, as `model.named_modules()` prints it.

    Raises:
        ValueError: a path that does not exist, or a model without such a layer.
    """
    modules = dict(model.named_modules())
    if feature_module is not None:
        if feature_module not in modules:
            heads = [name for name, module in modules.items() if isinstance(module, nn.Linear)][-5:]
            raise ValueError(
                f"Expected feature_module to name a module of {type(model).__name__}, got {feature_module!r}. The "
                f"last linear layers are "
                f"{heads}."
            )
        return modules[feature_module]
    heads = [
        module for module in modules.values() if isinstance(module, nn.Linear) and module.out_features == num_classes
    ]
    if not heads:
        raise ValueError(
            f"Expected {type(model).__name__} to have a linear classification head with {num_classes} outputs, "
            f"found none. Name the module "
            "whose input describes an example: feature_module='path.to.module'."
        )
    return heads[-1]


class HeadInput:
    """Keeps the head's input of the latest forward pass.

    Args:
        head: the module to listen to; nothing is stored on it but a forward pre-hook.

    Attributes:
        detach (`bool`): cut the graph at the head, so that only the head is trained.
    """

    def __init__(self, head: nn.Module) -> None:
        self.head = head
        self.detach = False
        self._latest: Tensor | None = None
        self._handle = head.register_forward_pre_hook(self._keep)

    def _keep(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        self._latest = args[0].detach()
        return (args[0].detach(), *args[1:]) if self.detach else None

    def take(self, inputs: Mapping[str, Any], pad_token_id: int | None) -> Tensor:
        """Return the features of the latest forward pass, shape `(B, D)`, at least float32, and forget them.

        Args:
            inputs: the batch, for the token mask of decoder heads.
            pad_token_id: the model's padding token, or None.

        Raises:
            RuntimeError: the head was not called.
            ValueError: a head input that is neither `(B, D)` nor `(B, T, D)` with token ids.
        """
        z, self._latest = self._latest, None
        if z is None:
            raise RuntimeError(
                "Expected the forward pass to call the classification head, but it did not. Set `feature_module`."
            )
        if z.ndim == 3:
            z = z[torch.arange(len(z), device=z.device), _last_token(z, inputs, pad_token_id)]  # (B, T, D) -> (B, D)
        if z.ndim != 2:
            raise ValueError(
                f"Expected a head input of shape (B, D) or (B, T, D), got {tuple(z.shape)}. Set `feature_module` to "
                f"a module whose input is "
                "one vector per example."
            )
        return z if z.dtype.itemsize >= 4 else z.float()

    def remove(self) -> None:
        """Take the hook off the model."""
        self._handle.remove()


def _last_token(z: Tensor, inputs: Mapping[str, Any], pad_token_id: int | None) -> Tensor:
    """Position of the token whose logits a decoder head returns, shape `(B,)`: the rightmost that is not padding."""
    ids = inputs.get("input_ids")
    if ids is None:
        raise ValueError(
            f"Expected `input_ids` to find the last token of a head input of shape {tuple(z.shape)}, got "
            f"{sorted(inputs)}. Set "
            "`feature_module` to a module whose input is one vector per example."
        )
    if pad_token_id is None:
        return torch.full((len(ids),), ids.shape[1] - 1, device=z.device)
    position = torch.arange(ids.shape[1], device=z.device)
    return (position * (ids != pad_token_id)).argmax(dim=1)
