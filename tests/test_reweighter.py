"""The reweighter by itself: schedule, memory, statistics and state, without a Trainer around it."""

from __future__ import annotations

import logging
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from hf_otw.features.stored import Standardizer
from hf_otw.transport.costs import FeatureCost
from hf_otw.types import Cost, Measure, Weights
from hf_otw.weighting import ClosedForm, Table, WeightModel
from hf_otw.weighting.base import exact
from hf_otw.weighting.reweighter import Reweighter, Schedule
from hf_otw.weighting.statistics import effective_sample_size
from hf_otw.weighting.target import balanced_class_mass, examples_target
from tests.test_shards import ThreadShard, divided

N, M, D, K = 30, 8, 3, 3
ROWS = torch.tensor([i for i in range(N) if i % 5])  # every fifth was split off
LABELS = torch.arange(N) % K
G = torch.Generator().manual_seed(0)
FEATURES = torch.randn(N, D, generator=G) * torch.tensor([1.0, 5.0, 0.2]) + 2
META_LABELS = torch.arange(M) % K
META = torch.randn(M, D, generator=G)
VECTORS = torch.rand(N, 2, generator=G)
META_VECTORS = torch.rand(M, 2, generator=G)


class Spy(WeightModel):
    """Weights that grow with the place of a row in what it is given, and what it was given."""

    divisible = True
    power = 1.0

    def __init__(self, *, scale: float = 1.0, **attributes: Any) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale))
        self.seen: list[Any] = []
        vars(self).update(attributes)

    def forward(self, index: Tensor, source: Measure, target: Measure | None, cost: Cost | None) -> Weights:
        self.seen.append((index, source, target, cost))
        w = self.scale * torch.arange(1, len(index) + 1).to(source.mass) ** self.power
        return exact(w / w.mean())._replace(value=w.new_tensor(7.0), converged=w.new_tensor(0.5))


def make(weight_model: WeightModel | None = None, **options: Any) -> Reweighter:
    settings: dict[str, Any] = {
        "labels": LABELS,
        "rows": ROWS,
        "num_classes": K,
        "class_mass": balanced_class_mass,
        "make_target": examples_target,
        "schedule": Schedule(2, 3),
        "feature_dim": D,
        "per_batch": False,
        "standardize": True,
    }
    return Reweighter(weight_model or Spy(), FeatureCost(), **settings | options)


def filled(weight_model: WeightModel | None = None, **options: Any) -> Reweighter:
    """With every row's feature in its memory."""
    found = make(weight_model, **options)
    found.weights(0, torch.arange(N), FEATURES)
    return found


def stored(dtype: torch.dtype) -> Tensor:
    """The features as the memory rounds them."""
    return FEATURES.bfloat16().to(dtype) if dtype == torch.float32 else FEATURES.to(dtype)


def test_due() -> None:
    """Kills: a solve in the warm-up, one at every step, none after the first."""
    reweighter = filled()
    assert [reweighter.due(step) for step in range(4)] == [False, False, True, True]
    reweighter.refresh(2, META, META_LABELS)
    assert [reweighter.due(step) for step in range(2, 8)] == [False, False, False, True, True, True]


def test_due_after_a_solve_before_the_first_step() -> None:
    """Kills: a solve at step 0 that is taken for none."""
    reweighter = filled()
    reweighter.refresh(0, META, META_LABELS)
    assert [reweighter.due(step) for step in range(2, 5)] == [False, True, True]


def test_due_once_where_nothing_changes() -> None:
    class Still(Spy):
        needs_transport = False

    reweighter = make(Still())
    assert reweighter.memory is None
    reweighter.refresh(2)
    assert not reweighter.due(100)


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_a_weight_model_gets(standardize: bool, dtype: torch.dtype) -> None:
    """Kills: rows of the meta split, features of another row, a scaler that is fitted to the meta set."""
    spy = Spy()
    reweighter = filled(spy, standardize=standardize, dtype=dtype, label_vectors=VECTORS, make_target=examples_target)
    reweighter.refresh(2, META, META_LABELS, META_VECTORS)
    index, source, target, cost = spy.seen[0]
    z, meta = stored(dtype)[ROWS], META.to(dtype)
    if standardize:
        mean, std = z.mean(dim=0), z.std(dim=0, correction=0)
        z, meta = (z - mean) / std, (meta - mean) / std
    torch.testing.assert_close(index, ROWS)
    torch.testing.assert_close(source.features, z)
    torch.testing.assert_close(source.labels, LABELS[ROWS])
    torch.testing.assert_close(source.mass, torch.full((24,), 1 / 24, dtype=dtype))
    torch.testing.assert_close(source.label_vectors, VECTORS[ROWS].to(dtype))
    assert source.shard is None
    mass = balanced_class_mass(torch.bincount(LABELS[ROWS]).to(dtype))
    expected = examples_target(meta, META_LABELS, mass, META_VECTORS.to(dtype))
    torch.testing.assert_close(target, expected)
    assert cost is reweighter.cost


