from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from hf_otw.features.stored import Standardizer
from hf_otw.transport.blocks import CostBlocks
from hf_otw.transport.costs import CombinedCost, FeatureCost, LabelCost
from tests.compare import assert_equal_values
from tests.generators import random_problem


def test_feature_cost_is_one_minus_cosine():
    source, target, *_ = random_problem(seed=1)
    expected = 1 - F.cosine_similarity(source.features[:, None], target.features[None], dim=2)
    assert_equal_values(FeatureCost()(source, target), expected, atol=1e-12)


def test_feature_cost_by_hand():
    source, target, *_ = random_problem(4, 3, width=2, classes=1)
    source = source._replace(features=torch.tensor([[2.0, 0], [0, 5], [-3, 0], [0, 0]], dtype=torch.float64))
    target = target._replace(features=torch.tensor([[1.0, 0], [0, 1], [1, 1]], dtype=torch.float64))
    half = 1 - 0.5**0.5
    # The last row: a zero vector is at distance 1 from everything, not NaN.
    expected = torch.tensor([[0, 1, half], [1, 0, half], [2, 1, 2 - half], [1, 1, 1]], dtype=torch.float64)
    assert_equal_values(FeatureCost()(source, target), expected, atol=1e-12)


def test_feature_cost_does_not_see_the_scale_of_a_row():
    source, target, *_ = random_problem()
    scaled = source._replace(features=source.features * torch.logspace(-3, 3, 12, dtype=torch.float64)[:, None])
    assert_equal_values(FeatureCost()(scaled, target), FeatureCost()(source, target), atol=1e-12)


def test_feature_cost_is_never_negative():
    """Kills a missing clamp: in float32 the cosine of a vector with itself may exceed 1."""
    g = torch.Generator().manual_seed(0)
    z = torch.randn(200, 37, generator=g)
    source, *_ = random_problem(200, 2, dtype=torch.float32)
    same = source._replace(features=z)
    unclamped = 1 - F.normalize(z, dim=1) @ F.normalize(z, dim=1).T
    assert unclamped.min() < 0, "the clamp is not exercised"
    assert FeatureCost()(same, same).min() >= 0


def test_label_cost_by_hand():
    source, target, *_ = random_problem(4, 3)
    expected = torch.tensor([[0.0, 1, 1], [1, 0, 1], [1, 1, 0], [0, 1, 1]], dtype=torch.float64)
    assert_equal_values(LabelCost()(source, target), expected, atol=0)
    assert_equal_values(LabelCost(2 / 3)(source, target), expected * 2 / 3, atol=0)


@pytest.mark.parametrize("label_weight", [0.0, 0.3, 5.0])
def test_combined_cost_is_the_sum(label_weight):
    source, target, *_ = random_problem()
    expected = FeatureCost()(source, target) + label_weight * LabelCost()(source, target)
    assert_equal_values(CombinedCost(label_weight)(source, target), expected, atol=1e-12)


@pytest.mark.parametrize("cache_bytes", [0, 2**20])
@pytest.mark.parametrize("block_rows", [1, 5, 12, 100])
def test_blocks_are_the_matrix(block_rows, cache_bytes):
    """Kills: dropping the last, shorter block; keeping blocks in the wrong order."""
    problem = random_problem()
    blocks = CostBlocks(problem.cost, problem.source, problem.target, block_rows=block_rows, cache_bytes=cache_bytes)
    for _ in range(3):
        seen = torch.full_like(problem.C, torch.nan)
        for rows, C in blocks:
            seen[rows] = C
        assert_equal_values(seen, problem.C, atol=1e-12)


@pytest.mark.parametrize(("cache_bytes", "calls"), [(0, 9), (12 * 5 * 8 - 1, 9), (12 * 5 * 8, 3)])
def test_blocks_are_computed_once_when_they_fit(cache_bytes, calls):
    problem, count = random_problem(), []

    def counted(source, target):
        count.append(len(source.labels))
        return problem.cost(source, target)

    blocks = CostBlocks(counted, problem.source, problem.target, block_rows=5, cache_bytes=cache_bytes)
    for _ in range(3):
        list(blocks)
    assert len(count) == calls


