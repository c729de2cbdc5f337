"""Figures reach the trackers, by their real clients, which write to a folder: nothing leaves the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers.integrations import CometCallback, DagsHubCallback, MLflowCallback

from hf_otw.report.callback import takes_figures
from hf_otw.report.trackers import TRACKERS, sender_of, to_dvclive, to_mlflow, to_tensorboard, to_wandb
from tests.test_figures import trainer_on_digits

NAMES = ("otw/class_totals", "otw/weights")


def is_drawn(path: Path) -> bool:
    """Is it a picture with something in it?"""
    pixels = np.asarray(Image.open(path).convert("L"))
    return pixels.ndim == 2 and float(pixels.std()) > 10


@pytest.mark.slow
def test_figures_reach_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills: a run that is not found, another name, figures on another step than the numbers beside them."""
    pytest.importorskip("wandb", reason="needs `make test-trackers`")
    for name, value in {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "WANDB_SILENT": "true"}.items():
        monkeypatch.setenv(name, value)
    rows = logged_by_wandb(monkeypatch)
    trainer = trainer_on_digits(tmp_path / "out", "arguments.report_to=[wandb]")
    trainer.train()
    import wandb

    folder = Path(wandb.run.dir)
    wandb.finish()
    for name in NAMES:
        steps = [row["train/global_step"] for row in rows if name in row]
        files = sorted(folder.glob(f"media/images/{name}_*.png"))
        assert steps[-1] == trainer.state.max_steps
        assert len(files) == len(steps) > 0
        assert all(map(is_drawn, files))
    assert any("train/otw/ess" in row for row in rows), "the numbers"


def logged_by_wandb(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the client is asked to log, which it does all the same: its own file cannot be read without its server."""
    import wandb

    rows: list[dict[str, Any]] = []
    real = wandb.Run.log

    def log(run: Any, data: dict[str, Any], *rest: Any, **more: Any) -> None:
        rows.append(data)
        real(run, data, *rest, **more)

    monkeypatch.setattr(wandb.Run, "log", log)
    return rows


@pytest.mark.slow
# Of MLflow 3.17 on SQLAlchemy 2.1, November 2026: goes when MLflow asks its database in the new way.
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")
def test_figures_reach_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills: artifacts of another run, or of another step; a file that is no picture."""
    mlflow = pytest.importorskip("mlflow", reason="needs `make test-trackers`")
    monkeypatch.chdir(tmp_path)  # artifacts of a run whose numbers are in a database lie in the working directory
    uri = f"sqlite:///{tmp_path / 'runs.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    trainer = trainer_on_digits(tmp_path / "out", "arguments.report_to=[mlflow]")
    trainer.train()
    client = mlflow.MlflowClient(uri)
    (run,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert "otw/ess" in run.data.metrics
    for name in NAMES:
        files = [file.path for file in client.list_artifacts(run.info.run_id, name)]
        assert files[-1] == f"{name}/{trainer.state.max_steps:06}.png"
        assert is_drawn(Path(client.download_artifacts(run.info.run_id, files[-1])))


@pytest.mark.slow
def test_figures_reach_dvclive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills: pictures that overwrite each other, or carry another step."""
    pytest.importorskip("dvclive", reason="needs `make test-trackers`")
    monkeypatch.chdir(tmp_path)  # where the client makes its folder
    trainer = trainer_on_digits(tmp_path / "out", "arguments.report_to=[dvclive]")
    trainer.train()
    for name in NAMES:
        files = sorted((tmp_path / "dvclive" / "plots" / "images" / name).iterdir(), key=lambda file: int(file.stem))
        assert files[-1].name == f"{trainer.state.max_steps}.png"
        assert len(files) == 2, "of the second and the third epoch"
        assert all(map(is_drawn, files))


class Silent:
    """A callback before its run has begun, or on another process than the first."""

    tb_writer = None
    _wandb = None
    live = None

    class _ml_flow:
        @staticmethod
        def active_run() -> None:
            return None


@pytest.mark.parametrize("send", [to_tensorboard, to_wandb, to_mlflow, to_dvclive])
def test_without_a_run_nothing_is_sent(send: Any) -> None:
    """Kills: a failure in the middle of training where a tracker has no run, as on processes other than the first."""
    send(Silent(), "otw/weights", None, 1)


def test_a_tracker_is_known_by_its_callback() -> None:
    """Kills: a subclass that is forgotten, a tracker that is sent what was never tried."""
    parts = {kind: kind.__new__(kind) for kind in (DagsHubCallback, CometCallback)}
    parts[DagsHubCallback]._auto_end_run = False  # read when it is taken away
    assert sender_of(parts[DagsHubCallback]) is TRACKERS[MLflowCallback]
    assert sender_of(parts[CometCallback]) is None


def test_figures_are_drawn_only_for_those_who_take_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills: figures drawn for nobody, and a run that ends at the first figure where matplotlib is missing."""
    pytest.importorskip("tensorboard")
    assert not takes_figures(trainer_on_digits(tmp_path))
    trainer = trainer_on_digits(tmp_path, "arguments.report_to=[tensorboard]")
    assert takes_figures(trainer)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not takes_figures(trainer)