def test_before_the_first_solve() -> None:
    reweighter = make()
    assert reweighter.example_weights.tolist() == [1.0] * N
    counts = torch.bincount(LABELS[ROWS]).float()
    torch.testing.assert_close(reweighter.class_counts, counts)
    torch.testing.assert_close(reweighter.class_prior, counts / 24)
    assert reweighter.solved_at == -1
    ess, largest, objective, converged, *totals = reweighter.statistics.tolist()
    assert (ess, largest, converged) == (24, 1, 1)
    assert math.isnan(objective)
    assert totals == pytest.approx((counts / 24).tolist())
    assert reweighter.statistic_names == (
        *("ess", "weight_max", "objective", "converged"),
        *("class_total/0", "class_total/1", "class_total/2"),
    )


def test_after_a_solve() -> None:
    """Kills: a mean of two solves in place of the last, weights of the meta split, statistics of another solve."""
    spy = Spy()
    reweighter = filled(spy, schedule=Schedule(0, 1))
    reweighter.refresh(2, META, META_LABELS)
    spy.power = 2.0
    reweighter.refresh(5, META, META_LABELS)
    w = torch.arange(1, 25).float() ** 2
    w = w / w.mean()
    torch.testing.assert_close(reweighter.example_weights[ROWS], w)
    assert reweighter.example_weights[::5].tolist() == [1.0] * 6
    totals = torch.stack([w[LABELS[ROWS] == k].sum() for k in range(K)]) / w.sum()
    torch.testing.assert_close(reweighter.class_prior, totals)
    expected = torch.cat([torch.stack([effective_sample_size(w), w.max()]), torch.tensor([7.0, 0.5]), totals])
    torch.testing.assert_close(reweighter.statistics, expected)
    assert reweighter.solved_at == 5
    torch.testing.assert_close(reweighter.weights(6, ROWS[[5, 1]], FEATURES[ROWS[[5, 1]]]), w[[5, 1]])


def test_warm_up_weighs_one_and_remembers() -> None:
    reweighter = make(schedule=Schedule(2, 3))
    reweighter.example_weights[:] = 3
    index = torch.tensor([7, 2])
    assert reweighter.weights(1, index, FEATURES[index]).tolist() == [1, 1]
    assert reweighter.weights(2, index, FEATURES[index]).tolist() == [3, 3]
    torch.testing.assert_close(reweighter.memory.read(index), stored(torch.float32)[index])
    assert reweighter.memory.missing(torch.arange(4)).tolist() == [0, 1, 3]


def test_per_batch() -> None:
    """Kills: weights of the whole set, a table that does not learn of the batch, totals of another batch."""
    spy = Spy()
    reweighter = make(spy, per_batch=True, label_vectors=VECTORS)
    assert reweighter.memory is None
    reweighter.refresh(2, META, META_LABELS, META_VECTORS)
    assert spy.seen == []
    index = torch.tensor([7, 2, 11, 3])
    found = reweighter.weights(2, index, FEATURES[index].double())
    torch.testing.assert_close(found, torch.tensor([0.4, 0.8, 1.2, 1.6]))
    torch.testing.assert_close(reweighter.example_weights[index], found)
    seen, source, _, _ = spy.seen[0]
    torch.testing.assert_close(seen, index)
    mean, std = META.mean(dim=0), META.std(dim=0, correction=0)  # the meta set stands in for the training set
    torch.testing.assert_close(source.features, (FEATURES[index] - mean) / std)
    torch.testing.assert_close(source.mass, torch.full((4,), 0.25))
    torch.testing.assert_close(source.label_vectors, VECTORS[index])
    assert reweighter.statistics[4:].tolist() == pytest.approx([0.4, 0.1, 0.5])  # labels 1, 2, 2, 0


