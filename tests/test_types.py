"""`hf_otw` is typed, and says so to who imports it (`py.typed`): its types must be right."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hf_otw._utils import required

pytest.importorskip("mypy", reason='needs pip install -e ".[dev]"')
ROOT = Path(__file__).resolve().parents[1]
WRONG = """
from hf_otw._utils import look_up
from hf_otw.weighting import ClosedForm

def untyped(weights):
    return weights

look_up({}, 3, "three")
ClosedForm(reg="0.1")
"""


def mypy(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run mypy as `make typecheck` does, with its cache: a minute the first time, seconds from then on."""
    command = [sys.executable, "-m", "mypy", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_hf_otw_has_no_type_error() -> None:
    """Kills: an argument, a result or an attribute of another type than is declared; a function without types."""
    done = mypy()
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_type_error_is_found(tmp_path: Path) -> None:
    """Kills: settings under which mypy finds nothing."""
    (tmp_path / "wrong.py").write_text(WRONG, encoding="utf-8")
    done = mypy(str(tmp_path / "wrong.py"))
    assert done.returncode == 1, done.stdout + done.stderr
    lines = [line.rpartition("[")[2] for line in done.stdout.splitlines() if "error:" in line]
    assert lines == ["no-untyped-def]", "arg-type]", "arg-type]"], done.stdout


def test_what_is_required_is_there() -> None:
    """Kills: a None that travels on, and 0 or False taken for None."""
    assert required(0, "a number") == 0
    with pytest.raises(RuntimeError, match=r"Expected reg to be set by now, got None\. Let the trainer"):
        required(None, "reg")
