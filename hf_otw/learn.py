"""`learn_weights`: weights for any training set, without a Trainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from hf_otw.config.build import build_class_mass, build_cost, build_target, build_weight_model, schema_of
from hf_otw.config.settings import resolve
from hf_otw.features.stored import Standardizer, StoredFeatures, as_tensor
from hf_otw.types import Cost, Measure
from hf_otw.weighting import WeightModel
from hf_otw.weighting.base import Facts
from hf_otw.weighting.statistics import WeightsResult, as_numpy, summarise
from hf_otw.weighting.target import check_classes

Array = TypeVar("Array", np.ndarray, Tensor)


def learn_weights(
    features: Array,
    labels: Array,
    meta_features: Array,
    meta_labels: Array,
    *,
    weighting: str | WeightModel | None = None,
    weighting_kwargs: Mapping[str, Any] | None = None,
    cost: str | Cost | None = None,
    cost_kwargs: Mapping[str, Any] | None = None,
    target_mass: str | None = None,
    target_points: str | None = None,
    standardize_features: bool | None = None,
) -> WeightsResult:
    """Learn one weight per training example by optimal transport to a small clean meta set (arXiv 2208.02951).

    Names, defaults and checks are those of `OTWeightedTrainingArguments`, for a loss without a term for the class
    prior: the weights balance the classes by themselves, ready for scikit-learn's `sample_weight`.

    Args:
        features: `(n, D)`, NumPy or torch, one row per training example: any embedding.
        labels: `(n,)`, integers in `0..K-1`; may be noisy.
        meta_features: `(m, D)`, features of the clean meta set.
        meta_labels: `(m,)`, its labels. Every class must be there.
        weighting: name, see `hf_otw.config.options.WEIGHTINGS`, or a `WeightModel`. Default: `clean_posterior`, the
            probability that the label is right.
        weighting_kwargs: arguments of the named weighting, such as `{"reg": 0.05}`.
        cost: `feature`, `label`, `combined`, or a callable `(source, target) -> C (n, m)`; `clean_posterior` learns
            its own.
        cost_kwargs: arguments of the named cost.
        target_mass: `balanced` (each class holds 1/K of the total weight, the default), `square_root` (half way,
            for a logit-adjusted loss), or `class_prior` (each class keeps its share: transport re-weights inside the
            classes).
        target_points: `examples` (every meta example is a column; the default of `clean_posterior`; against hidden
            shift) or `prototypes` (class means; the default elsewhere; against label noise).
        standardize_features: centre and scale the features with the training mean and standard deviation first.
            Default: yes.

    Returns:
        `WeightsResult`. Costs are computed in row blocks, and up to 2 GiB of them kept; features in half precision or
        in a memory-mapped file (`numpy.load(..., mmap_mode="r")`, an Arrow column) are read block by block.

    Raises:
        TypeError: a mixture of NumPy arrays and tensors.
        ValueError: shapes that do not fit, labels out of range, a class absent from one of the two sets, features not
            finite or all equal, an unknown name, a value out of range, or a setting without effect.

    Example:
        >>> result = learn_weights(embeddings, labels, meta_embeddings, meta_labels)
        >>> LogisticRegression().fit(embeddings, labels, sample_weight=result.weights)
    """
    own = weighting if isinstance(weighting, WeightModel) else None
    given = {
        "weighting": weighting if own is None else None,
        "weighting_kwargs": weighting_kwargs,
        "cost": cost if isinstance(cost, str) else None,
        "cost_kwargs": cost_kwargs,
        "target_mass": target_mass,
        "target_points": target_points,
        "standardize_features": standardize_features,
        "example_loss": "cross_entropy",
    }
    if cost is not None and not isinstance(cost, str) and not callable(cost):
        raise ValueError(f"Expected cost to be a name or a callable, got {cost!r}. Leave it out for the default.")
    if callable(cost) and cost_kwargs:
        raise ValueError("Expected no cost_kwargs beside a cost of your own. Build it with them.")
    if weighting in ("none", "column"):
        raise ValueError(
            f"Expected a weighting that learns or computes weights, got {weighting!r}, which belongs to the Trainer. "
            "Leave it out for the default."
        )
    settings = resolve(given, own_weighting=None if own is None else schema_of(own))
    if callable(cost) and "cost" not in settings.option.uses:
        raise ValueError(
            f"Expected no cost of your own with weighting={settings.weighting!r}, which does not read it, got "
            f"{cost!r}. Leave it out, or set weighting='agreement'."
        )
    z, y, z_meta, y_meta = _inputs(features, labels, meta_features, meta_labels, settings.standardize_features)
    num_classes = int(max(y.max(), y_meta.max())) + 1

    n = len(y)
    counts = torch.bincount(y, minlength=num_classes)
    class_mass = build_class_mass(settings.target_mass)
    columns = build_target(settings.target_points)(z_meta, y_meta, class_mass(counts.to(z_meta)), None)
    facts = Facts(labels=y, class_counts=counts, class_mass=class_mass, feature_dim=z.shape[1])
    model = own or build_weight_model(settings.option, settings.weighting_kwargs, facts)
    ground = cost if callable(cost) else build_cost(settings.cost, settings.cost_kwargs, num_classes)
    read = cast(Tensor, z) if model.streams else z[:]  # a streaming model reads slices only
    source = Measure(read, y, z_meta.new_full((n,), 1 / n))
    solved = model(torch.arange(n, device=z.device), source, columns, ground)

    result = summarise(
        solved.weights, y, num_classes, float(solved.value), bool(solved.converged > 0), float(solved.marginal_error)
    )
    return result if isinstance(features, Tensor) else as_numpy(result)


def _inputs(
    features: Array, labels: Array, meta_features: Array, meta_labels: Array, standardize: bool
) -> tuple[StoredFeatures, Tensor, Tensor, Tensor]:
    """Check both sets, and standardise the features if told to: rows to be read block by block, meta rows whole."""
    z, y = _tensors(features, labels, "features", "labels")
    stored_meta, y_meta = _tensors(meta_features, meta_labels, "meta_features", "meta_labels")
    if z.shape[1] != stored_meta.shape[1]:
        raise ValueError(f"Expected meta_features of width {z.shape[1]}, as features, got {stored_meta.shape[1]}.")
    if isinstance(features, np.ndarray) != isinstance(meta_features, np.ndarray):
        raise TypeError(
            f"Expected one kind of array, got {type(features).__name__} and {type(meta_features).__name__}. Convert "
            f"one."
        )
    check_classes(y, y_meta, int(max(y.max(), y_meta.max())) + 1)
    z_meta = stored_meta[:].to(z.device, z.dtype)
    scaler = Standardizer.fit(z)
    if not torch.isfinite(z_meta).all():
        raise ValueError("Expected finite meta_features, but some are NaN or infinite.")
    if standardize:
        z, z_meta = z.standardized(scaler), scaler(z_meta)
    return z, y, z_meta, y_meta


def _tensors(features: Array, labels: Array, name: str, labels_name: str) -> tuple[StoredFeatures, Tensor]:
    y = as_tensor(labels)
    if features.ndim != 2 or y.ndim != 1 or len(features) != len(y) or len(features) == 0:
        raise ValueError(
            f"Expected {name} of shape (n, D) and {labels_name} of shape (n,) with n > 0, got {tuple(features.shape)} "
            f"and {tuple(y.shape)}."
        )
    if y.is_floating_point() or y.is_complex():
        raise ValueError(f"Expected integer {labels_name}, got {y.dtype}. Encode the classes as 0..K-1.")
    stored = features.detach() if isinstance(features, Tensor) else np.asanyarray(features)
    exact = stored.dtype in (torch.float64, np.float64)
    return StoredFeatures(stored, torch.float64 if exact else torch.float32, device=y.device), y.long()
