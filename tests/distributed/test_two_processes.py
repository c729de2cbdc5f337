"""Two processes train what one does: the same global batches, hence the same losses, weights and parameters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("train_toy.py")
VARIANTS = {
    "column": {"weighting": "column", "gradient_accumulation_steps": 2},
    "dataset": {"weighting": "own_class", "weight_refresh_steps": 2, "weight_warmup": 3, "meta_loss_coefficient": 0.3},
    "dataset_table": {"weighting": "table", "objective": "kl", "weight_refresh_steps": 2},
    "batch_table": {"weighting": "table", "weight_scope": "batch", "objective": "entropy", "weight_refresh_steps": 2},
    "batch_net": {"weighting": "net", "weight_scope": "batch", "weight_refresh_steps": 2},
    "head_only": {"weighting": "own_class", "head_only_after_warmup": True, "weight_warmup": 2},
}


def run(out, processes, settings):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command += [str(SCRIPT), str(out), str(processes), json.dumps(settings)]
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(out / f"rank-{rank}.pt") for rank in range(processes)]


@pytest.mark.distributed
@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_two_processes_train_what_one_does(tmp_path, name):
    """Kills: a loss divided by the local batch, features, memory, table or net of one process only, a training forward
    past the wrapper (the ranks' parameters drift apart without an error).
    """
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    (one,) = run(tmp_path / "one", 1, VARIANTS[name])
    first, second = run(tmp_path / "two", 2, VARIANTS[name])
    assert first["world_size"] == second["world_size"] == 2

    exact = {"rtol": 0, "atol": 0}
    torch.testing.assert_close(first["parameters"], second["parameters"], **exact)
    state = {n: v for n, v in second["state"].items() if not n.startswith(("target", "scaler"))}
    torch.testing.assert_close({n: first["state"][n] for n in state}, state, equal_nan=True, **exact)

    near = {"rtol": 1e-4, "atol": 1e-5}
    for key in ("loss", "grad_norm", "otw/ess"):
        ours, theirs = ([row[key] for row in found["log"] if key in row] for found in (first, one))
        assert len(ours) == len(theirs) == 8
        torch.testing.assert_close(ours, theirs, **near)
    weights = one["state"]["example_weights"]
    assert weights.std() > 1e-3
    torch.testing.assert_close(first["state"]["example_weights"], weights, **near)
    torch.testing.assert_close(first["parameters"], one["parameters"], **near)
    assert first["eval_loss"] == pytest.approx(one["eval_loss"], rel=1e-5)
