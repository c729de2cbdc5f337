"""Rows divided among workers give the weights of rows in one place, for every solver, judge and statistic.

The workers are threads: `tests/distributed` has processes, but a thread is cheap enough to try every solver on four.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

from hf_otw.features.shards import ProcessShard
from hf_otw.features.stored import Standardizer
from hf_otw.transport import solve_semi_relaxed, solve_sinkhorn
from hf_otw.transport._check import check_finite
from hf_otw.transport.blocks import CostBlocks
from hf_otw.transport.costs import CombinedCost, FeatureCost, label_agreement, label_distance
from hf_otw.transport.objectives import DIVISIBLE, entropy_objective, kl_objective
from hf_otw.types import Measure
from hf_otw.weighting import Agreement, CleanPosterior, ClosedForm, WeightNet

N, M, D, K = 23, 7, 5, 3  # of four workers three have 6 rows, and one 5
EXACT = {"rtol": 0, "atol": 1e-10}


class Board:
    """Where threads leave what they share."""

    def __init__(self, workers: int) -> None:
        self.parts: list[Tensor | None] = [None] * workers
        self.barrier = threading.Barrier(workers, timeout=60)

    def exchange(self, rank: int, part: Tensor) -> list[Tensor]:
        self.parts[rank] = part
        self.barrier.wait()
        parts = list(self.parts)
        self.barrier.wait()
        return parts


class ThreadShard(ProcessShard):
    """`ProcessShard` with a board in place of `torch.distributed`."""

    def __init__(self, board: Board, num_rows: int, rank: int, workers: int) -> None:
        super().__init__(num_rows, rank, workers)
        self.board = board

    def sum(self, part: Tensor) -> Tensor:
        return torch.stack(self.board.exchange(self.rank, part)).sum(dim=0)

    def amax(self, part: Tensor) -> Tensor:
        return torch.stack(self.board.exchange(self.rank, part)).amax(dim=0)

    def gather(self, part: Tensor) -> Tensor:
        return torch.cat(self.board.exchange(self.rank, part))


def divided(workers: int, num_rows: int, work: Callable[[ThreadShard], Any]) -> list[Any]:
    """Each worker's result."""
    board = Board(workers)

    def one(rank: int) -> Any:
        try:
            return work(ThreadShard(board, num_rows, rank, workers))
        except BaseException:
            board.barrier.abort()  # the others would wait
            raise

    with ThreadPoolExecutor(workers) as pool:
        waiting = [pool.submit(one, rank) for rank in range(workers)]
    return [future.result() for future in waiting]


@pytest.fixture
def problem() -> tuple[Measure, Measure]:
    g = torch.Generator().manual_seed(5)

    def side(size: int) -> Measure:
        labels = torch.cat([torch.arange(K), torch.randint(K, (size - K,), generator=g)])
        features = torch.randn(size, D, generator=g, dtype=torch.float64) + torch.eye(K, D).double()[labels]
        mass = torch.rand(size, generator=g, dtype=torch.float64) + 0.1
        return Measure(features, labels, mass / mass.sum())

    return side(N), side(M)


def share(source: Measure, shard: ThreadShard) -> Measure:
    return source._replace(features=source.features[shard.start : shard.stop], shard=shard)


@pytest.mark.parametrize("workers", [2, 4])
def test_sinkhorn(problem: tuple[Measure, Measure], workers: int) -> None:
    """Kills: a pass that sums the rows of one worker only, a start or a value of one worker's rows."""
    source, target = problem

    def solve(part: Measure) -> Any:
        blocks = CostBlocks(CombinedCost(), part, target, block_rows=4)
        return solve_sinkhorn(blocks, source.mass, target.mass, reg=0.1, tol=1e-12, max_iter=500)

    whole = solve(source)
    assert whole.converged
    for found in divided(workers, N, lambda shard: solve(share(source, shard))):
        torch.testing.assert_close(found, whole, **EXACT)


def test_semi_relaxed(problem: tuple[Measure, Measure]) -> None:
    source, target = problem

    def solve(part: Measure) -> Any:
        return solve_semi_relaxed(CostBlocks(FeatureCost(), part, target), source.mass, target.mass, reg=0.05)

    for found in divided(4, N, lambda shard: solve(share(source, shard))):
        torch.testing.assert_close(found, solve(source), **EXACT)


@pytest.mark.parametrize("objective", sorted(DIVISIBLE, key=lambda f: f.__name__), ids=lambda f: f.__name__)
def test_objectives(problem: tuple[Measure, Measure], objective: Any) -> None:
    """Kills: a Schur complement, a right-hand side or a gradient of one worker's rows."""
    source, target = problem
    whole = objective(source, target, FeatureCost(), 0.2, None)
    for found in divided(3, N, lambda shard: objective(share(source, shard), target, FeatureCost(), 0.2, None)):
        torch.testing.assert_close(found, whole, rtol=0, atol=1e-7)