@pytest.mark.parametrize("cost", [FeatureCost(), CombinedCost(), CombinedCost(0.5, FeatureCost((2, 3)))])
@pytest.mark.parametrize("sets", [False, True])
def test_blocks_that_do_not_fit_share_memory(cost, sets):
    """Kills: fresh memory a block; costs that differ when they are written into memory that is there; the rest of a
    block before in a shorter block; a few rows that are compared with the columns one by one.
    """
    problem = random_problem(width=5)
    source, target = problem.source, problem.target
    if sets:
        vectors = torch.rand(12, 3, dtype=torch.float64)
        source = source._replace(label_vectors=vectors)
        target = target._replace(label_vectors=vectors[: len(target.labels)])
    blocks = CostBlocks(cost, source, target, block_rows=5, cache_bytes=0)
    expected, places = cost(source, target), set()
    for _ in range(2):
        for rows, C in blocks:
            places.add(C.data_ptr())
            assert_equal_values(C, expected[rows], atol=1e-12)
    assert len(places) == 1


def test_an_abandoned_pass_leaves_the_blocks_whole():
    problem = random_problem()
    blocks = CostBlocks(problem.cost, problem.source, problem.target, block_rows=5)
    next(iter(blocks))
    assert_equal_values(torch.cat([C for _, C in blocks]), problem.C, atol=1e-12)


def test_blocks_of_a_matrix():
    C = random_problem().C
    ((rows, same),) = CostBlocks.of_matrix(C)
    assert rows == slice(0, 12)
    assert same is C


@pytest.mark.parametrize("shares", [(1.0,), (1.0, 1.0, 1.0), (-0.5, 2.0), (0.0, 0.0)])
def test_shares_of_blocks_are_checked(shares):
    with pytest.raises(ValueError, match="Expected one share >= 0 for each of the 2 feature blocks"):
        FeatureCost((2, 3), shares)


@pytest.mark.parametrize(("given", "shares"), [((), (0.5, 0.5)), ((1.0, 3.0), (0.25, 0.75)), ((0.0, 0.5), (0.0, 1.0))])
def test_blocks_are_mixed_by_their_shares(given, shares):
    problem = random_problem()
    width = problem.source.features.shape[1]
    assert width > 2

    def cosine(part):
        sides = (F.normalize(side.features[:, part], dim=1) for side in (problem.source, problem.target))
        return 1 - next(sides) @ next(sides).T

    expected = shares[0] * cosine(slice(0, 2)) + shares[1] * cosine(slice(2, None))
    C = FeatureCost((2, width - 2), given)(problem.source, problem.target)
    torch.testing.assert_close(C, expected)


def test_blocks_are_all_of_the_features():
    with pytest.raises(RuntimeError, match="split_sizes"):
        FeatureCost((2, 1))(random_problem().source, random_problem().target)


def test_standardised_features_have_mean_0_and_deviation_1():
    z = random_problem(50).source.features * 7 + 3
    out = Standardizer.fit(z)(z)
    torch.testing.assert_close(out.mean(dim=0), torch.zeros(4, dtype=torch.float64), atol=1e-12, rtol=0)
    assert_equal_values(out.std(dim=0, correction=0), torch.ones(4, dtype=torch.float64), atol=1e-12)


def test_standardisation_undoes_shift_and_scale():
    """What centring is for: features with a common offset cost the same as without."""
    source, target, *_ = random_problem(50)
    shift, scale = torch.tensor([1e3, -5, 0, 2]), torch.tensor([10, 0.1, 3, 1])

    def cost(move):
        fitted = Standardizer.fit(move(source.features))
        moved = [m._replace(features=fitted(move(m.features))) for m in (source, target)]
        return FeatureCost()(*moved)

    assert_equal_values(cost(lambda z: z * scale + shift), cost(lambda z: z), atol=1e-9)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e4])
def test_a_constant_dimension_keeps_its_scale(constant):
    """Kills `scale = std`, which blows a last bit that flickers up to a signal."""
    z = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0))
    z[:, 1] = constant * (1 + 1e-7 * torch.randn(1000, generator=torch.Generator().manual_seed(1)))
    fitted = Standardizer.fit(z)
    assert fitted.scale[1] == 1
    out = fitted(z)
    assert torch.isfinite(out).all()
    assert out[:, 1].abs().max() <= 1e-6 * constant


def test_equal_rows_are_refused():
    with pytest.raises(ValueError, match="all 5 rows are equal"):
        Standardizer.fit(torch.full((5, 3), 0.1))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_features_that_are_not_finite_are_refused(bad):
    z = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    z[2, 0], z[2, 1], z[4, 1] = bad, bad, bad
    with pytest.raises(ValueError, match="2 of 6 rows hold NaN or infinity"):
        Standardizer.fit(z)
