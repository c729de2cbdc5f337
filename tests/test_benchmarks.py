"""Benchmarks of speed: what they compare, what they keep, and that the pages say what was measured. No test times."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.performance import (
    MODE_TITLES,
    PAGES,
    ROOT,
    fill_page,
    kept_table,
    scale_table,
    solver_table,
    step_table,
)
from benchmarks.plan import bytes_per_process, kernel_bytes, plan_table, solve_seconds
from benchmarks.record import merge, peak_rss_bytes, read
from benchmarks.scaling.data import make_files, open_files
from benchmarks.solving import solvers
from benchmarks.solving.problems import REG, make_problem, relative_error, right_answers
from benchmarks.solving.run import SIZES, SOLVERS, settings
from benchmarks.solving.solvers import Solver
from benchmarks.stepping.modes import IN_STEPS, MODES, build
from benchmarks.stepping.turns import Turns
from benchmarks.targets import targets_table
from benchmarks.timing import interleaved, ratio

ABOUT = {"hardware": {"processor": "abacus", "threads": 1}}


@pytest.mark.parametrize("name", PAGES)
def test_pages_say_what_was_measured(name: str) -> None:
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert page == fill_page(name, page)


def test_rows_are_replaced_by_their_key(tmp_path: Path) -> None:
    path = tmp_path / "results" / "x.json"
    merge(path, [{"n": 1, "m": 2, "ms": 3.0}, {"n": 1, "m": 3, "ms": 4.0}], ("n", "m"), "cpu")
    merge(path, [{"n": 1, "m": 2, "ms": 5.0}], ("n", "m"), "cpu")
    assert [(row["m"], row["ms"]) for row in read(path)] == [(2, 5.0), (3, 4.0)]
    assert all("torch" in row["versions"] and row["hardware"]["machine"] for row in read(path))
    assert [file.name for file in path.parent.iterdir()] == ["x.json"]
    assert read(tmp_path / "none.json") == []


def test_peak_memory_is_that_of_the_process_itself() -> None:
    """Kills `getrusage`, by which a small process that a large one starts was as large."""
    ballast = torch.ones(2**26)  # 256 MB
    code = "from benchmarks.record import peak_rss_bytes; before = peak_rss_bytes(); x = bytearray(10**8); "
    code += "print(before, peak_rss_bytes())"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    before, after = (float(number) for number in found.stdout.split())
    assert peak_rss_bytes() > ballast.nbytes + before / 2
    assert 0.9e8 < after - before < 2e8
    assert before < peak_rss_bytes()


def test_calls_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills one candidate after the other, which a busy machine would disturb differently."""
    monkeypatch.setattr("benchmarks.timing.TURN_SECONDS", 0.0)
    made: list[str] = []
    calls = {name: lambda name=name: made.append(name) for name in "ab"}
    found = interleaved(calls, repeats=3)
    assert "".join(made[-6:]) == "ababab"
    assert [len(times) for times in found.values()] == [3, 3]
    assert min(min(times) for times in found.values()) >= 0


def test_ratios_are_taken_turn_by_turn() -> None:
    """A machine that slows down to a tenth changes both of a pair."""
    assert ratio([2.0, 20.0, 2.0], [1.0, 10.0, 1.0]) == (2.0, 0.0)
    middle, error = ratio([1.0, 2.0, 3.0], [1.0, 1.0, 1.0])
    assert middle == 2.0
    assert error == pytest.approx(1.2533 * 1.4826 / 3**0.5)


def test_every_way_of_training_has_a_title() -> None:
    assert set(MODE_TITLES) == set(IN_STEPS)


