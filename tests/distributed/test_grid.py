"""1, 2 and 4 processes, with and without accumulation: the same global batches give the same training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("train_grid.py")
PROCESSES, ACCUMULATION = (2, 4), (1, 2, 4)
BATCH = 8  # examples of a micro-step, on all processes together
TRANSPORT = {"weight_warmup": 2, "weight_refresh_steps": 3}
#: Those that train at every accumulation; the others at one, for the sake of time.
AT_ALL = ("default", "sharded", "column")
PRESET = {"weighting": "clean_posterior", "example_loss": "logit_adjusted", "meta_loss_coefficient": 0.1}
VARIANTS = {
    "default": PRESET | {"weight_refresh_steps": 0},
    "sharded": {"weighting": "agreement", "feature_memory": "sharded"},
    "encoded": PRESET | {"feature_memory": "sharded"},  # several times
    "column": {"weighting": "column"},
    "head_only": {"weighting": "closed_form", "feature_memory": "sharded", "head_only_after_warmup": True},
    "closed_form": {
        "weighting": "closed_form",
        "cost": "combined",
        "weighting_kwargs": {"target_ess": 0.5},
        "feature_memory": "sharded",
    },
    "table": {
        "weighting": "table",
        "weighting_kwargs": {"objective": "sharp"},
        "cost": "combined",
        "feature_memory": "sharded",
    },
    # Needs the whole matrix: every process solves it whole.
    "whole": {"weighting": "table", "weighting_kwargs": {"objective": "kl_geomloss", "steps": 1}},
    "net": {"weighting": "net", "cost": "combined", "feature_memory": "sharded"},
    "batch_table": {"weighting": "table", "weight_scope": "batch"},
    "batch_net": {"weighting": "net", "weight_scope": "batch"},
}


def cases(replay_of):
    """What one process group trains, by name."""
    found = {}
    for variant, arguments in VARIANTS.items():
        for steps in ACCUMULATION if variant in AT_ALL else (2,):
            dtypes = ("float64", "float32") if variant in ("default", "table") and steps == 2 else ("float64",)
            for dtype in dtypes:
                name = f"{variant}-{steps}-{dtype}"
                given = (TRANSPORT if variant != "column" else {}) | arguments | {"gradient_accumulation_steps": steps}
                found[name] = {
                    "name": name,
                    "dtype": dtype,
                    "arguments": given,
                    "batch": BATCH,
                    "replay_of": replay_of,
                }
    return found


def apart(found, expected):
    """How far two tensors are apart, as a share of the expected one's length.

    Float32 promises a share of the whole and not of each element: the order of a sum, which differs with the number of
    processes and the kind of processor, moves one small weight of many by more than it moves all of them. What is
    shorter than 1e-3 is compared as if it were that long: a gradient that is zero up to rounding has no share.
    """
    assert found.shape == expected.shape
    return float((found - expected).norm() / expected.norm().clamp_min(1e-3))


def launch(out, processes, replay_of=None):
    """Train all cases in one group of processes; the world size is what was asked for, or the script fails."""
    out.mkdir()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    replay = [str(out.parent / f"of-{replay_of}")] if replay_of else []
    command += [str(SCRIPT), str(out), json.dumps(list(cases(replay_of).values())), *replay]
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=env, cwd=out, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """`runs[processes]` holds, by case, what each rank became, and what one process became on the same batches."""
    folder = tmp_path_factory.mktemp("grid")
    found = {}
    for processes in PROCESSES:
        launch(folder / f"of-{processes}", processes)
        launch(folder / f"one-{processes}", 1, replay_of=processes)
        found[processes] = {
            name: (
                [torch.load(folder / f"of-{processes}" / f"{name}-{rank}.pt") for rank in range(processes)],
                torch.load(folder / f"one-{processes}" / f"{name}-0.pt"),
            )
            for name in cases(None)
        }
    return found


@pytest.mark.distributed
@pytest.mark.slow
@pytest.mark.parametrize("name", cases(None))
@pytest.mark.parametrize("processes", PROCESSES)
def test_processes_train_what_one_does(runs, processes, name):
    """Kills: a loss divided by the local batch or the local number of micro-steps; features, memory, standardisation,
    a sum over rows, a table or a net of one process only; a wrong share of the rows; a training forward past the
    wrapper (the ranks' parameters drift apart without an error).
    """
    ranks, one = runs[processes][name]
    first = ranks[0]
    assert [found["world_size"] for found in ranks] == [processes] * processes
    assert str(one["dtype"]).endswith(name.rpartition("-")[2])
    for other in ranks[1:]:  # to the last bit
        torch.testing.assert_close(first["parameters"], other["parameters"], rtol=0, atol=0)
        torch.testing.assert_close(first["weights"], other["weights"], rtol=0, atol=0)

    steps = len(one["seen"])
    together = [sum((found["seen"][step] for found in ranks), []) for step in range(steps)]
    assert together == one["seen"]

    at_most = 1e-10 if name.endswith("64") else 1e-5
    losses = torch.tensor([found["losses"] for found in ranks], dtype=torch.float64).mean(dim=0)
    assert apart(losses, torch.tensor(one["losses"], dtype=torch.float64)) < at_most
    norms = [[row["grad_norm"] for row in found["log"] if "grad_norm" in row] for found in (first, one)]
    assert len(norms[0]) == 9
    assert apart(*torch.tensor(norms, dtype=torch.float64)) < at_most
    assert one["weights"].std() > 1e-3
    assert apart(first["weights"], one["weights"]) < at_most
    assert set(first["parameters"]) == set(one["parameters"])
    for parameter, value in one["parameters"].items():
        assert apart(first["parameters"][parameter], value) < at_most, parameter
    assert first["eval_loss"] == pytest.approx(one["eval_loss"], rel=1e-5)


@pytest.mark.distributed
@pytest.mark.slow
@pytest.mark.parametrize("processes", PROCESSES)
def test_a_divided_memory_is_saved_whole(runs, processes):
    """A checkpoint does not depend on the number of processes. Kills: a memory saved in parts, or in another order."""
    (first, *others), one = runs[processes]["sharded-1-float64"]
    assert all(not len(other["state"]["memory.features"]) for other in others)
    torch.testing.assert_close(
        first["state"]["memory.features"], one["state"]["memory.features"], rtol=1e-10, atol=1e-10
    )
    assert set(first["state"]) == set(one["state"])
