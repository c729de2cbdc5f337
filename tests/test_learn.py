"""`learn_weights`: every option of the schema, its default, its inputs and its errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hf_otw.transport.blocks
from hf_otw.config.options import COSTS, TARGET_MASSES, TARGET_POINTS, WEIGHTINGS
from hf_otw.features.stored import Standardizer
from hf_otw.learn import learn_weights
from hf_otw.transport.costs import CombinedCost, FeatureCost, LabelCost
from hf_otw.types import Measure
from hf_otw.weighting import Agreement, CleanPosterior, Uniform, WeightModel, WeightNet
from hf_otw.weighting.base import exact, mean_one
from hf_otw.weighting.statistics import effective_sample_size
from hf_otw.weighting.target import balanced_class_mass, examples_target
from tests.compare import assert_equal_values, assert_weights
from tests.generators import learn_inputs

#: All but the stock Trainer, and what reads a column of a data set.
NAMES = [name for name in WEIGHTINGS if name not in ("none", "column")]
#: Steps that are not taken back: a line search of two may end where it began.
FEW = {"steps": 2, "lr": 0.05}
#: Values other than the default, for each argument that a weighting takes: what is missing here fails below.
VALUES = {
    "reg": [{"reg": 0.4}],
    "target_ess": [{"target_ess": 0.5}],
    "beta": [{"beta": 0.9}],
    "objective": [FEW | {"objective": name} for name in ("entropy", "kl", "kl_geomloss", "sharp")],
    "steps": [{"steps": 2}],
    "lr": [FEW],
    "raw": [{"raw": True, "steps": 2}],
    "hidden_dim": [FEW | {"hidden_dim": 5}],
}
FEW_STEPS = {"table": FEW, "net": FEW}
#: The same for the shared options; the second is what they are compared with.
SHARED = {
    "cost": ({"cost": "label"}, {}),
    "cost_kwargs": ({"cost": "combined", "cost_kwargs": {"label_weight": 0.3}}, {"cost": "combined"}),
    "target_mass": ({"target_mass": "class_prior"}, {}),
    "target_points": ({"target_points": "prototypes"}, {"target_points": "examples"}),
    "standardize_features": ({"standardize_features": False}, {}),
}
CLOSED = {"weighting": "closed_form"}
TABLE = {"weighting": "table", "weighting_kwargs": {"objective": "kl", "steps": 3}}


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


def choices():
    """Each weighting as it comes, in few steps, and with each of its arguments."""
    for name in NAMES:
        yield pytest.param(name, FEW_STEPS.get(name, {}), id=name)
        for argument in WEIGHTINGS[name].arguments:
            for kwargs in VALUES[argument.name]:
                slow = [pytest.mark.slow] if kwargs.get("objective") == "kl_geomloss" else []
                yield pytest.param(name, kwargs, marks=slow, id=f"{name}-{kwargs}")


@pytest.mark.parametrize(("weighting", "kwargs"), list(choices()))
def test_every_combination_of_options(weighting, kwargs):
    used = WEIGHTINGS[weighting].uses
    tables = {"cost": COSTS, "target_points": TARGET_POINTS, "target_mass": TARGET_MASSES}
    combinations = [{}]
    for option, table in tables.items():
        if option in used:
            combinations = [chosen | {option: value} for chosen in combinations for value in table]
    assert len(combinations) in (1, 6, 18)
    for chosen in combinations:
        check_result(learn_weights(*data(dtype=torch.float32), weighting=weighting, weighting_kwargs=kwargs, **chosen))


def differ(weighting, one, other):
    """Features of unequal scale, on which standardisation matters to all."""
    z, y, z_meta, y_meta = data()
    scale = torch.logspace(-2, 2, 6, dtype=z.dtype)
    found = [
        learn_weights(z * scale, y, z_meta * scale, y_meta, weighting=weighting, **k).weights for k in (one, other)
    ]
    return (found[0] - found[1]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("weighting", "argument"),
    [(name, argument.name) for name in NAMES for argument in WEIGHTINGS[name].arguments],
)
def test_every_argument_changes_the_weights(weighting, argument):
    """Kills an argument that is taken and dropped."""
    kwargs = VALUES[argument][-1]
    rest = {name: value for name, value in kwargs.items() if name != argument}
    assert differ(weighting, *({"weighting_kwargs": found} for found in (kwargs, rest)))


@pytest.mark.parametrize("option", SHARED)
@pytest.mark.parametrize("weighting", NAMES)
def test_every_option_changes_the_weights(weighting, option):
    """Or is refused, where the weighting does not read it. Kills an option that is taken and dropped, and a schema
    that says otherwise.
    """
    one, other = ({"weighting_kwargs": FEW_STEPS.get(weighting)} | found for found in SHARED[option])
    if option in WEIGHTINGS[weighting].uses:
        assert differ(weighting, one, other)
    else:
        with pytest.raises(ValueError, match=f"Expected no cost|Expected no {option} with weighting='{weighting}'"):
            learn_weights(*data(), weighting=weighting, **one)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_an_argument_of_another_weighting_is_refused(weighting):
    """Kills an idle setting: 40 of 41 once passed without a word."""
    own = {argument.name for argument in WEIGHTINGS[weighting].arguments}
    others = {argument.name for option in WEIGHTINGS.values() for argument in option.arguments} - own
    assert others
    for name in others:
        with pytest.raises(
            ValueError, match=f"(?s)Expected.*(got '{name}'|got '{weighting}', which belongs to the Trainer)"
        ):
            learn_weights(*data(), weighting=weighting, weighting_kwargs={name: 1})


def test_the_default_by_hand():
    """The posterior of right labels from standardised features, each meta example a column, balanced classes."""
    z, y, z_meta, y_meta = data()
    scaler = Standardizer.fit(z)
    source = Measure(scaler(z), y, torch.full((45,), 1 / 45, dtype=torch.float64))
    target = examples_target(scaler(z_meta), y_meta, torch.full((3,), 1 / 3, dtype=torch.float64))
    expected = CleanPosterior(class_mass=balanced_class_mass)(torch.arange(45), source, target)
    result = learn_weights(z, y, z_meta, y_meta)
    assert_equal_values(result.weights, expected.weights, atol=1e-12)
    assert result.value == pytest.approx(float(expected.value))
    assert result.value > 0.02, "no label was doubted: nothing is tested"
    assert_equal_values(result.class_totals, torch.full((3,), 1 / 3, dtype=torch.float64), atol=1e-9)


def test_the_closed_form_by_hand():
    """Standardised features, a prototype per class, combined cost, balanced masses, one softmax per column."""
    z, y, z_meta, y_meta = data(m=8)
    mean, std = z.mean(0), z.std(0, correction=0)
    x, x_meta = (z - mean) / std, (z_meta - mean) / std
    means = torch.stack([x_meta[y_meta == k].mean(dim=0) for k in range(3)])
    C = 1 - torch.nn.functional.cosine_similarity(x[:, None], means[None], dim=2) + (y[:, None] != torch.arange(3))
    w = 45 / 3 * (-C / 0.1).softmax(dim=0).sum(dim=1)
    result = learn_weights(z, y, z_meta, y_meta, **CLOSED)
    assert_equal_values(result.weights, w, atol=1e-9)
    assert result.ess == pytest.approx(effective_sample_size(w).item())
    totals = torch.stack([w[y == k].sum() / 45 for k in range(3)])
    assert_equal_values(result.class_totals, totals, atol=1e-9)
    assert result.converged
    assert result.marginal_error == 0


def test_label_weight_of_null_is_that_of_the_paper():
    """2 / K, the mean squared difference of one-hot labels."""
    found = learn_weights(*data(), **CLOSED, cost_kwargs={"label_weight": None}).weights
    assert_equal_values(found, learn_weights(*data(), **CLOSED, cost=CombinedCost(2 / 3)).weights, atol=1e-12)


def test_numpy_in_numpy_out():
    arrays = [t.numpy() for t in data()]
    result, expected = learn_weights(*arrays), learn_weights(*data())
    for name in ("weights", "class_totals", "ess_per_class"):
        field = getattr(result, name)
        assert isinstance(field, np.ndarray)
        np.testing.assert_array_equal(field, getattr(expected, name).numpy())
        assert isinstance(getattr(expected, name), torch.Tensor)


@pytest.mark.parametrize("options", [{}, CLOSED], ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_precision(dtype, options):
    """float64 stays, all else is solved in float32. 1e-3: float32 rounding of a cost over reg, e to that power."""
    z, y, z_meta, y_meta = data()
    z, z_meta = z.bfloat16().double(), z_meta.bfloat16().double()
    expected = learn_weights(z, y, z_meta, y_meta, **options)
    result = learn_weights(z.to(dtype), y, z_meta.to(dtype), y_meta, **options)
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


@pytest.mark.parametrize("weighting", ["clean_posterior", "agreement", "closed_form"])
def test_mislabelled_rows_lose_weight(weighting):
    z, y, z_meta, y_meta = data()
    wrong = y != data(noise=False)[1]
    mass = {"target_mass": "class_prior"} if "target_mass" in WEIGHTINGS[weighting].uses else {}
    w = learn_weights(z, y, z_meta, y_meta, weighting=weighting, **mass).weights
    assert w[wrong].mean() < 0.5 * w[~wrong].mean()


@pytest.mark.parametrize("weighting", ["agreement", Agreement()], ids=["name", "object"])
def test_judges_of_labels_do_not_see_them(weighting):
    """Kills a default `combined` cost for a weighting that judges labels."""
    found = learn_weights(*data(), weighting=weighting).weights
    expected = learn_weights(*data(), weighting=weighting, cost=FeatureCost()).weights
    assert_equal_values(found, expected, atol=1e-12)


@pytest.mark.parametrize("weighting", ["closed_form", "table", "net"])
def test_free_rows_see_labels(weighting):
    """Kills a default `feature` cost where labels enter by the cost alone."""
    options = {"weighting": weighting, "weighting_kwargs": FEW_STEPS.get(weighting)}
    found = learn_weights(*data(), **options).weights
    expected = learn_weights(*data(), **options, cost=CombinedCost()).weights
    assert_equal_values(found, expected, atol=1e-12)


def test_a_callable_cost_is_used_as_it_is():
    seen = []

    def cost(source, target):
        seen.append(source.features)
        return FeatureCost()(source, target)

    found = learn_weights(*data(), **CLOSED, cost=cost).weights
    assert_equal_values(found, learn_weights(*data(), **CLOSED, cost="feature").weights, atol=1e-12)
    assert_equal_values(seen[0], Standardizer.fit(data()[0])(data()[0]), atol=1e-12)


def test_a_weight_model_is_used_as_it_is():
    result = learn_weights(*data(), weighting=Uniform())
    assert torch.equal(result.weights, torch.ones(45, dtype=torch.float64))
    assert np.isnan(result.value)
    assert result.ess == pytest.approx(45)


@pytest.mark.parametrize("options", [CLOSED, {"weighting": "agreement"}, TABLE, TABLE | {"weighting": "net"}], ids=str)
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


@pytest.mark.parametrize("options", [{}, CLOSED], ids=str)
def test_reordering_rows_reorders_the_weights(options):
    z, y, z_meta, y_meta = data()
    order = torch.randperm(45, generator=torch.Generator().manual_seed(1))
    found = learn_weights(z[order], y[order], z_meta, y_meta, **options).weights
    assert_equal_values(found, learn_weights(z, y, z_meta, y_meta, **options).weights[order], atol=1e-9)


Z, Y, ZM, YM = data()
# Ranges of the other arguments are in tests/config.
ERRORS = {
    "weighting": ("Did you mean `closed_form`", {"weighting": "closedform"}),
    "cost": ("Did you mean `feature`", CLOSED | {"cost": "features"}),
    "target_points": ("Expected target_points to be one of", {"target_points": "prototype"}),
    "target_mass": ("Expected target_mass to be one of", {"target_mass": "uniform"}),
    "reg": (r"Expected 0 < weighting_kwargs\['reg'\], got 0", CLOSED | {"weighting_kwargs": {"reg": 0}}),
    "unknown argument": (
        r"weighting_kwargs for 'closed_form' to hold what it takes \(reg, target_ess\), got 'regg'",
        CLOSED | {"weighting_kwargs": {"regg": 0.1}},
    ),
    "unknown argument of the cost": (
        r"cost_kwargs for 'feature' to hold what it takes \(block_weights\), got 'label_weight'",
        CLOSED | {"cost": "feature", "cost_kwargs": {"label_weight": 0.1}},
    ),
    "reg and target_ess": (
        "Expected one of reg, target_ess in weighting_kwargs",
        CLOSED | {"weighting_kwargs": {"reg": 0.1, "target_ess": 0.5}},
    ),
    "blocks that are not there": (
        r"a number in cost_kwargs\['block_weights'\] for each feature_module",
        CLOSED | {"cost_kwargs": {"block_weights": [1.0, 2.0]}},
    ),
    "learned cost and reg": (
        r"weighting_kwargs for 'clean_posterior' to hold what it takes \(no arguments\), got 'reg'",
        {"weighting_kwargs": {"reg": 0.1}},
    ),
    "learned cost and a cost": (
        r"Expected no cost of your own with weighting='clean_posterior', .*got FeatureCost\(.*agreement",
        {"cost": FeatureCost()},
    ),
    "learned cost of an object and a cost": (
        "Expected no cost of your own with weighting='CleanPosterior'",
        {"weighting": CleanPosterior(), "cost": FeatureCost()},
    ),
    "learned cost of an object and a named cost": (
        "Expected no cost with weighting='CleanPosterior'",
        {"weighting": CleanPosterior(), "cost": "feature"},
    ),
    "arguments of an object": (
        r"weighting_kwargs for 'WeightNet' to hold what it takes \(no arguments\), got 'reg'",
        {"weighting": WeightNet(6), "weighting_kwargs": {"reg": 0.1}},
    ),
    "cost of a weighting without transport": (
        "Expected no cost of your own with weighting='uniform'",
        {"weighting": "uniform", "cost": LabelCost()},
    ),
    "width": ("meta_features of width 6, as features, got 5", {"meta_features": ZM[:, :5]}),
    "kinds": ("one kind of array, got Tensor and ndarray", {"meta_features": ZM.numpy()}),
    "empty": ("with n > 0", {"features": Z[:0], "labels": Y[:0]}),
    "flat": (r"features of shape \(n, D\)", {"features": Z[:, 0]}),
    "lengths": (r"got \(45, 6\) and \(44,\)", {"labels": Y[:-1]}),
    "float labels": ("Expected integer labels, got torch.float32", {"labels": Y.float()}),
    "float meta labels": ("Expected integer meta_labels", {"meta_labels": YM.float()}),
    "negative": (r"in the training set, got -1\.\.1", {"labels": Y - 1}),
    "absent": (r"every class in the meta set, but 1 of 3 are absent \(2\)", {"meta_labels": YM.clamp(max=1)}),
    "absent in training": ("every class in the training set", {"labels": Y.clamp(max=1)}),
    "nan": ("rows hold NaN or infinity", {"features": Z * torch.nan}),
    "meta nan": ("Expected finite meta_features", {"meta_features": ZM * torch.inf}),
    "equal": ("all 45 rows are equal", {"features": torch.ones_like(Z)}),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    message, change = ERRORS[name]
    arguments = {"features": Z, "labels": Y, "meta_features": ZM, "meta_labels": YM} | change
    with pytest.raises(TypeError if name == "kinds" else ValueError, match=message):
        learn_weights(**arguments)


# Agreement is refused where no row at all agrees with its label: not at a reg this large.
OPTIONS = [{}, {"target_mass": "class_prior"}, {"weighting": "inverse_frequency"}, {"weighting": "effective_number"}]
OPTIONS += [
    CLOSED | {"weighting_kwargs": kwargs} for kwargs in ({"reg": 1e-3}, {}, {"reg": 10.0}, {"target_ess": 0.5})
]
OPTIONS += [CLOSED | {"target_mass": "square_root"}, {"weighting": "agreement", "weighting_kwargs": {"reg": 0.5}}]
OPTIONS += [CLOSED | {"target_points": "prototypes", "weighting_kwargs": {"reg": 1e-3}}]


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
    expected = learn_weights(z, y, z_meta, y_meta, **CLOSED).weights
    found = learn_weights(z * scale + shift, y, z_meta * scale + shift, y_meta, **CLOSED).weights
    assert_equal_values(found, expected, atol=1e-6, rtol=1e-6)
