"""Feature memory: what training has last seen of each example, so that whole-data transport needs no extra forward
pass.
"""

from __future__ import annotations

import math
import tempfile
from functools import partial

import torch
from torch import Tensor

from hf_otw.features.stored import StoredFeatures


class FeatureMemory:
    """The latest feature of each training example.

    Takes `o * D * 2` bytes, `o` being the examples it holds: all `N`, or those of this process where the memory is
    divided among them; in the second case `8 N` bytes more, which say where an example is. They may lie in a file that
    is mapped into memory (in the folder for temporary files, `TMPDIR`): the system then keeps there what it has no
    room for. Such a file has no name, and ends with the process.

    Stored in bfloat16: it has float32's range. Its rounding, 0.4 %, moves the cosine cost of standardised features by
    about 3e-4 where a feature's spread is like its mean, and by more where the mean dwarfs the spread. Features in
    float64 are kept as they are: who trains in it wants the last digit.

    Args:
        num_examples: `N`.
        feature_dim: `D`.
        device: where the memory lives.
        dtype: of what `read` returns, float32 or float64.
        held: `(o,)`, numbers of the examples that are held here; all by default.
        mapped: keep features in a file, whatever the device: a write then waits for it.
    """

    def __init__(
        self,
        num_examples: int,
        feature_dim: int,
        device: torch.device,
        *,
        dtype: torch.dtype = torch.float32,
        held: Tensor | None = None,
        mapped: bool = False,
    ) -> None:
        self.dtype, self.held, self.device = dtype, held, device
        stored = torch.float64 if dtype == torch.float64 else torch.bfloat16
        count = num_examples if held is None else len(held)
        place = _zeros_in_a_file if mapped else partial(torch.zeros, device=device)
        self.features: Tensor = place(count, feature_dim, dtype=stored)  # (o, D)
        self.written = torch.zeros(num_examples, dtype=torch.bool, device=device)  # (N,), by any process
        self._place: Tensor | None = None
        if held is not None:
            self._place = torch.full((num_examples,), -1, device=device)  # (N,)
            self._place[held] = torch.arange(count, device=device)

    def write(self, index: Tensor, features: Tensor) -> None:
        """Replace rows, those that are held here. Shape: index `(B,)`, features `(B, D)`."""
        self.written[index] = True
        if self._place is not None:
            here = self._place[index] >= 0
            index, features = self._place[index[here]], features[here]
        self.features[index.to(self.features.device)] = features.to(self.features)

    def forget(self) -> None:
        """Take all rows for missing."""
        self.written.zero_()

    def missing(self, index: Tensor) -> Tensor:
        """Return those of the given rows that were never written, by any process."""
        return index[~self.written[index]]

    def holds(self, index: Tensor) -> Tensor:
        """Which of the given rows are held here, `(n,)` bool."""
        return torch.ones_like(index, dtype=torch.bool) if self._place is None else self._place[index] >= 0

    def read(self, index: Tensor) -> Tensor:
        """Return rows that are held here, shape `(n, D)`."""
        return self.rows(index)[:]

    def rows(self, index: Tensor) -> StoredFeatures:
        """Rows that are held here, to be read block by block."""
        place = index if self._place is None else self._place[index]
        return StoredFeatures(self.features, self.dtype, index=place, device=self.device)


def _zeros_in_a_file(*shape: int, dtype: torch.dtype) -> Tensor:
    with tempfile.NamedTemporaryFile() as file:  # what is mapped stays when the name is gone
        size = math.prod(shape)
        if not size:
            return torch.zeros(*shape, dtype=dtype)
        return torch.from_file(file.name, shared=True, size=size, dtype=dtype).view(*shape)
