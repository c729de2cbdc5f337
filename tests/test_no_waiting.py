"""A step of ours never waits for the device, and is never compiled twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hf_otw.training.session import WeightingSession
from tests.toys import model, toy_dataset, toy_trainer

#: Operations whose result the host needs, or whose size it must learn: each waits for the device.
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "unique", "_unique2", "equal", "is_nonzero", "item"}
DEFAULT = {"weighting": "clean_posterior", "encode_at_solve": True}
STEADY = {"weight_warmup": 1.0, "weight_refresh_steps": 0, "max_steps": 4}


class Waits(TorchDispatchMode):
    """Notes operations that would wait for a device, had the tensors one."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.paused = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        indices = args[1] if name in ("index", "index_put", "index_put_") else ()
        by_mask = any(index is not None and index.dtype == torch.bool for index in indices)
        if (name in WAITING or by_mask) and not self.paused:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("work", [lambda x: x.sum().item(), lambda x: x[x > 0], lambda x: bool((x > 0).any())])
def test_the_watch_sees_who_waits(work: Any) -> None:
    with Waits() as waits:
        work(torch.ones(3))
    assert waits.found


def watch(trainer: Any, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What waits before the forward pass and in `compute_loss`, a list for each step; what the model does in its
    forward pass is its own affair.
    """
    steps: list[list[str]] = []
    compute_loss, forward, waits = trainer.compute_loss, trainer._losses.forward, Waits()
    before_forward = WeightingSession.before_forward

    def solving(*args: Any) -> None:
        waits.found = []
        with waits:
            before_forward(*args)

    monkeypatch.setattr(WeightingSession, "before_forward", solving)

    def watched(*args: Any, **keywords: Any) -> Any:
        with waits:
            found = compute_loss(*args, **keywords)
        steps.append(waits.found)
        return found

    def unwatched(*args: Any, **keywords: Any) -> Any:
        waits.paused = True
        found = forward(*args, **keywords)
        waits.paused = False
        return found

    trainer.compute_loss, trainer._losses.forward = watched, unwatched
    return steps


@pytest.mark.parametrize(
    "how",
    [
        {"weighting": "uniform"},
        {"weighting": "closed_form"},
        {"weighting": "closed_form", "cost": "combined", "example_loss": "logit_adjusted"},
        DEFAULT,
    ],
    ids=lambda how: how["weighting"],
)
def test_a_step_between_solves_waits_for_nothing(
    tmp_path: Path, how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    steady = {"max_steps": 4} if how["weighting"] == "uniform" else STEADY
    trainer = toy_trainer(tmp_path, **steady, **how)
    steps = watch(trainer, monkeypatch)
    trainer.train()
    assert len(steps) == 4
    assert steps[2:] == [[], []]
    if how["weighting"] != "uniform":
        assert steps[1], "the solve looks at errors: a watch that sees nothing sees nothing here either"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_step_on_a_gpu_waits_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = WeightingSession.weights

    def strict(*args: Any) -> Any:
        torch.cuda.set_sync_debug_mode("error")
        try:
            return weights(*args)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(WeightingSession, "weights", strict)
    toy_trainer(tmp_path, **STEADY, use_cpu=False).train()


@pytest.mark.parametrize("weighting", ["closed_form", "clean_posterior"])
def test_nothing_is_compiled_again_from_step_to_step(tmp_path: Path, weighting: str) -> None:
    """Kills hooks that come and go, and Python numbers that change from step to step, inside the compiled model."""
    torch._dynamo.reset()
    how = DEFAULT if weighting == "clean_posterior" else {"weighting": weighting}
    trainer = toy_trainer(
        tmp_path,
        net=model(),
        data=toy_dataset(length=6),
        torch_compile=True,
        torch_compile_backend="eager",
        dataloader_drop_last=True,
        **STEADY | {"max_steps": 6},
        **how,
    )
    compiled: list[int] = []
    compute_loss = trainer.compute_loss

    def counted(*args: Any, **keywords: Any) -> Any:
        found = compute_loss(*args, **keywords)
        compiled.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
        return found

    trainer.compute_loss = counted
    trainer.train()
    assert compiled[0] > 0, "nothing was compiled: nothing is tested"
    assert compiled[2:] == [compiled[2]] * 4
