from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hf_otw.transport.blocks
from hf_otw.features.stored import Standardizer
from hf_otw.learn import JUDGES, learn_weights
from hf_otw.transport import OBJECTIVES, BoundedRows, FixedRows, FreeRows, RelaxedRows
from hf_otw.transport.costs import COSTS, FeatureCost, LabelCost
from hf_otw.weighting import Agreement, CleanPosterior, KeepClassTotals, OwnClassMass, Uniform, WeightModel, WeightNet
from hf_otw.weighting.base import exact, mean_one
from hf_otw.weighting.statistics import effective_sample_size
from hf_otw.weighting.target import TARGET_MASSES, TARGETS
from tests.compare import assert_equal_values, assert_weights
from tests.generators import learn_inputs


def data(n=45, m=9, dtype=torch.float64, noise=True):
    """Three classes 5:3:1, a tenth of the labels wrong."""
    g = torch.Generator().manual_seed(0)
    labels = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2]).repeat(n // 9)
    centres = 2 * torch.randn(3, 6, generator=g, dtype=dtype)
    z = centres[labels] + torch.randn(n, 6, generator=g, dtype=dtype)
    given = torch.where((torch.arange(n) % 10 == 0) & noise, (labels + 1) % 3, labels)
    meta_labels = torch.arange(m) % 3
    return z, given, centres[meta_labels] + torch.randn(m, 6, generator=g, dtype=dtype), meta_labels


def check_result(result, n=45, k=3):
    assert_weights(torch.as_tensor(result.weights), n)
    torch.testing.assert_close(float(result.class_totals.sum()), 1.0, atol=1e-5, rtol=0)
    assert result.class_totals.shape == result.ess_per_class.shape == (k,)
    assert 1 - 1e-4 <= result.ess <= n * (1 + 1e-4)
    assert isinstance(result.converged, bool)


CHOICES = [{}, {"target_ess": 0.5}]
CHOICES += [{"rows": rows} for rows in (FreeRows(), FixedRows(), RelaxedRows(0.3), BoundedRows(1.5))]
CHOICES += [{"objective": name, "steps": 2} for name in ("kl", "sharp", "divergence")]
CHOICES += [
    pytest.param({"objective": name, "steps": 1}, marks=pytest.mark.slow)
    for name in OBJECTIVES
    if name.endswith("geomloss")
]
CHOICES += [{"weighting": name} for name in JUDGES]
CHOICES += [{"weighting": WeightNet(6, steps=2)}, {"weighting": KeepClassTotals(OwnClassMass())}]


@pytest.mark.parametrize("choice", CHOICES, ids=lambda c: "-".join(map(str, c.values())).split("(\n")[0] or "default")
@pytest.mark.parametrize("cost", COSTS)
def test_every_combination_of_options(choice, cost):
    for target in TARGETS:
        for target_mass in TARGET_MASSES:
            result = learn_weights(
                *data(dtype=torch.float32), cost=cost, target=target, target_mass=target_mass, **choice
            )
            check_result(result)


def test_the_default_by_hand():
    """Standardised features, combined cost, a class's prior mass shared among its meta examples, one softmax."""
    z, y, z_meta, y_meta = data()
    mean, std = z.mean(0), z.std(0, correction=0)
    x, x_meta = (z - mean) / std, (z_meta - mean) / std
    C = 1 - torch.nn.functional.cosine_similarity(x[:, None], x_meta[None], dim=2) + (y[:, None] != y_meta)
    b = torch.stack([(y == k).double().mean() / (y_meta == k).sum() for k in y_meta])
    w = 45 * (b * (-C / 0.1).softmax(dim=0)).sum(dim=1)
    result = learn_weights(z, y, z_meta, y_meta)
    assert_equal_values(result.weights, w, atol=1e-9)
    assert result.ess == pytest.approx(effective_sample_size(w).item())
    totals = torch.stack([w[y == k].sum() / 45 for k in range(3)])
    assert_equal_values(result.class_totals, totals, atol=1e-9)
    assert result.converged
    assert result.marginal_error == 0


@pytest.mark.parametrize(
    "options",
    [
        {"cost": "feature"},
        {"cost": "label"},
        {"cost": LabelCost(0.5)},
        {"objective": "kl"},
        {"objective": "divergence", "steps": 5},
        {"reg": 0.3},
        {"target_ess": 0.6},
        {"target_mass": "balanced"},
        {"target": "prototypes"},
        {"rows": BoundedRows(1.2)},
        {"weighting": "own_class"},
        {"standardize": False},
    ],
    ids=str,
)
def test_every_option_changes_the_weights(options):
    """Kills an option that is taken and dropped."""
    default, other = learn_weights(*data()), learn_weights(*data(), **options)
    assert (default.weights - other.weights).abs().max() > 1e-3


def test_numpy_in_numpy_out():
    arrays = [t.numpy() for t in data()]
    result, expected = learn_weights(*arrays), learn_weights(*data())
    for name in ("weights", "class_totals", "ess_per_class"):
        field = getattr(result, name)
        assert isinstance(field, np.ndarray)
        np.testing.assert_array_equal(field, getattr(expected, name).numpy())
        assert isinstance(getattr(expected, name), torch.Tensor)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_precision(dtype):
    """float64 stays, all else is solved in float32. 1e-3: float32 rounding of a cost over reg, e to that power."""
    z, y, z_meta, y_meta = data()
    z, z_meta = z.bfloat16().double(), z_meta.bfloat16().double()
    expected = learn_weights(z, y, z_meta, y_meta)
    result = learn_weights(z.to(dtype), y, z_meta.to(dtype), y_meta)
    assert result.weights.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert_equal_values(result.weights.double(), expected.weights, atol=1e-3)


def test_awkward_arrays():
    """Read-only memory (a memory map, an Arrow column), negative strides, small label types."""
    z, y, z_meta, y_meta = (t.numpy() for t in data())
    expected = learn_weights(z, y, z_meta, y_meta).weights
    frozen = z.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(learn_weights(frozen, y.astype(np.int8), z_meta, y_meta).weights, expected)
    np.testing.assert_allclose(learn_weights(z[::-1], y[::-1], z_meta, y_meta).weights, expected[::-1], atol=1e-9)


class ByNorm(WeightModel):
    def forward(self, index, source, target, cost):
        return exact(mean_one(source.features.norm(dim=1)))


def test_features_with_a_graph_give_weights_without():
    z, *rest = data()
    result = learn_weights(z.clone().requires_grad_(), *rest, weighting=ByNorm())
    assert not result.weights.requires_grad


def test_inputs_are_left_alone():
    given = data()
    before = [t.clone() for t in given]
    learn_weights(*given)
    assert all(torch.equal(x, y) for x, y in zip(given, before, strict=True))


def test_mislabelled_rows_lose_weight():
    z, y, z_meta, y_meta = data()
    wrong = y != data(noise=False)[1]
    for options in ({}, *({"weighting": name} for name in JUDGES)):
        w = learn_weights(z, y, z_meta, y_meta, **options).weights
        assert w[wrong].mean() < 0.5 * w[~wrong].mean(), options


@pytest.mark.parametrize("model", [Agreement(), KeepClassTotals(Agreement())])
def test_judges_of_labels_do_not_see_them(model):
    """Kills a default `combined` cost for a judge, also for one inside `KeepClassTotals`."""
    found = learn_weights(*data(), weighting=model).weights
    expected = learn_weights(*data(), weighting=model, cost=FeatureCost()).weights
    assert_equal_values(found, expected, atol=1e-12)


def test_a_callable_cost_is_used_as_it_is():
    seen = []

    def cost(source, target):
        seen.append(source.features)
        return FeatureCost()(source, target)

    found = learn_weights(*data(), cost=cost).weights
    assert_equal_values(found, learn_weights(*data(), cost="feature").weights, atol=1e-12)
    assert_equal_values(seen[0], Standardizer.fit(data()[0])(data()[0]), atol=1e-12)


def test_a_weight_model_is_used_as_it_is():
    result = learn_weights(*data(), weighting=Uniform())
    assert torch.equal(result.weights, torch.ones(45, dtype=torch.float64))
    assert np.isnan(result.value)
    assert result.ess == pytest.approx(45)


@pytest.mark.parametrize(
    "options", [{}, {"rows": RelaxedRows(0.3)}, {"weighting": "own_class"}, {"objective": "kl", "steps": 3}]
)
def test_row_blocks_do_not_change_the_weights(options, monkeypatch):
    expected = learn_weights(*data(), **options).weights
    whole = hf_otw.transport.blocks.CostBlocks.__init__
    made = []

    def tiny(self, *args, **kwargs):
        whole(self, *args, **kwargs | {"block_rows": 7, "cache_bytes": 0})
        made.append(self)

    monkeypatch.setattr(hf_otw.transport.blocks.CostBlocks, "__init__", tiny)
    found = learn_weights(*data(), **options).weights
    assert made
    assert_equal_values(found, expected, atol=1e-6)


def test_reordering_rows_reorders_the_weights():
    z, y, z_meta, y_meta = data()
    order = torch.randperm(45, generator=torch.Generator().manual_seed(1))
    found = learn_weights(z[order], y[order], z_meta, y_meta).weights
    assert_equal_values(found, learn_weights(z, y, z_meta, y_meta).weights[order], atol=1e-9)


Z, Y, ZM, YM = data()
ERRORS = {
    "reg": (ValueError, "Expected reg > 0", {"reg": 0}),
    "target_ess": (ValueError, "0 < target_ess < 1", {"target_ess": 2}),
    "steps": (ValueError, "Expected steps >= 1", {"objective": "kl", "steps": 0}),
    "cost": (ValueError, "Did you mean `feature`", {"cost": "features"}),
    "objective": (ValueError, "Expected objective to be one of", {"objective": "entropic"}),
    "target": (ValueError, "Expected target to be one of", {"target": "prototype"}),
    "target_mass": (ValueError, "Expected target_mass to be one of", {"target_mass": "uniform"}),
    "weighting": (ValueError, "Expected weighting to be one of", {"weighting": "ownclass"}),
    "ess and objective": (ValueError, "target_ess with the closed form only", {"target_ess": 0.5, "objective": "kl"}),
    "ess and rows": (ValueError, "target_ess with the closed form only", {"target_ess": 0.5, "rows": RelaxedRows()}),
    "ess and weighting": (
        ValueError,
        "target_ess with the closed form",
        {"target_ess": 0.5, "weighting": "agreement"},
    ),
    "rows and objective": (
        ValueError,
        "Expected rows with objective='entropy'",
        {"rows": FixedRows(), "objective": "kl"},
    ),
    "rows and weighting": (ValueError, "Expected rows with", {"rows": FixedRows(), "weighting": "agreement"}),
    "learned cost and reg": (
        ValueError,
        "Expected no reg with weighting='clean_posterior'.*got 0.1.*agreement",
        {"weighting": "clean_posterior", "reg": 0.1},
    ),
    "learned cost and a cost": (
        ValueError,
        r"Expected no cost of your own with CleanPosterior, which learns one, got FeatureCost\(.*agreement",
        {"weighting": "clean_posterior", "cost": FeatureCost()},
    ),
    "learned cost inside and a cost": (
        ValueError,
        r"no cost of your own with KeepClassTotals\(CleanPosterior\)",
        {"weighting": KeepClassTotals(CleanPosterior()), "cost": FeatureCost()},
    ),
    "width": (ValueError, "meta_features of width 6, as features, got 5", {"meta_features": ZM[:, :5]}),
    "kinds": (TypeError, "one kind of array, got Tensor and ndarray", {"meta_features": ZM.numpy()}),
    "empty": (ValueError, "with n > 0", {"features": Z[:0], "labels": Y[:0]}),
    "flat": (ValueError, r"features of shape \(n, D\)", {"features": Z[:, 0]}),
    "lengths": (ValueError, r"got \(45, 6\) and \(44,\)", {"labels": Y[:-1]}),
    "float labels": (ValueError, "Expected integer labels, got torch.float32", {"labels": Y.float()}),
    "float meta labels": (ValueError, "Expected integer meta_labels", {"meta_labels": YM.float()}),
    "negative": (ValueError, r"in the training set, got -1\.\.1", {"labels": Y - 1}),
    "absent": (
        ValueError,
        r"every class in the meta set, but 1 of 3 are absent \(2\)",
        {"meta_labels": YM.clamp(max=1)},
    ),
    "absent in training": (ValueError, "every class in the training set", {"labels": Y.clamp(max=1)}),
    "nan": (ValueError, "rows hold NaN or infinity", {"features": Z * torch.nan}),
    "meta nan": (ValueError, "Expected finite meta_features", {"meta_features": ZM * torch.inf}),
    "equal": (ValueError, "all 45 rows are equal", {"features": torch.ones_like(Z)}),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    kind, message, change = ERRORS[name]
    arguments = {"features": Z, "labels": Y, "meta_features": ZM, "meta_labels": YM} | change
    with pytest.raises(kind, match=message):
        learn_weights(**arguments)


# own_class and agreement are refused where no row at all agrees with its label: not at a reg this large.
OPTIONS = [{"reg": 1e-3}, {"reg": 0.1}, {"reg": 10.0}, {"target_ess": 0.5}, {"target_mass": "balanced"}]
OPTIONS += [{"rows": BoundedRows(1.2)}, {"rows": RelaxedRows(), "reg": 1e-3}, {"target": "prototypes", "reg": 1e-3}]
OPTIONS += [{"weighting": "clean_posterior"}]
OPTIONS += [{"weighting": name, "reg": 0.5} for name in JUDGES if name != "clean_posterior"]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(inputs=learn_inputs(), options=st.sampled_from(OPTIONS))
def test_weights_are_weights_whatever_the_data(inputs, options):
    """One class, one feature, duplicates, 10,000 : 1, one meta example a class, reg 1e-3, features of 1e-3 or 1e3."""
    result = learn_weights(*inputs, **options)
    check_result(result, len(inputs[1]), int(inputs[1].max()) + 1)
    assert np.isfinite(result.marginal_error)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(inputs=learn_inputs(), scale=st.sampled_from([1e-2, 7.0, 1e2]), shift=st.sampled_from([0.0, 1.0]))
def test_standardisation_makes_units_irrelevant(inputs, scale, shift):
    """Rounding of a shifted feature is 1e-7 * shift / spread in float32, over reg: 1e-2 of a weight. Hence float64."""
    z, y, z_meta, y_meta = (t.double() if t.is_floating_point() else t for t in inputs)
    expected = learn_weights(z, y, z_meta, y_meta).weights
    found = learn_weights(z * scale + shift, y, z_meta * scale + shift, y_meta).weights
    assert_equal_values(found, expected, atol=1e-6, rtol=1e-6)