@pytest.mark.parametrize("make", [ClosedForm, Agreement, CleanPosterior])
def test_weight_models(problem: tuple[Measure, Measure], make: Any) -> None:
    source, target = problem

    def learn(part: Measure) -> Any:
        model = make() if make is CleanPosterior else make(reg=0.1)
        return model(torch.arange(N), part, target, FeatureCost())

    for found in divided(4, N, lambda shard: learn(share(source, shard))):
        torch.testing.assert_close(found, learn(source), **EXACT, equal_nan=True)


@pytest.mark.parametrize("objective", [entropy_objective, kl_objective])
def test_net(problem: tuple[Measure, Measure], objective: Any) -> None:
    """Kills: a softmax over one worker's rows, a gradient of one worker's part, or of parts that are not summed."""
    source, target = problem

    def learn(part: Measure) -> Any:
        net = WeightNet(D, objective=objective, steps=3).double()
        found = net(torch.arange(N), part, target, FeatureCost())
        return found._asdict() | {"parameters": torch.cat([p.detach().flatten() for p in net.parameters()])}

    for found in divided(4, N, lambda shard: learn(share(source, shard))):
        torch.testing.assert_close(found, learn(source), rtol=0, atol=1e-8)


@pytest.mark.parametrize(("rows", "workers"), [(N, 4), (5, 4), (2, 1)])
def test_standardizer(problem: tuple[Measure, Measure], rows: int, workers: int) -> None:
    """5 rows on 4 workers leave one without a row. Kills: a mean of means, a spread about a worker's own mean, and a
    tolerance of one worker's largest feature.
    """
    z = problem[0].features[:rows].clone()
    z[:, 1] = 1e-9 * z[:, 1]  # noise beside the last row's, and a signal beside that of the others
    z[-1, 1] = 0.01
    whole = Standardizer.fit(z)
    for found in divided(workers, rows, lambda shard: Standardizer.fit(z[shard.start : shard.stop], shard)):
        torch.testing.assert_close(found.mean, whole.mean, **EXACT)
        torch.testing.assert_close(found.scale, whole.scale, **EXACT)


def test_tolerance_is_that_of_all_rows() -> None:
    """A column that varies by rounding is constant for every worker, though one's own rows are small. Kills: a
    maximum over dimensions, or over one worker's rows.
    """
    z = torch.randn(8, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z[:, 2] = 1e4 + 1e-3 * z[:, 2]
    whole = Standardizer.fit(z)
    assert whole.scale[2] == 1
    assert (whole.scale[:2] != 1).all()
    for found in divided(2, 8, lambda shard: Standardizer.fit(z[shard.start : shard.stop], shard)):
        torch.testing.assert_close(found.scale, whole.scale, **EXACT)


def test_all_workers_see_what_one_has() -> None:
    """Kills: a worker that goes on alone when another's rows are not finite, and waits for ever."""
    z = torch.ones(4, 2)
    z[3] = torch.nan

    def check(shard: ThreadShard) -> list[str]:
        said = []
        for call in (lambda: Standardizer.fit(z[shard.start : shard.stop], shard),
                     lambda: check_finite(z[shard.start : shard.stop], "losses", shard)):  # fmt: skip
            with pytest.raises(ValueError, match="finite") as info:
                call()
            said.append(str(info.value))
        return said

    one, other = divided(2, 4, check)
    assert one == other
    assert "1 of 4 rows" in one[0]
    assert "2 numbers" in one[1]


@pytest.mark.parametrize("has", [(True, True), (True, False), (False, True), (False, False)])
def test_labels_are_compared_by_their_vectors_where_both_sides_have_some(has: tuple[bool, bool]) -> None:
    """Kills: a distance that is not L1, an agreement that is not its complement, vectors of one side only."""
    vectors = torch.tensor([[0.5, 0.0, 0.0], [0.25, 0.25, 0.0], [0.0, 0.0, 0.5]])
    mass = torch.full((3,), 1 / 3)
    one, other = (Measure(torch.zeros(3, 1), torch.arange(3), mass, vectors if given else None) for given in has)
    distance, agreement = label_distance(one, other), label_agreement(one, other)
    expected = 1 - torch.eye(3)
    if all(has):
        expected = torch.tensor([[0, 0.5, 1], [0.5, 0, 1], [1, 1, 0]])
    torch.testing.assert_close(distance.float(), expected)
    torch.testing.assert_close(agreement.float(), 1 - expected)
