"""Weights on a loss that is not ours: the gradient of each example's logits is multiplied by its weight.

A loss that is a mean over examples depends on the parameters through each example's logits. To multiply the gradient
of these logits by the weight is then the same as to multiply the example's loss by it, whatever the loss: focal,
class weights, distillation, one that the model computes in its forward pass. Terms that do not pass through the logits
(a router's loss, a penalty on parameters) keep their gradient.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import Node

from hf_otw._utils import required
from hf_otw.tasks.outputs import logits_of

#: A change of the number type between the model's logits and those that it returns: mixed precision adds one.
_CASTS = ("ToCopyBackward0",)

OTHER_LOSS = (
    "Training on %s: each example's weight multiplies the gradient of its logits. The logged loss is without weights, "
    "terms that do not pass through the logits have none, and `example_loss` is not used. To train on a loss of the "
    "library's instead, set `example_loss`."
)
NO_PATH = (
    "Expected the loss to depend on the logits that the model returns, through which each example's weight acts, but "
    "its gradient does not pass through them. Return the tensor that the loss is computed from as `logits`, pass a "
    "per-example loss (`example_loss=(logits, labels, class_prior) -> (B,)`), or set weighting='none'."
)


class LogitWeights:
    """Listens to forward passes of one micro-step.

    Args:
        factors: `(model inputs, logits) ->` what the gradient of the logits is multiplied by, of a shape that
            broadcasts to theirs.
        logits_ndim: dimensions of the logits.

    Attributes:
        paused: the forward passes that follow belong to a loss that is weighted otherwise.
        applied: a gradient has been multiplied.
    """

    def __init__(self, factors: Callable[[Mapping[str, Any], Tensor], Tensor], logits_ndim: int) -> None:
        self.factors, self.logits_ndim = factors, logits_ndim
        self.paused = self.applied = False
        self._latest: Tensor | None = None

    @contextmanager
    def on(self, model: nn.Module) -> Iterator[LogitWeights]:
        """Listen to `model`, without its wrappers: some return copies of the logits."""
        handle = model.register_forward_hook(self._after_forward, with_kwargs=True)
        try:
            yield self
        finally:
            handle.remove()

    def check_applied(self) -> None:
        """Raise a ValueError after a backward pass in which no gradient was multiplied."""
        if not self.paused and not self.applied:
            raise ValueError(NO_PATH)

    def _after_forward(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any) -> None:
        if self.paused:
            return
        logits = logits_of(outputs, self.logits_ndim)
        if logits.grad_fn is None:  # a pass without gradients, such as a target for consistency
            return
        if self._latest is None:  # several passes of one batch have one weight per example
            self._latest = self.factors(kwargs, logits)
        factor = self._latest
        node, place = _source(logits)

        def scale(gradients: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            self.applied = True
            return tuple(
                gradient * factor.to(gradient) if k == place and gradient is not None else gradient
                for k, gradient in enumerate(gradients)
            )

        node.register_prehook(scale)


def _source(logits: Tensor) -> tuple[Node, int]:
    """The node that computed the logits, and which of its outputs they are."""
    node, place = required(logits.grad_fn, "the graph of the logits"), logits.output_nr
    while node.name() in _CASTS:
        before, before_place = node.next_functions[0]
        if before is None:
            break
        node, place = before, before_place
    return node, place


def requires_labels(model: nn.Module, label_name: str) -> bool:
    """Does the model's forward pass take the labels as an argument without a default?"""
    parameter = inspect.signature(model.forward).parameters.get(label_name)
    positional = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return parameter is not None and parameter.kind in positional and parameter.default is inspect.Parameter.empty


def calls_super(override: Any, ours: Any) -> bool:
    """Does a `compute_loss` reach ours, as far as its code shows? It is ours, or calls a `compute_loss`."""
    if override is ours:
        return True
    code = getattr(override, "__code__", None)
    return code is None or "super" in code.co_names or "compute_loss" in code.co_names
