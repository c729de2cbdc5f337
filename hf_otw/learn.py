"""`learn_weights`: weights for any training set, without a Trainer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from hf_otw._utils import look_up
from hf_otw.features.stored import Standardizer, StoredFeatures, as_tensor
from hf_otw.transport import OBJECTIVES
from hf_otw.transport._check import check_reg
from hf_otw.transport.costs import COSTS, FeatureCost
from hf_otw.transport.rows import RowMarginal
from hf_otw.types import Cost, Measure
from hf_otw.weighting import (
    Agreement,
    CleanPosterior,
    ClosedForm,
    KeepClassTotals,
    OwnClassMass,
    RowMass,
    Table,
    WeightModel,
)
from hf_otw.weighting.statistics import WeightsResult, _as_numpy, summarise
from hf_otw.weighting.target import TARGET_MASSES, TARGETS, check_classes

DEFAULT_REG = 0.1
#: Weight models that judge labels: their cost must not see them.
JUDGES = {"clean_posterior": CleanPosterior, "own_class": OwnClassMass, "agreement": Agreement}

Array = TypeVar("Array", np.ndarray, Tensor)


def learn_weights(
    features: Array,
    labels: Array,
    meta_features: Array,
    meta_labels: Array,
    *,
    cost: str | Cost = "combined",
    objective: str = "entropy",
    reg: float | None = None,
    target_ess: float | None = None,
    target_mass: str = "class_prior",
    target: str = "examples",
    rows: RowMarginal | None = None,
    weighting: str | WeightModel | None = None,
    steps: int = 50,
    standardize: bool = True,
) -> WeightsResult:
    """Learn one weight per training example by optimal transport to a small clean meta set (arXiv 2208.02951).

    Args:
        features: `(n, D)`, NumPy or torch, one row a training example: any embedding.
        labels: `(n,)`, integers in `0..K-1`; may be noisy.
        meta_features: `(m, D)`, features of the clean meta set.
        meta_labels: `(m,)`, its labels. Every class must be there.
        cost: `feature`, `label`, `combined`, or a callable `(source, target) -> C (n, m)`.
        objective: `entropy` (closed form), `kl`, `kl_geomloss`, `sharp` or `divergence` (`steps` gradient steps on a
            logit per row).
        reg: entropic strength, in units of the cost. Smaller concentrates the weights. 0.1 by default;
            `clean_posterior` has none.
        target_ess: instead of `reg`, the fraction of the examples that the weights shall be worth; closed form only.
        target_mass: `class_prior` (each class keeps its share, transport re-weights inside the classes; combine it
            with a logit-adjusted loss), `square_root` (half way; the default preset's, with the same loss) or
            `balanced` (`1 / K` a class, the paper's; combine it with a plain loss).
        target: `examples` (every meta example is a column; against hidden shift) or `prototypes` (class means; against
            label noise).
        rows: holds the weights near uniform, `RelaxedRows(rho)` or `BoundedRows(cap)`; free by default.
        weighting: `clean_posterior` (probability that the label is right), `own_class` (mass that the plan ships to
            the row's own class), `agreement`, or a `WeightModel`, in place of what `objective` and `rows` say. The
            first learns its cost; the other named ones use the feature cost unless a callable is given.
        steps: gradient steps for the objectives without a closed form.
        standardize: centre and scale the features with the training mean and standard deviation first.

    Returns:
        `WeightsResult`. Costs are computed in row blocks, and up to 2 GiB of them kept; features in half precision or
        in a memory-mapped file (`numpy.load(..., mmap_mode="r")`, an Arrow column) are read block by block.

    Raises:
        TypeError: a mixture of NumPy arrays and tensors.
        ValueError: shapes that do not fit, labels out of range, a class absent from one of the two sets, features not
            finite or all equal, `reg <= 0`, or an unknown name.

    Example:
        >>> result = learn_weights(embeddings, labels, meta_embeddings, meta_labels)
        >>> LogisticRegression().fit(embeddings, labels, sample_weight=result.weights)
    """
    if reg is not None:
        check_reg(reg)
    z, y = _tensors(features, labels, "features", "labels")
    stored_meta, y_meta = _tensors(meta_features, meta_labels, "meta_features", "meta_labels")
    if z.shape[1] != stored_meta.shape[1]:
        raise ValueError(f"Expected meta_features of width {z.shape[1]}, as features, got {stored_meta.shape[1]}.")
    if isinstance(features, np.ndarray) != isinstance(meta_features, np.ndarray):
        raise TypeError(
            f"Expected one kind of array, got {type(features).__name__} and {type(meta_features).__name__}. Convert "
            f"one."
        )
    num_classes = int(max(y.max(), y_meta.max())) + 1
    check_classes(y, y_meta, num_classes)
    z_meta = stored_meta[:].to(z.device, z.dtype)
    scaler = Standardizer.fit(z)
    if not torch.isfinite(z_meta).all():
        raise ValueError("Expected finite meta_features, but some are NaN or infinite.")
    if standardize:
        z, z_meta = z.standardized(scaler), scaler(z_meta)

    n = len(y)
    counts = torch.bincount(y, minlength=num_classes).to(z_meta)
    class_mass = look_up(TARGET_MASSES, target_mass, "target_mass")
    columns = look_up(TARGETS, target, "target")(z_meta, y_meta, class_mass(counts), None)
    model = _weight_model(weighting, objective, rows, reg, target_ess, n, steps, class_mass)
    ground = _cost(cost, model)
    read = cast(Tensor, z) if model.streams else z[:]  # the first: to who reads slices
    source = Measure(read, y, z_meta.new_full((n,), 1 / n))
    solved = model(torch.arange(n, device=z.device), source, columns, ground)

    result = summarise(
        solved.weights, y, num_classes, float(solved.value), bool(solved.converged > 0), float(solved.marginal_error)
    )
    return result if isinstance(features, Tensor) else _as_numpy(result)


def _weight_model(
    weighting: str | WeightModel | None,
    objective: str,
    rows: RowMarginal | None,
    reg: float | None,
    target_ess: float | None,
    n: int,
    steps: int,
    class_mass: Callable[[Tensor], Tensor],
) -> WeightModel:
    chosen = look_up(OBJECTIVES, objective, "objective")
    closed_form = weighting is None and objective == "entropy"
    if target_ess is not None and not (closed_form and rows is None):
        raise ValueError(
            f"Expected target_ess with the closed form only (objective='entropy', no rows, no weighting), got "
            f"objective={objective!r}, rows={rows!r}, weighting={weighting!r}. Drop target_ess and choose reg."
        )
    if rows is not None and not closed_form:
        raise ValueError(
            f"Expected rows with objective='entropy' and no weighting, got objective={objective!r}, "
            f"weighting={weighting!r}. Pass weighting=RowMass(rows=...) or drop one of them."
        )
    if isinstance(weighting, WeightModel):
        return weighting
    if weighting == "clean_posterior":
        if reg is not None:
            raise ValueError(
                f"Expected no reg with weighting='clean_posterior', which learns its cost, got {reg}. Leave it out, "
                "or set weighting='agreement'."
            )
        return CleanPosterior(class_mass=class_mass)
    reg = DEFAULT_REG if reg is None else reg
    if weighting is not None:
        return look_up(JUDGES, weighting, "weighting")(reg=reg)
    if objective != "entropy":
        return Table(n, objective=chosen, reg=reg, steps=steps)
    return ClosedForm(reg=reg, target_ess=target_ess) if rows is None else RowMass(reg=reg, rows=rows)


def _cost(cost: str | Cost, model: WeightModel) -> Cost:
    if callable(cost):
        if model.learns_cost:
            raise ValueError(
                f"Expected no cost of your own with {model.name}, which learns one, got {cost!r}. Leave it out, or "
                "set weighting='agreement'."
            )
        return cost
    named = look_up(COSTS, cost, "cost")()
    model = model.inner if isinstance(model, KeepClassTotals) else model
    return FeatureCost() if isinstance(model, tuple(JUDGES.values())) else named


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