class TestSolvers:
    def test_the_right_answers(self) -> None:
        """`kl` by finite differences of the value, in a direction that keeps the sum of the masses."""
        from hf_otw.transport import solve_sinkhorn
        from hf_otw.transport.blocks import CostBlocks

        problem = make_problem(6, 4)
        move = torch.zeros(6, dtype=torch.float64)
        move[0], move[1] = 1e-5, -1e-5
        up, down = (
            solve_sinkhorn(CostBlocks.of_matrix(problem.C), a, problem.b, reg=REG, tol=1e-12, max_iter=3000).value
            for a in (problem.a + move, problem.a - move)
        )
        kl = right_answers(problem)["kl"]
        assert float((up - down) / 2e-5) == pytest.approx(float(kl[0] - kl[1]), abs=1e-7)

    @pytest.mark.parametrize("solver", [s for s in SOLVERS if "POT" not in s.name and "OTT" not in s.name])
    def test_solvers_reach_an_error_of_a_hundredth(self, solver: Solver) -> None:
        exact = make_problem(16, 10)
        right = right_answers(exact)[solver.objective]
        calls = solver.calls(exact.to(torch.float32))
        assert min(relative_error(call(), right, solver.objective) for _, call in calls) < 1e-2

    def test_the_cheapest_setting_that_is_right_is_chosen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        price = {"rough": 1.0, "dear": 9.0, "good": 5.0, "best": 7.0}
        error = {"rough": 1e-1, "dear": 5e-4, "good": 4e-4, "best": 1e-6}
        right = {"kl": torch.tensor([1.0, -1.0], dtype=torch.float64)}

        def calls(problem: Any) -> Iterator[tuple[str, Any]]:
            for name in price:
                yield name, lambda name=name: right["kl"] * (1 + error[name])

        def seconds(call: Any, device: str) -> float:
            return price[next(name for name in price if torch.equal(call(), right["kl"] * (1 + error[name])))]

        monkeypatch.setattr("benchmarks.solving.run._seconds", seconds)
        found = settings(Solver("s", "kl", calls), make_problem(2, 2), right, (1e-3, 1e-5, 1e-9), "cpu")
        assert [found[target][0] for target in (1e-3, 1e-5, 1e-9)] == ["good", "best", "best"]

    def test_a_gradient_is_known_up_to_a_constant_and_masses_are_not(self) -> None:
        right = torch.tensor([1.0, -1.0], dtype=torch.float64)
        assert relative_error(right.float() + 7, right, "kl") < 1e-6
        assert relative_error(right.float() + 7, right, "entropy") > 1

    def test_kernels_are_not_kept_from_call_to_call(self) -> None:
        """Kills a time without the exponentials, which the first call would have paid for."""
        problem = make_problem(6, 4)
        blocks = solvers._fresh(problem)
        blocks().kernel = "kept"
        assert blocks().kernel is None

    def test_table(self) -> None:
        row = {"device": "cpu", "n": 16, "m": 10, "target": 1e-3, "rel_error": 5e-4, "clock": "processor", **ABOUT}
        rows = [
            row | {"solver": "fused", "median_ms": 0.5},
            row | {"solver": "GeomLoss", "median_ms": 200.0, "clock": "wall"},
            row | {"solver": "POT, kernel", "median_ms": 1.25, "rel_error": 2e-2},
        ]
        shown = solver_table(rows)
        assert "| fused | 0.5 |" in shown
        assert "| POT, kernel | 1.25 (2e-02) |" in shown
        assert "| GeomLoss | 200* |" in shown
        assert "abacus, 1 thread" in shown
        assert solver_table([]) == "Not run."

    def test_issue_sizes(self) -> None:
        assert SIZES == ((16, 10), (32, 100), (128, 100), (512, 1000), (4096, 1000), (100_000, 100))


