"""Features of examples outside the training step: the meta set, and rows that the memory has not seen yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.data import DataLoader

from hf_otw._utils import required
from hf_otw.data.index import EXAMPLE_INDEX, IndexedDataset
from hf_otw.data.random_state import random_state_kept
from hf_otw.features.head import HeadInput, find_heads, head_candidates
from hf_otw.tasks import Task
from hf_otw.tasks.base import IGNORED
from hf_otw.tasks.outputs import logits_of
from hf_otw.tasks.packing import packed_lengths, unpack


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


@contextmanager
def running_statistics_kept(model: nn.Module) -> Iterator[None]:
    """Let batch normalisation use the statistics of the batch, as in training, without adding them to its own.

    Running statistics describe the training set; a small meta batch with balanced classes would bend them.
    """
    tracking = [m for m in model.modules() if isinstance(m, _NormBase) and m.training and m.track_running_stats]
    buffers = [(m.running_mean, m.running_var) for m in tracking]
    for module in tracking:
        module.track_running_stats, module.running_mean, module.running_var = False, None, None
    try:
        yield
    finally:
        for module, (mean, var) in zip(tracking, buffers, strict=True):
            module.track_running_stats, module.running_mean, module.running_var = True, mean, var


@dataclass(frozen=True)
class Encoder:
    """From data sets to features.

    Forward passes go through the model as wrapped for training (sharded parameters need it), in evaluation mode: no
    dropout, no running statistics, and the global random states as they were.

    Attributes:
        head_input: listens to the head.
        task: makes one feature per unit of what the head receives.
        collate: items -> model inputs and labels, without indices.
        prepare: moves a batch to the device.
        label_name: of the labels in a batch.
        batch_size: of these forward passes.
        pad_token_id: for decoder heads.
        feeds_labels: the model cannot do without labels.
    """

    head_input: HeadInput
    task: Task
    collate: Callable[[list[Any]], dict[str, Any]]
    prepare: Callable[[dict[str, Any]], dict[str, Any]]
    label_name: str
    batch_size: int
    pad_token_id: int | None
    feeds_labels: bool = False

    @torch.no_grad()
    def __call__(self, model: nn.Module, dataset: Any) -> Tensor:
        """Return the features of a whole data set, shape `(U, D)`, in its order."""
        numbered = IndexedDataset(dataset)
        loader = DataLoader(numbered, batch_size=self.batch_size, collate_fn=self.collate, generator=torch.Generator())
        features, places, counts = [], [], []
        with evaluating(model), random_state_kept():
            for batch in loader:
                inputs = self.prepare(batch)
                place = required(inputs.pop(EXAMPLE_INDEX, None), "the row numbers of a batch")
                labels = inputs.pop(self.label_name, None)
                outputs = model(**inputs, **({self.label_name: labels} if self.feeds_labels else {}))
                self.head_input.settle(partial(logits_of, outputs, self.task.logits_ndim))
                features.append(self.take(inputs, labels, len(place)))
                places.append(place)
                units = None if labels is None else self.task.units(labels)
                counts += [] if units is None else [units]
        several = torch.cat(counts) if counts else None
        return in_order(torch.cat(features), torch.cat(places), several, len(dataset))

    def probe(self, model: nn.Module, dataset: Any) -> tuple[tuple[int, ...], torch.dtype]:
        """Widths of the blocks that a feature is made of, one a module that features come from, and their type."""
        dtype = self(model, dataset).dtype
        return self.head_input.widths, dtype

    def take(self, inputs: Mapping[str, Any], labels: Tensor | None, num_rows: int) -> Tensor:
        """The features of the latest forward pass, shape `(U, D)`, of `num_rows` rows."""
        lengths = packed_lengths(inputs, labels, num_rows)
        of_rows = None if labels is None else unpack(labels, lengths, IGNORED)
        return self.head_input.take(lambda z: self.task.pool(unpack(z, lengths), of_rows, inputs, self.pad_token_id))


def in_order(features: Tensor, places: Tensor, counts: Tensor | None, num_rows: int) -> Tensor:
    """Put the features of a data set into its order, shape `(U, D)`.

    A collator may change the order of rows, repeat some or leave some out: of repeated ones the first counts, and rows
    that never come out of it, which are never trained on either, get the mean of the others.

    Shape:
        - features: `(U', D)`, places: `(B',)`, positions in the data set of the rows that came out, counts: `(B',)`,
          features of each of them, None for one each; `num_rows` rows in all.

    Raises:
        ValueError: other features than these, or a row that is missing where a row has several.
    """
    units = len(places) if counts is None else int(counts.sum())
    if units != len(features):
        raise ValueError(
            f"Expected features of {units} units in {len(places)} rows, got {len(features)}. Let the collator keep "
            "the rows and the labels that it is given, and truncate in the data set."
        )
    if torch.equal(places, torch.arange(num_rows, device=places.device)):
        return features
    order = places.argsort(stable=True)
    first = torch.ones_like(places, dtype=torch.bool)
    first[1:] = places[order][1:] != places[order][:-1]
    kept = order[first]  # one row of the batches for each position that came out, ascending
    if counts is None:
        whole = features.mean(dim=0).expand(num_rows, -1).clone()
        whole[places[kept]] = features[kept]
        return whole
    if len(kept) < num_rows:
        raise ValueError(
            f"Expected all {num_rows} rows to come out of the collator, got {len(kept)}. Remove rows in the data set, "
            "not in the collator, or give each sequence one weight (weight_per_token=False)."
        )
    ends = counts.cumsum(0).tolist()
    parts = features.tensor_split(ends[:-1])
    return torch.cat([parts[k] for k in kept.tolist()])


def build_encoder(
    model: nn.Module, task: Task, *, num_outputs: int | None, feature_modules: Sequence[str] | None, **seams: Any
) -> Encoder:
    """Listen to a model.

    Args:
        model: unwrapped.
        task: what carries a weight.
        num_outputs, feature_modules: see `find_heads`.
        seams: the other fields of `Encoder`.
    """
    config = getattr(model, "config", None)
    text_config = getattr(config, "get_text_config", None)
    text = config if text_config is None else text_config()
    heads = find_heads(model, num_outputs, feature_modules) if feature_modules else head_candidates(model, num_outputs)
    head_input = HeadInput(heads, one_of=not feature_modules)
    return Encoder(head_input, task, pad_token_id=getattr(text, "pad_token_id", None), **seams)
