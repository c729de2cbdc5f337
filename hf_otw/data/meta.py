"""The meta set: a small, clean, class-balanced set that the target is built from. Never used for model selection."""

from __future__ import annotations

from typing import Any

import torch

from hf_otw.tasks import Labels


class MetaSet:
    """Meta examples and their labels, kept as they came (tokenised, transformed, ...).

    Args:
        dataset: map-style; its items go through the training collator.
        labels: of its units.
        num_classes: `K`.

    Attributes:
        classes (`Tensor`): `(m,)`, of the units.
        label_vectors (`Tensor`): `(m, L)`, or None.
    """

    def __init__(self, dataset: Any, labels: Labels, num_classes: int) -> None:
        self.dataset, self.num_classes = dataset, num_classes
        self.classes, self.label_vectors = labels.classes, labels.vectors
        example = torch.arange(len(dataset))
        if labels.counts is not None:
            example = example.repeat_interleave(labels.counts)
        self._rows_of_class = [example[labels.classes == k].unique() for k in range(num_classes)]

    def __len__(self) -> int:
        return len(self.dataset)

    def sample(self, size: int | None, *, seed: int, step: int, micro_step: int) -> list[dict[str, Any]]:
        """Draw items for the meta term: `size` with the classes as equal as it allows, or all of them for None.

        The draw depends on `(seed, step, micro_step)` alone, so that a resumed run draws the same.
        """
        if size is None or size >= len(self):
            return [self.dataset[i] for i in range(len(self))]
        generator = torch.Generator().manual_seed((seed * 1_000_003 + step) * 1_009 + micro_step)
        classes = torch.cat(
            [torch.randperm(self.num_classes, generator=generator) for _ in range(-(-size // self.num_classes))]
        )
        rows = []
        for k in classes[:size].tolist():
            own = self._rows_of_class[k]
            rows.append(int(own[torch.randint(len(own), (1,), generator=generator)]))
        return [self.dataset[i] for i in rows]
