"""From names in the arguments to the objects that do the work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hf_otw._utils import look_up, required
from hf_otw.config.args import WeightingArguments
from hf_otw.config.presets import BASELINES
from hf_otw.losses import BinaryCrossEntropy, CrossEntropy, ExampleLoss, Focal, LogitAdjusted, SquaredError
from hf_otw.transport import OBJECTIVES, BoundedRows, RelaxedRows
from hf_otw.transport.costs import CombinedCost, FeatureCost, LabelCost
from hf_otw.transport.objectives import Objective
from hf_otw.types import Cost, Shard
from hf_otw.weighting import (
    Agreement,
    CleanPosterior,
    ClosedForm,
    Column,
    KeepClassTotals,
    MirrorStep,
    OwnClassMass,
    RowMass,
    SoftmaxSGDStep,
    Table,
    Uniform,
    WeightModel,
    WeightNet,
    effective_number,
    inverse_frequency,
)
from hf_otw.weighting.models.table import LogitUpdate
from hf_otw.weighting.reweighter import Reweighter, Schedule
from hf_otw.weighting.target import TARGET_MASSES, TARGETS

if TYPE_CHECKING:
    from hf_otw.data.training import TrainingData

#: Weightings that see neither features nor a meta set.
WITHOUT_TRANSPORT = ("none", *BASELINES)


def build_cost(args: WeightingArguments, num_classes: int, widths: Sequence[int] = ()) -> Cost:
    """Return the ground cost that the arguments name; without a label weight the paper's, `2 / K`, and without a name
    that of the features, for a weight model that does not use it.

    Args:
        widths: of the feature blocks, where features come from several modules.
    """
    label_weight = 2 / num_classes if args.label_weight is None else args.label_weight
    shares = tuple(args.feature_weights or ())
    features = FeatureCost(tuple(widths), shares) if len(widths) > 1 else FeatureCost()
    builders: dict[str, Callable[[], Cost]] = {
        "feature": lambda: features,
        "label": lambda: LabelCost(label_weight),
        "combined": lambda: CombinedCost(label_weight, features),
    }
    return look_up(builders, args.cost or "feature", "cost")()


def build_example_loss(name: str, args: WeightingArguments, label_smoothing: float) -> ExampleLoss:
    """Return the per-example loss of that name."""
    builders: dict[str, Callable[[], ExampleLoss]] = {
        "cross_entropy": lambda: CrossEntropy(label_smoothing),
        "logit_adjusted": lambda: LogitAdjusted(args.logit_adjustment_tau, label_smoothing),
        "focal": lambda: Focal(args.focal_gamma, label_smoothing),
        "binary_cross_entropy": BinaryCrossEntropy,
        "squared_error": SquaredError,
    }
    return look_up(builders, name, "example_loss")()


def build_weight_model(
    args: WeightingArguments,
    labels: Tensor,
    class_counts: Sequence[int],
    *,
    feature_dim: int,
    column: Tensor | None,
    seed: int,
) -> WeightModel:
    """Return the weight model that the arguments name.

    Shape:
        - labels: `(N,)`, all rows of the training set as given.
        - class_counts: `(K,)`, rows that are trained on.
        - column: `(N,)`, for `weighting="column"`.
    """
    own_lr: dict[str, Any] = {} if args.weight_lr is None else {"lr": args.weight_lr}
    builders: dict[str, Callable[[], WeightModel]] = {
        "uniform": Uniform,
        "inverse_frequency": lambda: inverse_frequency(class_counts),
        "effective_number": lambda: effective_number(class_counts, beta=args.effective_number_beta),
        "column": lambda: Column(required(column, "the weight column")),
        "closed_form": lambda: ClosedForm(reg=_reg(args), target_ess=args.target_ess),
        "relaxed_rows": lambda: RowMass(reg=_reg(args), rows=RelaxedRows(args.row_rho)),
        "bounded_rows": lambda: RowMass(reg=_reg(args), rows=BoundedRows(args.row_cap)),
        "own_class": lambda: OwnClassMass(reg=_reg(args)),
        "clean_posterior": lambda: CleanPosterior(class_mass=_class_mass(args)),
        "agreement": lambda: Agreement(reg=_reg(args)),
        "table": lambda: _table(args, labels, class_counts),
        "net": lambda: WeightNet(
            feature_dim,
            objective=_objective(args),
            reg=_reg(args),
            steps=_steps(args),
            seed=seed,
            **own_lr,
        ),
    }
    model = look_up(builders, str(args.weighting), "weighting")()
    return KeepClassTotals(model) if args.keep_class_totals and model.needs_transport else model


def _table(args: WeightingArguments, labels: Tensor, class_counts: Sequence[int]) -> Table:
    common: dict[str, Any] = {"objective": _objective(args), "reg": _reg(args), "steps": _steps(args)}
    update: LogitUpdate | None
    if args.raw_weight_logits:
        init = effective_number(class_counts).class_weight[labels].float()
        update = SoftmaxSGDStep(lr=0.01 if args.weight_lr is None else args.weight_lr)
        return Table(len(labels), update=update, init=init, raw=True, **common)
    update = None if args.weight_lr is None else MirrorStep(args.weight_lr)
    return Table(len(labels), update=update, init=torch.zeros(len(labels)), **common)


def build_reweighter(
    args: WeightingArguments,
    data: TrainingData,
    device: torch.device,
    *,
    feature_widths: Sequence[int],
    dtype: torch.dtype,
    shard: Shard | None,
    seed: int,
    schedule: Schedule,
    weight_model: WeightModel | None,
    cost: Cost | None,
) -> Reweighter:
    """Return the algorithm, with the user's own objects where there are some.

    Args:
        args: what to build.
        data: labels, and the rows that are trained on.
        device: where weights and feature memory live.
        feature_widths: of the feature blocks, one a module that features come from.
        dtype: of features and weights.
        shard: the training rows of this process, or None for one process.
        seed: of a weight net.
        schedule: when to solve.
        weight_model, cost: the user's own.
    """
    args.check_combination()  # a search sets arguments after all else has been checked
    feature_dim = sum(feature_widths)
    own = weight_model or build_weight_model(
        args, data.labels, data.class_counts, feature_dim=feature_dim, column=data.weight_column, seed=seed
    )
    return Reweighter(
        own,
        cost or build_cost(args, data.num_classes, feature_widths),
        labels=data.labels.to(device),
        label_vectors=None if data.label_vectors is None else data.label_vectors.to(device),
        rows=data.train_units.to(device),
        num_classes=data.num_classes,
        class_mass=_class_mass(args),
        make_target=TARGETS[required(args.target, "target")],
        schedule=schedule,
        feature_dim=feature_dim,
        per_batch=args.weight_scope == "batch",
        standardize=required(args.standardize_features, "standardize_features"),
        dtype=dtype,
        shard=shard,
        divide_memory=args.feature_memory != "replicated",
        map_memory=args.feature_memory == "mapped",
        encode_at_solve=required(args.encode_at_solve, "encode_at_solve"),
    )


def build_schedule(args: WeightingArguments, max_steps: int, epoch_steps: int) -> Schedule:
    """Return when to solve, in optimizer steps.

    The default warm-up is an epoch, which shows every example once and so fills the memory, but at most half of the
    training: in a short run the weights need the second half.
    """
    warmup = args.weight_warmup
    if warmup is None:
        warmup_steps = min(epoch_steps, max_steps // 2)
    else:
        warmup_steps = round(warmup if warmup >= 1 else warmup * max_steps)
    refresh_steps = epoch_steps if args.weight_refresh_steps is None else args.weight_refresh_steps
    return Schedule(warmup_steps, refresh_steps, required(args.weight_smoothing, "weight_smoothing"))


def _reg(args: WeightingArguments) -> float:
    return required(args.reg, "reg")


def _steps(args: WeightingArguments) -> int:
    return required(args.weight_steps, "weight_steps")


def _objective(args: WeightingArguments) -> Objective:
    return OBJECTIVES[required(args.objective, "objective")]


def _class_mass(args: WeightingArguments) -> Callable[[Tensor], Tensor]:
    return TARGET_MASSES[required(args.target_mass, "target_mass")]
