"""How the processes of a launched run part."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hf_otw.cli import app as app_module
from hf_otw.cli.main import main
from hf_otw.cli.processes import leave_processes


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of torch, in a process that is one of several."""
    found: list[str] = []
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    for name in ("barrier", "destroy_process_group"):
        monkeypatch.setattr(torch.distributed, name, lambda name=name: found.append(name))
    return found


def test_one_process_has_nobody_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "barrier", lambda: pytest.fail("it would wait for ever"))
    leave_processes(together=True)


def ended(error: BaseException | None) -> Any:
    def end(*positional: Any, **keywords: Any) -> None:
        if error is not None:
            raise error

    return end


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (SystemExit(0), ["barrier", "destroy_process_group"]),
        (SystemExit(1), ["destroy_process_group"]),
        (ValueError("no such row"), ["destroy_process_group"]),
    ],
)
def test_commands_wait_for_each_other_unless_one_failed(
    monkeypatch: pytest.MonkeyPatch, calls: list[str], error: BaseException, expected: list[str]
) -> None:
    """Kills: going without the others, whose threads then abort; waiting after an error for those that never come."""
    monkeypatch.setattr(app_module, "app", ended(error))
    with pytest.raises(SystemExit):
        main(["doctor"])
    assert calls == expected
