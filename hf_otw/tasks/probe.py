"""Does the model compute another loss from its labels than the mean of ours? Asked once, of a batch."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hf_otw.data.random_state import random_state_kept
from hf_otw.features.encoder import evaluating
from hf_otw.tasks.batch_loss import BatchLoss
from hf_otw.tasks.outputs import loss_of

logger = logging.getLogger(__name__)

#: Two sums of the same terms in half precision agree to about this.
RELATIVE, ABSOLUTE = 2e-2, 1e-3


class OwnLoss(NamedTuple):
    """What the model's loss has that ours has not.

    Attributes:
        differs: the model's loss is another one than ours, and no documented term makes up the difference.
        auxiliary: what `outputs.aux_loss` is multiplied by and added, 0 for nothing.
    """

    differs: bool
    auxiliary: float


@torch.no_grad()
def probe(losses: BatchLoss, model: nn.Module, inner: nn.Module, batch: Mapping[str, Any]) -> OwnLoss:
    """Compare both losses on one batch, in evaluation mode.

    Args:
        losses: ours.
        model: as it is wrapped for training.
        inner: the same without its wrappers.
        batch: inputs and labels, on the device.
    """
    if not takes(inner, losses.label_name):
        return OwnLoss(False, 0.0)
    with evaluating(model), random_state_kept():
        try:
            outputs = model(**batch)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            # Our loss needs no labels in the forward pass: what the model makes of them is its own affair.
            logger.debug("The model computes no loss from the labels: %s", error)
            return OwnLoss(False, 0.0)
    own = loss_of(outputs)
    if own is None:
        return OwnLoss(False, 0.0)
    own = own.float().reshape(())
    ours = losses.plain(outputs, batch[losses.label_name]).float()
    if _close(own, ours):
        return OwnLoss(False, 0.0)
    config = getattr(inner, "config", None)
    coefficient = getattr(getattr(config, "get_text_config", lambda: config)(), "router_aux_loss_coef", None)
    auxiliary = outputs.get("aux_loss") if isinstance(outputs, Mapping) else None
    if isinstance(auxiliary, Tensor) and coefficient is not None:
        documented = ours + float(coefficient) * auxiliary.float()
        if _close(own, documented):
            return OwnLoss(False, float(coefficient))
    return OwnLoss(True, 0.0)


def takes(model: nn.Module, label_name: str) -> bool:
    """Does the model's forward pass accept the labels?"""
    parameters = inspect.signature(model.forward).parameters
    return label_name in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _close(a: Tensor, b: Tensor) -> bool:
    return bool(torch.isclose(a, b, rtol=RELATIVE, atol=ABSOLUTE))
