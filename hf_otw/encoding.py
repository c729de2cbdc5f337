"""Features of examples outside the training step: the meta set, and rows that the memory has not seen yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hf_otw.features import HeadInput


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module into evaluation mode, and back as each was: users freeze parts of their models."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode


@dataclass(frozen=True)
class Encoder:
    """From data sets to features.

    Forward passes go through the model as wrapped for training (sharded parameters need it), in evaluation mode: no
    dropout, no running statistics, and no number drawn from the global random state.

    Attributes:
        head_input: listens to the head.
        collate: items -> model inputs, without labels and indices.
        prepare: moves a batch to the device.
        batch_size: of these forward passes.
        pad_token_id: for decoder heads.
    """

    head_input: HeadInput
    collate: Callable[[list[Any]], dict[str, Any]]
    prepare: Callable[[dict[str, Any]], dict[str, Any]]
    batch_size: int
    pad_token_id: int | None

    @torch.no_grad()
    def __call__(self, model: nn.Module, dataset: Any) -> Tensor:
        """Return the features of a whole data set, shape `(n, D)`, in its order."""
        loader = DataLoader(dataset, batch_size=self.batch_size, collate_fn=self.collate, generator=torch.Generator())
        features = []
        with evaluating(model):
            for batch in loader:
                inputs = self.prepare(batch)
                model(**inputs)
                features.append(self.head_input.take(inputs, self.pad_token_id))
        return torch.cat(features)