class TestSteps:
    def test_trainings_take_turns_a_step_each(self, tmp_path: Path) -> None:
        """Kills a thread that runs on while another is timed."""
        seen: list[tuple[str, int]] = []
        runs = {}
        for mode in ("uniform", "stock"):
            trainer = build(mode, "tiny", examples=16, steps=5, folder=tmp_path, use_cpu=True)
            step = trainer.training_step
            trainer.training_step = lambda *a, step=step, mode=mode, trainer=trainer, **k: (
                seen.append((mode, trainer.state.global_step)) or step(*a, **k)
            )
            runs[mode] = Turns(trainer, "cpu")
        turns = [runs[mode].step() for _ in range(2) for mode in runs]
        assert seen == [("uniform", 0), ("stock", 0), ("uniform", 1), ("stock", 1)]
        assert all(turn.cpu_ms > 0 and turn.parts["forward and loss"] > 0 for turn in turns)
        for run in runs.values():
            run.end()
        assert len(seen) == 4

    def test_an_error_in_a_training_is_raised(self, tmp_path: Path) -> None:
        trainer = build("uniform", "tiny", examples=16, steps=5, folder=tmp_path, use_cpu=True)

        def fail(*args: Any, **keywords: Any) -> None:
            raise ZeroDivisionError("on purpose")

        trainer.training_step = fail
        with pytest.raises(ZeroDivisionError, match="on purpose"):
            Turns(trainer, "cpu").step()

    @pytest.mark.parametrize("mode", ["dataset", "default", "reference", "l2rw", "meta_weight_net"])
    def test_every_way_trains(self, mode: str, tmp_path: Path) -> None:
        """Kills a loop whose loss does not reach the model, and weights that were never solved for."""
        trainer = build(mode, "tiny", examples=24, steps=3, folder=tmp_path, use_cpu=True, learning_rate=0.1)
        before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
        trainer.train()
        moved = [name for name, p in trainer.model.named_parameters() if not torch.equal(p, before[name])]
        assert any("embeddings" in name for name in moved)
        assert any("classifier" in name for name in moved)
        if mode in MODES:
            assert trainer._session.reweighter.solved_at == 1
            assert trainer.settings.meta_loss_coefficient == 0

    def test_table(self) -> None:
        row = {"model": "minilm", "device": "cpu", "repeats": 9, "peak_memory_mb": 700.4, "examples": 10, **ABOUT}
        row |= {"median_ms": 30.0, "cpu_ms": 20.0, "parts_ms": {"forward and loss": 5.0}}
        weighted = {"mode": "dataset", "to_uniform": 1.0042, "to_uniform_error": 0.001}
        weighted["parts_ms"] = {"weighting, after it": 0.25, "weighting, before the forward pass": 0.5}
        rows = [row | {"mode": "stock"}, row | weighted]
        shown = step_table(rows)
        assert "| stock `Trainer` | - | - | 20 | - | 700 | 9 |" in shown
        assert "| 1.004 ± 0.001 | - | 20 | 0.75 | 700 | 9 |" in shown
        assert step_table([]) == "Not run."
        assert "| - | 9 |" in step_table([row | {"mode": "stock", "peak_memory_mb": None}])


class TestScale:
    def test_files_are_those_of_the_first_run(self, tmp_path: Path) -> None:
        make_files(tmp_path, 120, 100, 4)
        first = open_files(tmp_path, 120, 100, 4)
        assert first.features.dtype == "float16"
        assert first.features.mode == "r"
        kept = first.features[:].copy()
        make_files(tmp_path, 120, 100, 4)
        assert (open_files(tmp_path, 120, 100, 4).features == kept).all()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["features-120-4.npy", "labels-120.npy"]

    def test_table(self) -> None:
        row = {"device": "cpu", "n": 10**6, "m": 1000, "d": 384, "mode": "closed_form", "ranks": 2, "ratio": 1.31}
        row |= {"seconds": 20.0, "cpu_seconds": 13.1, "matmul_cpu_seconds": 10.0, "peak_rss_gb": 2.5}
        assert "| cpu | closed form | 1,000,000 | 2 | 20.00 | 13.10 | 10.00 | 1.31 | 2.50 |" in scale_table([row])
        assert scale_table([]) == "Not run."

    def test_the_plan_counts_bytes_as_the_memory_does(self) -> None:
        from hf_otw.features.memory import FeatureMemory

        memory = FeatureMemory(1000, 8, torch.device("cpu"), held=torch.arange(250))
        held = bytes_per_process(1000, 8, 10, 4)
        assert held["features"] == memory.features.nbytes
        assert held["where an example is"] == memory._place.nbytes
        assert held["which were written"] == memory.written.nbytes

    def test_the_plan_keeps_kernels_as_the_solver_does(self) -> None:
        from hf_otw.transport.kernel import KERNEL_BYTES

        rows = KERNEL_BYTES // 4 // 1000
        assert kernel_bytes(rows, 1000, 1) == 4 * rows * 1000
        assert kernel_bytes(rows + 1, 1000, 1) == 2 * (rows + 1) * 1000
        assert kernel_bytes(2 * rows + 2, 1000, 8) == 0

    def test_the_plan_scales(self) -> None:
        assert solve_seconds(1000, 10, 5, 1, 1e5, passes=2) == pytest.approx(2.0)
        assert solve_seconds(2000, 10, 5, 2, 1e5, passes=2) == pytest.approx(2.0 + 2e-3)
        scale = {"device": "cpu", "mode": "closed_form", "ranks": 1, "n": 10**6, "m": 1000, "d": 384, "ratio": 1.3}
        step = {"mode": "uniform", "model": "minilm", "device": "cpu", "cpu_ms": 2000.0}
        shown = plan_table([scale | {"matmul_cpu_seconds": 10.0}], [step])
        assert "77 GFLOP/s" in shown
        assert "| gathered once a solve: a weight an example | 400 MB |" in shown
        assert plan_table([], [step]) == "Not run."


