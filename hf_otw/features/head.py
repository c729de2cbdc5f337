"""Features: what the head receives, taken from the forward pass that training makes anyway.

A pre-hook on the head is the one definition of "penultimate embedding" that holds for every architecture: hidden
states are followed by a pooler, a dense layer, a norm or a mean in one model or another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

#: Their input is `(B, D, ...)`, not `(B, ..., D)`.
_CHANNELS_FIRST = (_ConvNd, _BatchNorm)
#: From a module's input to one feature per unit, `(U, D)`.
Pool = Callable[[Tensor], Tensor]


def find_heads(
    model: nn.Module, num_outputs: int | None, feature_modules: str | Sequence[str] | None = None
) -> list[nn.Module]:
    """Find the modules whose inputs are the feature: `feature_modules`, or the head.

    The head is the last of `head_candidates`, until a forward pass shows which (`HeadInput.settle`).

    Args:
        model: the unwrapped model.
        num_outputs: outputs of the head; None for a language model.
        feature_modules: dotted paths, as `model.named_modules()` prints them.

    Raises:
        ValueError: a path that does not exist, or a model without such a layer.
    """
    modules = dict(model.named_modules())
    paths = [feature_modules] if isinstance(feature_modules, str) else list(feature_modules or [])
    for path in paths:
        if path not in modules:
            heads = [name for name, module in modules.items() if isinstance(module, nn.Linear)][-5:]
            raise ValueError(
                f"Expected feature_module to name a module of {type(model).__name__}, got {path!r}. The "
                f"last linear layers are "
                f"{heads}."
            )
    return [modules[path] for path in paths] or head_candidates(model, num_outputs)[-1:]


def head_candidates(model: nn.Module, num_outputs: int | None) -> list[nn.Module]:
    """Every `nn.Linear` with as many outputs as there are classes; of a language model, its output embedding.

    Raises:
        ValueError: a model without such a layer.
    """
    if num_outputs is None:
        output_embeddings = getattr(model, "get_output_embeddings", None)
        head = None if output_embeddings is None else output_embeddings()
        heads = [] if head is None else [head]
    else:
        heads = [
            module
            for name, module in model.named_modules()
            # An adapter's low-rank factors are linear layers too, and a rank may happen to be the number of classes.
            if isinstance(module, nn.Linear) and module.out_features == num_outputs and "lora_" not in name
        ]
    if not heads:
        wanted = "an output embedding" if num_outputs is None else f"a linear head with {num_outputs} outputs"
        raise ValueError(
            f"Expected {type(model).__name__} to have {wanted}, found none. Name the module whose input describes an "
            "example: feature_module='path.to.module'."
        )
    return heads


class HeadInput:
    """Keeps the heads' inputs of the latest forward pass.

    Args:
        heads: the modules to listen to; nothing is stored on them but a forward pre-hook.
        one_of: they are candidates, of which `settle` keeps one.

    Attributes:
        detach (`bool`): cut the graph at the heads, so that only they are trained.
        widths (`tuple[int, ...]`): of the blocks that the latest features were made of, one a head.
    """

    def __init__(self, heads: Sequence[nn.Module], *, one_of: bool = False) -> None:
        self.detach = False
        self._heads, self._open = list(heads), one_of and len(heads) > 1
        self._kept = list(range(len(heads)))
        self.widths: tuple[int, ...] = ()
        self._latest: dict[int, Tensor] = {}
        self._handles = [
            head.register_forward_pre_hook(self._keeper(k), with_kwargs=True) for k, head in enumerate(heads)
        ]

    def _keeper(self, k: int) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], tuple[Any, Any] | None]:
        def keep(
            module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
            # The first input, however it is passed.
            name = "" if args else next(iter(kwargs), "")
            if not args and not name:
                return None
            z = (args[0] if args else kwargs[name]).detach()
            self._latest.pop(k, None)  # so that the last one called stands last
            self._latest[k] = z.flatten(2).mean(dim=2) if isinstance(module, _CHANNELS_FIRST) and z.ndim > 2 else z
            if not self.detach:
                return None
            return ((z, *args[1:]), kwargs) if args else (args, kwargs | {name: z})

        return keep

    @torch.no_grad()
    def settle(self, logits: Callable[[], Tensor]) -> None:
        """After the first forward pass, keep the candidate that made the logits, else the last one that was called.

        An auxiliary head may have as many outputs as the real one, before or behind it, called or not.
        """
        if not self._open or not self._latest:
            return
        self._open, called = False, list(self._latest)
        if len(called) > 1:
            returned = logits()
            called = [k for k in called if self._makes(k, returned)] or called
        self._kept = called[-1:]
        for k, handle in enumerate(self._handles):
            if k not in self._kept:
                handle.remove()

    def _makes(self, k: int, logits: Tensor) -> bool:
        """Does this head turn its input into the logits?"""
        head, z = self._heads[k], self._latest[k]
        if not isinstance(head, nn.Linear) or head.weight.ndim != 2:  # sharded: one flat vector
            return False
        made = functional.linear(z.to(head.weight), head.weight, head.bias)
        return made.shape == logits.shape and torch.allclose(made.float(), logits.float(), rtol=1e-2, atol=1e-3)

    def take(self, pool: Pool) -> Tensor:
        """Return the features of the latest forward pass, shape `(U, D)`, at least float32, and forget them.

        Args:
            pool: applied to each head's input; the results stand side by side.

        Raises:
            RuntimeError: a head was not called.
        """
        latest = [self._latest[k] for k in self._kept if k in self._latest]
        self._latest = {}
        if len(latest) < len(self._kept):
            raise RuntimeError(
                "Expected the forward pass to call the module that features are taken from, but it did not. Set "
                "`feature_module`."
            )
        blocks = [pool(z if z.dtype.itemsize >= 4 else z.float()) for z in latest]
        self.widths = tuple(block.shape[1] for block in blocks)
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=1)

    def remove(self) -> None:
        """Take the hooks off the model."""
        self._latest = {}
        for handle in self._handles:
            handle.remove()
