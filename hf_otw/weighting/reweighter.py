"""The algorithm: from features and labels to weights. No I/O, nothing of Hugging Face, no gradient of the user's
model.

Around one training step (arXiv 2208.02951, algorithm 1, with the whole training set as the source by default):

    1  is a solve due?            `due(step)`: after the warm-up, then every `refresh_steps`, or never again
    2  renew the target           meta features -> columns and their mass                     `refresh`
    3  read the memory            source = what training has last seen of each example        `refresh`
    4  solve                      C = cost(source, target); w = weight_model(...)             `refresh`
    5  look up the batch's w      dataset scope: from the table; batch scope: solve here      `weights`
    6  write the memory           features of this step                                       `weights`
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple, cast

import torch
from torch import Tensor

from hf_otw._utils import required
from hf_otw.features.memory import FeatureMemory
from hf_otw.features.stored import Standardizer, StoredFeatures
from hf_otw.transport._check import check_finite, check_none_infinite
from hf_otw.types import Cost, Measure, Shard, Weights
from hf_otw.weighting.base import WeightModel
from hf_otw.weighting.statistics import class_totals, effective_sample_size, effective_sample_size_per_class

logger = logging.getLogger(__name__)

HANDFUL = 5


class Reweighter:
    """Learns and serves the weights of a training set.

    Args:
        weight_model: rows in, weights out.
        cost: ground cost.
        labels: `(N,)`, of the training set as given.
        label_vectors: `(N, L)`, labels that are more than a class, or None.
        rows: `(n,)`, row numbers that are trained on (the meta split is left out).
        num_classes: `K`.
        class_mass: `class counts (K,) -> class mass (K,)` of the target.
        make_target: `(features (m, D), labels (m,), class mass (K,), label_vectors (m, L) or None) -> Measure`.
        schedule: when to solve.
        feature_dim: `D`; 0 for a weight model that needs no transport.
        per_batch: solve in every step over its batch instead of over the whole training set.
        standardize: centre and scale features first.
        dtype: of features and weights, float32 or float64.
        shard: this process's part of `rows`, where several solve together; a weight model that is not `divisible`
            is solved whole by each.
        divide_memory: hold the features of this process's part only.
        map_memory: hold them in a file that is mapped into memory.
        encode_at_solve: whoever calls `refresh` has filled the memory anew. Features of training steps are then not
            needed, and checkpoints hold none.

    Raises:
        ValueError: a memory to be divided for a weight model that is not divisible.
    """

    def __init__(
        self,
        weight_model: WeightModel,
        cost: Cost,
        *,
        labels: Tensor,
        label_vectors: Tensor | None = None,
        rows: Tensor,
        num_classes: int,
        class_mass: Callable[[Tensor], Tensor],
        make_target: Callable[[Tensor, Tensor, Tensor, Tensor | None], Measure],
        schedule: Schedule,
        feature_dim: int,
        per_batch: bool,
        standardize: bool,
        dtype: torch.dtype = torch.float32,
        shard: Shard | None = None,
        divide_memory: bool = False,
        map_memory: bool = False,
        encode_at_solve: bool = False,
    ) -> None:
        device = labels.device
        weight_model = weight_model.to(device, torch.float64 if dtype == torch.float64 else None)
        self.weight_model, self.cost = weight_model, cost
        self.labels, self.label_vectors = labels, label_vectors
        self.rows, self.num_classes = rows, num_classes
        self.class_mass, self.make_target, self.schedule = class_mass, make_target, schedule
        self.per_batch = per_batch and weight_model.needs_transport
        self.standardize = standardize
        needs_memory = weight_model.needs_transport and not per_batch
        self.encode_at_solve = encode_at_solve and needs_memory
        self.shard = shard if needs_memory and weight_model.divisible else None
        if needs_memory and divide_memory and shard is not None and self.shard is None:
            raise ValueError(
                f"Expected a weight model that can solve over rows divided among processes, got {weight_model.name}, "
                "which needs the features of all of them. Set feature_memory='replicated', or choose another "
                "weighting or objective."
            )
        self.own_rows = rows if self.shard is None else rows[self.shard.start : self.shard.stop]
        self.dtype, self.memory = dtype, None
        if needs_memory:
            held = self.own_rows if divide_memory and self.shard is not None else None
            self.memory = FeatureMemory(len(labels), feature_dim, device, dtype=dtype, held=held, mapped=map_memory)
        self.class_counts = torch.bincount(labels[rows], minlength=num_classes).to(dtype)  # (K,)
        self.class_prior = self.class_counts / self.class_counts.sum()  # (K,), of the weighted training set
        self.example_weights = torch.ones(len(labels), dtype=dtype, device=device)  # (N,)
        self.solved_at = -1
        self.statistics = self._statistics(self._uniform(self.rows))
        self._target: Measure | None = None
        self._scaler: Standardizer | None = None
        self._warned = False

    @property
    def statistic_names(self) -> tuple[str, ...]:
        """Names of the entries of `statistics`."""
        totals = tuple(f"class_total/{k}" for k in range(self.num_classes))
        return ("ess", "weight_max", "objective", "converged", *totals)

    def due(self, step: int) -> bool:
        """Step 1: is a solve (batch scope: a new target) due before optimizer step `step`?"""
        if step < self.schedule.warmup_steps:
            return False
        if self.solved_at < 0:
            return True
        again = self.weight_model.needs_transport and self.schedule.refresh_steps > 0
        return again and step - self.solved_at >= self.schedule.refresh_steps

    @torch.no_grad()
    def refresh(
        self,
        step: int,
        meta_features: Tensor | None = None,
        meta_labels: Tensor | None = None,
        meta_vectors: Tensor | None = None,
    ) -> None:
        """Steps 2 to 4. Shape: meta_features `(m, D)`, meta_labels `(m,)`, meta_vectors `(m, L)`; None for a weight
        model that needs no transport.
        """
        self.solved_at = step
        if meta_features is not None and meta_labels is not None:
            self._renew_target(meta_features, meta_labels, meta_vectors)
        if self.per_batch:
            return
        features = None if self.memory is None else self.memory.rows(self.own_rows)
        source = self._source(self.rows, features, self.shard)
        solved = self._solve(self.rows, source)
        self.example_weights[self.rows] = solved.weights.to(self.example_weights)
        self.class_prior = class_totals(self.example_weights[self.rows], source.labels, self.num_classes)
        self.statistics = self._statistics(solved)
        self._warn_if_concentrated()

    @torch.no_grad()
    def weights(self, step: int, index: Tensor, features: Tensor | None) -> Tensor:
        """Steps 5 and 6. Shape: index `(B,)`, features `(B, D)` or None; returns `(B,)`, detached."""
        if self.memory is not None and not self.encode_at_solve:
            self.memory.write(index, required(features, "the features of a step"))
        if step < self.schedule.warmup_steps:
            return self.example_weights.new_ones(len(index))
        if not self.per_batch:
            return self.example_weights[index]
        if self._target is None and self.weight_model.needs_transport:  # no solve was possible yet
            return self.example_weights.new_ones(len(index))
        z = required(features, "the features of a step").to(self.dtype)
        solved = self._solve(index, self._source(index, z))
        self.example_weights[index] = solved.weights.to(self.example_weights)
        self.statistics = self._statistics(solved, self.labels[index])
        return solved.weights.to(self.example_weights)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that a resumed run needs, as tensors, whatever the number of processes. A collective call where
        the memory is divided: the first process gets all of it, on the CPU, the others none of it.
        """
        state, memory = self._state_without_memory(), self._kept_memory
        if memory is not None:
            state |= {"memory.features": self._whole(memory), "memory.written": memory.written}
        return {name: value.detach().contiguous() for name, value in state.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned, of any number of processes.

        Raises:
            ValueError: a state of another training set or another weighting.
        """
        memory, known = self._kept_memory, self._state_without_memory()
        shapes: dict[str, tuple[int, ...]] = {n: value.shape for n, value in known.items() if n[:7] != "target."}
        if memory is not None:
            shapes["memory.features"] = (len(self.labels), memory.features.shape[1])
            shapes["memory.written"] = memory.written.shape
        wrong = [name for name, shape in shapes.items() if name not in state or state[name].shape != shape]
        if wrong:
            raise ValueError(
                f"Expected the weights of a checkpoint of the same training set and weighting, but {wrong[:3]} are "
                "missing or of another shape. Resume with the data and arguments of the first run, or delete "
                "otw_state.safetensors to learn the weights anew."
            )
        if memory is not None:  # first: of a divided memory only a part goes to the device
            features, held = state["memory.features"], memory.held
            memory.features.copy_(features if held is None else features[held.to(features.device)])
        device = self.labels.device
        state = {name: value.to(device, copy=True) for name, value in state.items() if name != "memory.features"}
        self.weight_model.load_state_dict(
            {n.removeprefix("weight_model."): v for n, v in state.items() if n.startswith("weight_model.")}
        )
        self.example_weights, self.class_prior, self.statistics = (
            state[n] for n in ("example_weights", "class_prior", "statistics")
        )
        self.solved_at = int(state["solved_at"])
        if memory is not None:
            memory.written = state["memory.written"]
        if "target.mass" in state:
            features, labels, mass = (state[f"target.{name}"] for name in ("features", "labels", "mass"))
            self._target = Measure(features, labels, mass, state.get("target.label_vectors"))
        if "scaler.mean" in state:
            self._scaler = Standardizer(state["scaler.mean"], state["scaler.scale"])

    @property
    def _kept_memory(self) -> FeatureMemory | None:
        """Return the memory that a checkpoint keeps: None where it is filled anew at each solve."""
        return None if self.encode_at_solve else self.memory

    def _state_without_memory(self) -> dict[str, Tensor]:
        state = {f"weight_model.{name}": value for name, value in self.weight_model.state_dict().items()}
        state |= {name: getattr(self, name) for name in ("example_weights", "class_prior", "statistics")}
        state["solved_at"] = torch.tensor(self.solved_at)
        if self._target is not None:
            state |= {f"target.{name}": v for name, v in self._target._asdict().items() if v is not None}
        if self._scaler is not None:
            state |= {"scaler.mean": self._scaler.mean, "scaler.scale": self._scaler.scale}
        return state

    def _whole(self, memory: FeatureMemory) -> Tensor:
        if memory.held is None or self.shard is None:
            return memory.features
        parts = self.shard.collect(memory.features)
        if not len(parts):
            return parts
        whole = parts.new_zeros(len(self.labels), parts.shape[1])
        whole[self.rows.cpu()] = parts
        return whole

    def _renew_target(self, meta_features: Tensor, meta_labels: Tensor, meta_vectors: Tensor | None) -> None:
        meta = check_finite(meta_features.to(self.dtype), "features of the meta set")
        if self.standardize:
            # Batch scope keeps no memory of the training set: the meta set stands in for it.
            known = meta if self.memory is None else self.memory.rows(self.own_rows)
            self._scaler = Standardizer.fit(known, self.shard)
            meta = self._scaler(meta)
        vectors = None if meta_vectors is None else meta_vectors.to(meta)
        self._target = self.make_target(meta, meta_labels, self.class_mass(self.class_counts), vectors)

    def _solve(self, index: Tensor, source: Measure) -> Weights:
        solved = self.weight_model(index, source, self._target, self.cost)
        check_finite(solved.weights, f"weights from {type(self.weight_model).__name__}")
        return solved

    def _source(self, index: Tensor, features: Tensor | StoredFeatures | None, shard: Shard | None = None) -> Measure:
        z = self.example_weights.new_zeros(len(index), 0) if features is None else features
        if isinstance(z, StoredFeatures) and self._scaler is not None:  # fitted to these rows, finite
            z = z.standardized(self._scaler)
        elif isinstance(z, StoredFeatures):
            check_none_infinite(z.count_infinite(), "features", shard)
        else:
            z = check_finite(z if self._scaler is None else self._scaler(z), "features", shard)
        if isinstance(z, StoredFeatures) and not self.weight_model.streams:
            z = z[:]
        vectors = None if self.label_vectors is None else self.label_vectors[index].to(self.dtype)
        mass = self.example_weights.new_full((len(index),), 1 / len(index))
        return Measure(cast(Tensor, z), self.labels[index], mass, vectors, shard)  # stored features are read in slices

    def _uniform(self, rows: Tensor) -> Weights:
        one = torch.ones((), device=rows.device)
        return Weights(torch.ones(len(rows), device=rows.device), one * torch.nan, one, one * 0)

    def _statistics(self, solved: Weights, labels: Tensor | None = None) -> Tensor:
        w = solved.weights.float()
        totals = class_totals(w, self.labels[self.rows] if labels is None else labels, self.num_classes)
        head = torch.stack([effective_sample_size(w), w.max(), solved.value.to(w), solved.converged.to(w)])
        return torch.cat([head, totals])  # (4 + K,)

    def _warn_if_concentrated(self) -> None:
        ess = effective_sample_size_per_class(
            self.example_weights[self.rows], self.labels[self.rows], self.num_classes
        )
        low = ((ess < HANDFUL) & (self.class_counts > 2 * HANDFUL)).nonzero().flatten().tolist()
        if low and not self._warned:
            self._warned = True
            logger.warning(
                "The weights of %d classes rest on fewer than %d effective examples (classes %s). %sa longer "
                "`weight_warmup`.",
                len(low),
                HANDFUL,
                low[:10],
                "Set " if self.weight_model.learns_cost else "Raise `reg`, or set ",
            )


class Schedule(NamedTuple):
    """When to solve, in optimizer steps.

    Attributes:
        warmup_steps: steps with all weights 1 at the start.
        refresh_steps: steps between two solves; 0 for a single one.
    """

    warmup_steps: int
    refresh_steps: int
