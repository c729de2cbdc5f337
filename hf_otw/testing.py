"""Contract checks for those who write their own cost, solver or weight model.

Each raises an `AssertionError` that says what was expected; none needs a test framework:

    >>> from hf_otw.testing import check_cost
    >>> check_cost(MyCost())
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hf_otw.transport.blocks import CostBlocks
from hf_otw.transport.costs import FeatureCost
from hf_otw.types import Cost, Measure, TransportResult, Weights
from hf_otw.weighting.base import WeightModel

#: The problem that `check_weighting` poses: build the model for so many rows, features and classes.
NUM_EXAMPLES, FEATURE_DIM, NUM_CLASSES = 24, 4, 3

Solver = Callable[..., TransportResult]


def example_problem(dtype: torch.dtype = torch.float32) -> tuple[Measure, Measure]:
    """Return a source of `NUM_EXAMPLES` rows, classes in turn, and a target of two columns a class; masses uniform."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(NUM_CLASSES, FEATURE_DIM, generator=generator, dtype=dtype)

    def cloud(n: int) -> Measure:
        labels = torch.arange(n) % NUM_CLASSES
        noise = torch.randn(n, FEATURE_DIM, generator=generator, dtype=dtype)
        return Measure(centres[labels] + noise, labels, torch.full((n,), 1 / n, dtype=dtype))

    return cloud(NUM_EXAMPLES), cloud(2 * NUM_CLASSES)


def check_cost(cost: Cost) -> None:
    """Check a ground cost: shape, range, determinism, and that each row's costs depend on that row alone; and that
    `into`, if there is one, writes the same costs.

    Raises:
        AssertionError: a broken promise of `hf_otw.types.Cost`.
    """
    for dtype in (torch.float32, torch.float64):
        source, target = example_problem(dtype)
        before = [t.clone() for t in (*source[:3], *target[:3])]
        C = cost(source, target)
        n, m = len(source.labels), len(target.labels)
        _require(isinstance(C, Tensor), f"Expected a cost to return a tensor, got {type(C).__name__}.")
        _require(C.shape == (n, m), f"Expected a cost of shape {(n, m)}, rows by columns, got {tuple(C.shape)}.")
        _require(C.dtype == dtype, f"Expected a cost in the features' dtype {dtype}, got {C.dtype}.")
        _require(bool(torch.isfinite(C).all()), "Expected finite costs, got NaN or infinity.")
        _require(bool((C >= 0).all()), f"Expected costs >= 0, got a minimum of {C.min().item():.3g}.")
        _unchanged(before, (*source[:3], *target[:3]), "cost")
        _require(_close(C, cost(source, target)), "Expected a cost that gives the same answer twice.")
        part = slice(5, 9)
        rows = source.rows(part)
        # Row blocks are computed one at a time: nothing may be normalised over the rows at hand.
        _require(_close(C[part], cost(rows, target)), "Expected a row's costs not to depend on the other rows given.")
        into = getattr(cost, "into", None)
        if into is not None:
            out = torch.full_like(C, torch.nan)
            _require(
                into(out, source, target) is out and _close(C, out),
                "Expected `into(out, source, target)` to write the same costs into `out`, and to return it.",
            )


def check_solver(solver: Solver, *, atol: float = 5e-3) -> None:
    """Check a solver `(blocks, a, b, *, reg) -> TransportResult` at masses that are not uniform.

    The plan is rebuilt from the potentials, `T_ij = a_i b_j exp((f_i + g_j - C_ij) / reg)`, and everything reported is
    compared with it. `value` is `<T, C> + reg * KL(T given a x b)`.

    Args:
        solver: with default settings it must converge at `reg = 0.3` on 24 x 6 costs in `[0, 2]`.
        atol: tolerance on masses and values; its default allows for an L1 error of 1e-3 and for GeomLoss.

    Raises:
        AssertionError: a broken promise of `hf_otw.types.TransportResult`.
    """
    source, target = example_problem(torch.float64)
    reg, n, m = 0.3, len(source.labels), len(target.labels)
    a, b = _ramp(n), _ramp(m).flip(0)
    C = FeatureCost()(source, target)
    kept = C.clone()
    result = solver(CostBlocks.of_matrix(C), a, b, reg=reg)
    _require(isinstance(result, TransportResult), f"Expected a TransportResult, got {type(result).__name__}.")
    shapes = {"marginal_a": (n,), "potential_a": (n,), "potential_b": (m,), "value": (), "value_linear": ()}
    for name, shape in shapes.items():
        field = getattr(result, name)
        _require(field.shape == shape, f"Expected {name} of shape {shape}, got {tuple(field.shape)}.")
        _require(bool(torch.isfinite(field).all()), f"Expected a finite {name}.")
        _require(not field.requires_grad, f"Expected {name} to be detached from the graph.")
    _unchanged([kept], [C], "solver")

    log_ratio = (result.potential_a[:, None] + result.potential_b - C) / reg  # (n, 1) + (m,) - (n, m)
    plan = a[:, None] * b * log_ratio.exp()  # (n, 1) * (m,) * (n, m)
    linear = (plan * C).sum()
    kl = (plan * log_ratio).sum()  # both have mass 1
    error = (plan.sum(dim=0) - b).abs().sum()
    _agree(error, torch.zeros_like(error), atol, "the column masses of the plan and b (L1)")
    _agree(plan.sum(dim=1), result.marginal_a, atol, "the row masses of the plan and marginal_a")
    _agree(result.marginal_error, error, atol, "marginal_error and the plan's own")
    _agree(result.value_linear, linear, atol, "value_linear and <T, C>")
    _agree(result.value, linear + reg * kl, atol, "value and <T, C> + reg * KL(T given a x b)")
    _require(bool(result.converged), "Expected converged on an easy problem.")

    order = torch.arange(n).flip(0)
    again = solver(CostBlocks.of_matrix(C[order]), a[order], b, reg=reg)
    _agree(again.marginal_a, result.marginal_a[order], atol, "row masses after the rows were reordered")
    try:
        solver(CostBlocks.of_matrix(C), a, b, reg=0.0)
    except ValueError:
        return
    raise AssertionError("Expected a ValueError for reg = 0.")