def test_targets_are_judged_by_their_rows() -> None:
    """Kills a target that is reached by what was not run, or by the best column where every column counts."""
    step = {"model": "minilm", "device": "cpu", "to_uniform_error": 0.001, "to_stock_error": 0.006}
    steps = [
        step | {"mode": "dataset", "to_uniform": 1.004, "to_stock": 1.03, "weighting_bytes": 11, "feature_bytes": 10},
        step | {"mode": "reference", "to_uniform": 3.012},
    ]
    solver = {"device": "cpu", "m": 10, "target": 1e-3, "clock": "processor"}
    rows = [solver | {"n": n, "solver": "fused", "median_ms": 1.0} for n in (16, 32)]
    rows += [solver | {"n": 16, "solver": "OTT-JAX, kernel", "median_ms": 2.0}]
    rows += [solver | {"n": 32, "solver": "OTT-JAX, kernel", "median_ms": 0.9}]
    rows += [solver | {"n": 32, "solver": "POT, kernel", "median_ms": 3.0}]
    rows += [solver | {"n": 16, "solver": "POT, kernel", "median_ms": 2.0, "clock": "wall"}]
    scale = [{"device": "cpu", "n": 10**6, "ranks": 1, "mode": "closed_form", "ratio": 1.4, "peak_rss_gb": 3.5}]
    shown = targets_table(steps, rows, scale)
    for line in (
        "at most 1.01 x uniform | 1.004 ± 0.001 | reached |",
        "at most 1.02 x stock | 1.030 ± 0.006 | undecided |",
        "2 x faster than `reference` | 3.0 x | reached |",
        "3 x faster than `meta_weight_net` | not run | |",
        "2 N D bytes | 11 of 10 | **missed** |",
        "OTT-JAX, in every column | 0.9 to 2.0 x, 2 columns of 12 | **missed** |",
        "1.5 x the product | 1.40 x | reached |",
        "under 3 GB | 3.50 GB | **missed** |",
        "4 x the product | not run | |",
        "POT, kernel, in every column | 3.0 to 3.0 x, 1 columns of 12 | reached where run |",
    ):
        assert line in shown, line


@pytest.mark.slow
@pytest.mark.distributed
def test_cost_of_keeping_features_is_measured_in_several_processes(tmp_path: Path) -> None:
    """Kills: processes that do not find each other and train alone, each with all features."""
    results = tmp_path / "memory.json"
    command = [
        sys.executable,
        "-m",
        "benchmarks.stepping.memory",
        "--ranks",
        "1",
        "2",
        "--kept",
        "sharded",
        "replicated",
    ]
    subprocess.run([*command, "--examples", "64", "--steps", "2", "--results", str(results)], check=True, cwd=ROOT)
    found = {(row["feature_memory"], row["ranks"]): row for row in read(results)}
    assert set(found) == {("replicated", 1), ("replicated", 2), ("sharded", 2)}
    whole = 64 * 384 * 2
    assert [row["feature_bytes"] for row in found.values()] == [whole, whole, whole // 2]
    assert all(row["weighting_cpu_ms"] > 0 for row in found.values())
    lines = kept_table(read(results)).splitlines()
    assert [line.split(" | ")[:2] for line in lines[2:]] == [
        ["| replicated", "1"],
        ["| replicated", "2"],
        ["| sharded", "2"],
    ]


def test_results_have_the_fields_that_were_agreed() -> None:
    wanted = {
        "memory": {"device", "ranks", "feature_memory", "weighting_ms", "weighting_cpu_ms", "feature_bytes"},
        "step": {"model", "device", "mode", "median_ms", "cpu_ms", "peak_memory_mb"},
        "solvers": {"device", "n", "m", "solver", "rel_error", "median_ms"},
        "scale": {"device", "n", "m", "d", "mode", "ranks", "seconds", "matmul_seconds", "peak_rss_gb"},
    }
    for name, fields in wanted.items():
        path = ROOT / "benchmarks" / "results" / f"{name}.json"
        for row in json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []:
            assert fields | {"hardware", "versions"} <= set(row), name
