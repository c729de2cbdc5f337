"""The nouns that every other module shares, with their shapes and units."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor


class Shard(Protocol):
    """This process's part of `n` rows: the positions `start..stop-1`.

    Every method is a collective call: all processes make it, in the same order, and all get the same result, to the
    last bit. Whatever follows from the results alone is then equal on all of them and needs no further exchange.
    """

    num_rows: int
    start: int
    stop: int

    def sum(self, part: Tensor) -> Tensor:
        """The sum of the processes' `part`, of one shape on all."""
        ...

    def logsumexp(self, part: Tensor) -> Tensor:
        """`log(sum(exp(part)))` over the processes."""
        ...

    def amax(self, part: Tensor) -> Tensor:
        """The largest of the processes' `part`."""
        ...

    def gather(self, part: Tensor) -> Tensor:
        """From each process's rows `(stop - start, ...)` to all rows `(n, ...)`."""
        ...

    def collect(self, part: Tensor) -> Tensor:
        """`gather` on the CPU of the first process; the others get no rows. No device ever holds all of them."""
        ...


class Measure(NamedTuple):
    """A weighted cloud of labelled points: the training rows (source) or the meta columns (target).

    Shape:
        - features: `(n, D)`, float32 or float64, finite; for weight models that read them in slices only, also
          `hf_otw.features.stored.StoredFeatures`, which are nowhere as a whole.
        - labels: `(n,)`, int64, in `0..K-1`.
        - mass: `(n,)`, non-negative, sums to 1. For the source it is the *prior* over rows (uniform unless said
          otherwise): what the weights would be if transport had nothing to say.
        - label_vectors: `(n, L)`, labels that are more than a class (a set of labels, a number), scaled so that the L1
          distance of two of them is 0 where they are equal and about 1 where they have nothing in common. None for
          plain classes.
        - shard: where `n` points are divided among processes, which of them this one has the features of, shape
          `(shard.stop - shard.start, D)`; everything else is of all `n`. None for a measure that is whole.
    """

    features: Tensor
    labels: Tensor
    mass: Tensor
    label_vectors: Tensor | None = None
    shard: Shard | None = None

    def rows(self, index: Tensor | slice) -> Measure:
        """Some of the points, with their masses as they are; of a shard, a slice of what it has."""
        vectors = None if self.label_vectors is None else self.label_vectors[index]
        own = index
        if self.shard is not None:
            assert isinstance(index, slice)
            own = slice(index.start - self.shard.start, index.stop - self.shard.start)
        return Measure(self.features[own], self.labels[index], self.mass[index], vectors)


class TransportResult(NamedTuple):
    """Result of a solver, in the vocabulary shared by POT and GeomLoss.

    Shape:
        - value: `()`, the regularised objective named by the solver.
        - value_linear: `()`, `<plan, C>`, in units of the cost.
        - marginal_a: `(n,)`, row sums of the plan. Equal to `a` only where rows are constrained.
        - potential_a: `(n,)`, Kantorovich potential `f`, in units of the cost; defined up to a constant.
        - potential_b: `(m,)`, Kantorovich potential `g`, in units of the cost; defined up to a constant.
        - marginal_error: `()`, L1 violation of the column marginal `b`.
        - converged: `()`, bool, `marginal_error <= tol` within `max_iter` iterations.
        - iterations: number of passes over the cost matrix.
    """

    value: Tensor
    value_linear: Tensor
    marginal_a: Tensor
    potential_a: Tensor
    potential_b: Tensor
    marginal_error: Tensor
    converged: Tensor
    iterations: int


class Weights(NamedTuple):
    """Result of a weight model for a set of rows.

    Shape:
        - weights: `(n,)`, non-negative, mean 1 over the rows it was computed on.
        - value: `()`, the objective the weights minimise, NaN where there is none.
        - converged: `()`, float, 1 if the solver met its tolerance (always 1 for a closed form).
        - marginal_error: `()`, L1 violation of the column marginal.
    """

    weights: Tensor
    value: Tensor
    converged: Tensor
    marginal_error: Tensor


@runtime_checkable
class Cost(Protocol):
    """Ground cost between source rows and target columns: any function with this call will do.

    An object that also has a method `into(out, source, target)`, which writes the costs into `out`, shape `(n, m)`,
    and returns it, spares large problems fresh memory for every block of rows.
    """

    def __call__(self, source: Measure, target: Measure) -> Tensor:
        """Return `C`, shape `(n, m)`, finite and `>= 0`."""
        ...