def check_weighting(make_model: Callable[[], WeightModel]) -> None:
    """Check a weight model on `NUM_EXAMPLES` rows of `FEATURE_DIM` features in `NUM_CLASSES` equal classes.

    Args:
        make_model: builds a fresh model; two of them must be the same.

    Raises:
        AssertionError: a broken promise of `hf_otw.weighting.WeightModel`.
    """
    source, target = example_problem()
    index, cost = torch.arange(NUM_EXAMPLES), FeatureCost()
    before = [t.clone() for t in (index, *source[:3], *target[:3])]
    state = torch.get_rng_state()
    model = make_model()
    _require(isinstance(model, WeightModel), f"Expected a WeightModel, got {type(model).__name__}.")
    given = (target, cost) if model.needs_transport else (None, None)
    solved = model(index, source, *given)
    _require(torch.equal(state, torch.get_rng_state()), "Expected the global random state to be left alone.")
    _unchanged(before, (index, *source[:3], *target[:3]), "weight model")
    _check_weights(solved, NUM_EXAMPLES)
    mean = solved.weights.mean().item()
    _require(abs(mean - 1) < 1e-4, f"Expected weights of mean 1 over the training set, got {mean:.6g}.")

    same = make_model()(index, source, *given).weights
    _require(_close(same, solved.weights), "Expected two fresh models to give the same weights.")
    order = index.flip(0)
    moved = make_model()(order, source.rows(order), *given).weights
    # 1e-3: the order of a sum, after the many steps that some models take in float32.
    _require(_close(moved, solved.weights[order], 1e-3), "Expected the weights of reordered rows in that order.")

    restored = make_model()
    restored.load_state_dict(model.state_dict())
    part = index[3:11]
    rows = Measure(source.features[part], source.labels[part], torch.full((len(part),), 1 / len(part)))
    batch = model(part, rows, *given)
    _check_weights(batch, len(part))
    resumed = restored(part, rows, *given).weights
    _require(
        _close(resumed, batch.weights), "Expected a model restored from its state_dict to go on like the original."
    )


def _check_weights(solved: Weights, n: int) -> None:
    _require(isinstance(solved, Weights), f"Expected a Weights, got {type(solved).__name__}.")
    w = solved.weights
    _require(w.shape == (n,), f"Expected weights of shape {(n,)}, got {tuple(w.shape)}.")
    _require(w.is_floating_point() and not w.requires_grad, "Expected weights as floats, detached from the graph.")
    _require(bool(torch.isfinite(w).all()), "Expected finite weights, got NaN or infinity.")
    _require(bool((w >= 0).all()), f"Expected non-negative weights, got a minimum of {w.min().item():.3g}.")
    for name in ("value", "converged", "marginal_error"):
        shape = getattr(solved, name).shape
        _require(shape == (), f"Expected a scalar {name}, got shape {tuple(shape)}.")


def _ramp(n: int) -> Tensor:
    """Masses that are far from uniform, shape `(n,)`."""
    mass = torch.arange(1, n + 1, dtype=torch.float64)
    return mass / mass.sum()


def _require(ok: bool, message: str) -> None:
    if not ok:
        raise AssertionError(message)


def _close(actual: Tensor, expected: Tensor, atol: float = 1e-5) -> bool:
    return actual.shape == expected.shape and torch.allclose(actual, expected, atol=atol, rtol=1e-4)


def _agree(actual: Tensor, expected: Tensor, atol: float, what: str) -> None:
    gap = (actual - expected).abs().max().item()
    _require(gap <= atol, f"Expected {what} to agree within {atol:g}, but they differ by {gap:.3g}.")


def _unchanged(before: list[Tensor], after: tuple[Tensor, ...] | list[Tensor], what: str) -> None:
    same = all(torch.equal(x, y) for x, y in zip(before, after, strict=True))
    _require(same, f"Expected a {what} to leave its arguments as they are, but it writes to one of them.")
