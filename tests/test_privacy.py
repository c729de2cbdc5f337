"""Weights and features of single examples stay where they are, unless the user asks for their upload."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import transformers.trainer
from huggingface_hub.utils import filter_repo_objects

from tests.toys import toy_args, toy_trainer

HUB = {"push_to_hub": True, "hub_model_id": "someone/model", "save_strategy": "steps", "save_steps": 3}


class RecordingHub:
    """A hub that notes what it is sent, with the host's own patterns applied by the client's own function."""

    def __init__(self) -> None:
        self.files: set[str] = set()

    def create_repo(self, repo_id: str, **options: Any) -> SimpleNamespace:
        return SimpleNamespace(repo_id=repo_id)

    def upload_folder(
        self, *, folder_path: str, path_in_repo: str = "", ignore_patterns: Any = None, run_as_future: bool, **_: Any
    ) -> Future:
        files = [str(path.relative_to(folder_path)) for path in Path(folder_path).rglob("*") if path.is_file()]
        kept = filter_repo_objects(files, ignore_patterns=ignore_patterns)
        self.files |= {str(Path(path_in_repo) / name) for name in kept}
        done: Future = Future()
        done.set_result(None)
        done.is_done = done.done
        return done


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> RecordingHub:
    found = RecordingHub()
    monkeypatch.setattr(transformers.trainer, "hf_api", lambda: found)
    return found


@pytest.mark.parametrize("strategy", ["end", "every_save"])
def test_push_uploads_no_weights_of_examples(tmp_path: Path, hub: RecordingHub, strategy: str) -> None:
    """Kills: a weights file outside the checkpoint folders."""
    trainer = toy_trainer(tmp_path, weighting="closed_form", max_steps=6, hub_strategy=strategy, **HUB)
    trainer.train()
    trainer.push_to_hub()
    assert "model.safetensors" in hub.files
    assert "README.md" in hub.files
    assert [name for name in hub.files if "otw" in name] == []
    assert list(tmp_path.rglob("otw_state.safetensors"))  # there were some to upload


@pytest.mark.parametrize("strategy", ["checkpoint", "all_checkpoints"])
def test_a_strategy_that_uploads_checkpoints_is_refused(tmp_path: Path, strategy: str) -> None:
    with pytest.raises(ValueError, match="push_example_weights=True"):
        toy_args(tmp_path, hub_strategy=strategy, **HUB)
    for harmless in ({"weighting": "none"}, {"save_example_weights": False}, {"save_only_model": True}):
        toy_args(tmp_path, hub_strategy=strategy, **HUB, **harmless)
    toy_args(tmp_path, hub_strategy=strategy)  # nothing is pushed


def test_who_asks_gets_the_weights(tmp_path: Path, hub: RecordingHub) -> None:
    toy_trainer(
        tmp_path, weighting="closed_form", max_steps=3, hub_strategy="checkpoint", push_example_weights=True, **HUB
    ).train()
    assert "last-checkpoint/otw_state.safetensors" in hub.files
    assert "last-checkpoint/model.safetensors" in hub.files


def test_checkpoints_without_weights_are_uploaded_without(tmp_path: Path, hub: RecordingHub) -> None:
    toy_trainer(
        tmp_path,
        weighting="closed_form",
        max_steps=3,
        hub_strategy="checkpoint",
        save_example_weights=False,
        **HUB,
    ).train()
    assert "last-checkpoint/model.safetensors" in hub.files
    assert [name for name in hub.files if "otw" in name] == []