def test_no_transport_needs_no_features() -> None:
    class Given(Spy):
        needs_transport = False

    reweighter = make(Given(), per_batch=True, standardize=False)
    assert not reweighter.per_batch  # there is nothing to solve in a batch
    reweighter.refresh(0)
    assert reweighter.weights(3, ROWS[:2], None).tolist() == pytest.approx([1 / 12.5, 2 / 12.5])


def wide(**options: Any) -> Reweighter:
    return filled(Table(N, steps=2), label_vectors=VECTORS, **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_state_is_all_there_is(dtype: torch.dtype) -> None:
    """Kills: anything that a state leaves out, or that is not put back: both go on to the same bits."""
    first = wide(dtype=dtype)
    first.refresh(2, META, META_LABELS, META_VECTORS)
    first.weights(3, ROWS[:4], FEATURES[ROWS[:4]] + 1)
    state = first.state_dict()
    assert all(value.is_contiguous() and not value.requires_grad for value in state.values())
    second = make(Table(N, steps=2), label_vectors=VECTORS, dtype=dtype)
    second.load_state_dict({name: value.clone() for name, value in state.items()})
    torch.testing.assert_close(second.state_dict(), state, rtol=0, atol=0)
    assert set(state) >= {"target.label_vectors", "scaler.mean", "scaler.scale", "memory.written", "statistics"}
    assert second.solved_at == 2
    for reweighter in (first, second):
        reweighter._source(ROWS, reweighter.memory.read(ROWS))  # the scaler is in place
        reweighter.refresh(5, META, META_LABELS, META_VECTORS)
    torch.testing.assert_close(second.state_dict(), first.state_dict(), rtol=0, atol=0)


def test_a_loaded_state_is_a_copy() -> None:
    state = wide().state_dict()
    reweighter = make(Table(N, steps=2), label_vectors=VECTORS)
    reweighter.load_state_dict(state)
    reweighter.refresh(2, META, META_LABELS, META_VECTORS)
    assert state["example_weights"].tolist() == [1.0] * N


def test_a_state_before_the_first_solve() -> None:
    state = filled(standardize=False).state_dict()
    assert not [name for name in state if name.startswith(("target.", "scaler."))]
    reweighter = make(standardize=False)
    reweighter.load_state_dict(state)
    assert reweighter.solved_at == -1
    assert reweighter.memory.missing(ROWS).numel() == 0


@pytest.mark.parametrize(
    "name", ["example_weights", "class_prior", "statistics", "memory.features", "memory.written", "weight_model.scale"]
)
@pytest.mark.parametrize("what", ["missing", "another shape"])
def test_states_of_others_are_refused(name: str, what: str) -> None:
    state = filled().state_dict()
    other = state.pop(name)
    if what != "missing":
        state[name] = torch.zeros(*other.shape, 2)
    with pytest.raises(ValueError, match="same training set"):
        make().load_state_dict(state)


def test_divided_rows() -> None:
    """Two workers, memory divided or not: weights, statistics and state of one. Kills: rows of another worker, a
    state without the others' rows, a mean over one worker's rows.
    """
    whole = filled(ClosedForm())
    whole.refresh(2, META, META_LABELS)
    state = whole.state_dict()
    for divide in (False, True):

        def work(shard: ThreadShard, divide: bool = divide) -> Any:
            reweighter = filled(ClosedForm(), shard=shard, divide_memory=divide)
            assert len(reweighter.memory.features) == (12 if divide else N)
            reweighter.refresh(2, META, META_LABELS)
            parts = shard.board.exchange(shard.rank, reweighter.memory.features)
            shard.collect = lambda part: torch.cat(parts) if shard.rank == 0 else part[:0]
            found = reweighter.state_dict()
            again = make(ClosedForm(), shard=shard, divide_memory=divide)
            again.load_state_dict(state)
            torch.testing.assert_close(again.memory.features, reweighter.memory.features, rtol=0, atol=0)
            return reweighter, found

        (one, found), (other, rest) = divided(2, len(ROWS), work)
        for reweighter in (one, other):
            torch.testing.assert_close(reweighter.example_weights, whole.example_weights)
            torch.testing.assert_close(reweighter.statistics, whole.statistics, equal_nan=True)
        expected = state["memory.features"].clone()
        if divide:
            expected[::5] = 0  # the meta split is held by nobody
            assert rest["memory.features"].shape == (0, D)
        torch.testing.assert_close(found["memory.features"], expected, rtol=0, atol=0)


def test_a_divided_memory_needs_a_model_that_can_be_divided() -> None:
    shard = ThreadShard(None, len(ROWS), 0, 2)
    with pytest.raises(ValueError, match="feature_memory='replicated'"):
        make(Spy(divisible=False), shard=shard, divide_memory=True)
    solved_whole = make(Spy(divisible=False), shard=shard)
    assert solved_whole.shard is None
    assert len(solved_whole.own_rows) == len(ROWS)
    make(Spy(divisible=False), shard=None, divide_memory=True)  # one process: there is nothing to divide
    make(Spy(divisible=False), shard=shard, divide_memory=True, per_batch=True)  # nor without a memory


def test_what_is_not_finite_is_named() -> None:
    reweighter = filled()
    with pytest.raises(ValueError, match="features of the meta set"):
        reweighter.refresh(2, META / 0, META_LABELS)
    batch = make(per_batch=True, standardize=False)
    batch.refresh(2, META, META_LABELS)
    with pytest.raises(ValueError, match="finite features"):
        batch.weights(2, ROWS[:2], FEATURES[:2] / 0)
    with pytest.raises(ValueError, match="finite weights from Spy"):
        filled(Spy(scale=math.nan)).refresh(2, META, META_LABELS)


def test_a_model_is_moved_to_the_precision_of_training() -> None:
    assert make(Table(N), dtype=torch.float64).weight_model.logits.dtype == torch.float64
    assert make(Table(N)).weight_model.logits.dtype == torch.float32
    assert make(dtype=torch.float64).example_weights.dtype == torch.float64


def test_concentrated_weights_are_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """A class of 11 whose weight is one row's is worth a word; a class of 10 is too small to be. Kills: a warning at
    each solve, for classes that are small anyway, or of the wrong class, and the advice to change a reg that a
    weighting does not have.
    """

    class Peaked(Spy):
        def forward(self, index: Tensor, source: Measure, *_: Any) -> Weights:
            w = torch.ones(len(index))
            for k in range(2):  # all of a class's weight on its first row
                members = (source.labels == k).nonzero().flatten()
                w[members] = 0
                w[members[0]] = len(members)
            return exact(w)

    labels = torch.tensor([0] * 10 + [1] * 11 + [2] * 12)
    options = {"labels": labels, "rows": torch.arange(33), "standardize": False}
    reweighter = make(Peaked(), **options)
    reweighter.weights(0, torch.arange(33), torch.ones(33, D))
    with caplog.at_level(logging.WARNING):
        reweighter.refresh(2, META, META_LABELS)
        reweighter.refresh(5, META, META_LABELS)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert "of 1 classes rest on fewer than 5" in said[0]
    assert "classes [1]" in said[0]
    assert "Raise `reg`, or set a longer `weight_warmup`" in said[0]
    learner = make(Peaked(learns_cost=True), **options)
    learner.weights(0, torch.arange(33), torch.ones(33, D))
    with caplog.at_level(logging.WARNING):
        learner.refresh(2, META, META_LABELS)
    assert ". Set a longer `weight_warmup`" in caplog.records[-1].getMessage()


def test_enough_weight_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    reweighter = filled(labels=torch.zeros(N, dtype=torch.long), num_classes=1, standardize=False)
    with caplog.at_level(logging.WARNING):
        reweighter.refresh(2, META, torch.zeros(M, dtype=torch.long))
    assert caplog.records == []


def test_scaler_survives_for_the_next_batch() -> None:
    reweighter = filled()
    reweighter.refresh(2, META, META_LABELS)
    assert isinstance(reweighter._scaler, Standardizer)
    torch.testing.assert_close(reweighter._scaler.mean, stored(torch.float32)[ROWS].mean(dim=0))
