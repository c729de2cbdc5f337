"""Runs and recipes on the Hub: the real client of huggingface_hub against a server on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.command_line import Done, hf_otw_process
from tests.hub_server import TOKEN, Hub, serving

RECIPE = """\
shows: toy
source: {packaged: digits}
model: {name: features, options: {hidden: 8}}
arguments: {max_steps: 4, per_device_train_batch_size: 16, weight_warmup: 1, use_cpu: true}
data: {max_train: 200}
"""
CARD = "---\nlibrary_name: transformers\n---\n# toy\n"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving() as found:
        yield found


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """What `hf-otw train` leaves, with what must not be published in it too."""
    run = tmp_path / "run"
    files = {
        "model/recipe.yaml": RECIPE,
        "model/README.md": CARD,
        "model/model.safetensors": "weights of the model",
        "model/training_args.bin": "a pickle with a token in it",
        "model/checkpoint-3/optimizer.pt": "state",
        "model/.cache/x": "left over",
        "metrics.json": "{}",
        "weights.parquet": "PAR1 weights of examples",
    }
    for name, text in files.items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(text, encoding="utf-8")
    return run


def cli(hub: Hub | str, cwd: Path, *argv: str | Path, token: str | None = TOKEN, **env: str) -> Done:
    url = hub if isinstance(hub, str) else hub.url
    own = {"HF_ENDPOINT": url, "HF_HOME": str(cwd / "hf"), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    own |= {"HF_HUB_DISABLE_XET": "1", "HF_TOKEN": token or "", "HF_HUB_DISABLE_TELEMETRY": "1"}
    return hf_otw_process(*argv, cwd=cwd, env={**own, **env})


def main_of(hub: Hub, repo: str, branch: str = "main") -> dict[str, bytes]:
    found = hub.repos[repo]
    return found.commits[found.branches[branch]]


def test_a_run_is_published_in_one_commit_and_its_recipe_comes_back(hub: Hub, run_folder: Path, tmp_path: Path):
    """Kills: pickles, checkpoints or weights of single examples among the files; a recipe that is not the one sent."""
    done = cli(hub, tmp_path, "recipes", "push", run_folder, "ada/toy")
    assert done.code == 0, done.err
    assert f"Published: {hub.url}/ada/toy/commit/" in done.out
    files = main_of(hub, "ada/toy")
    assert sorted(files) == ["README.md", "metrics.json", "model.safetensors", "recipe.yaml"]
    assert files["model.safetensors"] == b"weights of the model"
    assert len(hub.repos["ada/toy"].commits) == 1
    assert not hub.repos["ada/toy"].private
    back = cli(hub, tmp_path, "recipes", "pull", "ada/toy", "--output", "mine.yaml", token=None)
    assert back.code == 0, back.err
    assert (tmp_path / "mine.yaml").read_text(encoding="utf-8") == RECIPE
    again = cli(hub, tmp_path, "recipes", "pull", "ada/toy", "--output", "mine.yaml")
    assert again.code == 1
    assert "by --force" in again.err


def test_weights_of_examples_are_published_on_request_only(hub: Hub, run_folder: Path, tmp_path: Path):
    """Kills: --weights that is parsed and ignored, and weights that go without it (the test above)."""
    assert cli(hub, tmp_path, "recipes", "push", run_folder, "ada/toy", "--weights").code == 0
    assert main_of(hub, "ada/toy")["weights.parquet"] == b"PAR1 weights of examples"
    (run_folder / "weights.parquet").unlink()
    refused = cli(hub, tmp_path, "recipes", "push", run_folder, "ada/toy", "--weights")
    assert (refused.code, "the run had no weights" in refused.err) == (1, True)


def test_a_revision_is_a_branch_of_its_own(hub: Hub, run_folder: Path, tmp_path: Path):
    """Kills: a revision that is ignored when a run is pushed or a recipe pulled."""
    assert cli(hub, tmp_path, "recipes", "push", run_folder, "ada/toy").code == 0
    changed = RECIPE.replace("max_steps: 4", "max_steps: 5")
    (run_folder / "model" / "recipe.yaml").write_text(changed, encoding="utf-8")
    done = cli(hub, tmp_path, "recipes", "push", run_folder, "ada/toy", "--revision", "longer")
    assert done.code == 0, done.err
    assert main_of(hub, "ada/toy")["recipe.yaml"] == RECIPE.encode()
    assert main_of(hub, "ada/toy", "longer")["recipe.yaml"] == changed.encode()
    shown = cli(hub, tmp_path, "recipes", "show", "ada/toy", "--revision", "longer")
    assert yaml.safe_load(shown.out)["arguments"]["max_steps"] == 5
    assert yaml.safe_load(cli(hub, tmp_path, "recipes", "show", "ada/toy").out)["arguments"]["max_steps"] == 4
    missing = cli(hub, tmp_path, "recipes", "show", "ada/toy", "--revision", "shorter")
    assert (missing.code, missing.err) == (
        1,
        "Error: Expected the revision 'shorter' of ada/toy, found none. See its branches.\n",
    )


def test_a_private_repo_is_refused_without_its_token(hub: Hub, run_folder: Path, tmp_path: Path):
    """Kills: `--private` without effect; a traceback, or a message that does not say to log in."""
    assert cli(hub, tmp_path, "recipes", "push", run_folder, "ada/secret", "--private").code == 0
    assert hub.repos["ada/secret"].private
    refused = cli(hub, tmp_path, "recipes", "show", "ada/secret", token=None)
    assert refused.code == 1
    assert "it is private. Log in with `hf auth login`, or set HF_TOKEN." in refused.err
    assert "Traceback" not in refused.err
    allowed = cli(hub, tmp_path, "recipes", "show", "ada/secret")
    assert (allowed.code, yaml.safe_load(allowed.out)["shows"]) == (0, "toy")


def test_writing_without_a_token_is_refused(hub: Hub, run_folder: Path, tmp_path: Path):
    """Kills: a run that seems to be published and is not."""
    refused = cli(hub, tmp_path, "recipes", "push", run_folder, "ada/toy", token=None)
    assert refused.code == 1
    assert "Log in with `hf auth login`" in refused.err
    assert hub.repos == {}


def test_a_broken_connection_is_told_and_the_cache_still_serves(hub: Hub, run_folder: Path, tmp_path: Path):
    """Kills: a traceback of the HTTP library; a cache that is not used when the Hub is away or offline mode is set."""
    assert cli(hub, tmp_path, "recipes", "push", run_folder, "ada/toy").code == 0
    assert cli(hub, tmp_path, "recipes", "show", "ada/toy").code == 0
    away = "http://127.0.0.1:9"  # nobody listens
    cached = cli(away, tmp_path, "recipes", "show", "ada/toy")
    assert (cached.code, yaml.safe_load(cached.out)["shows"]) == (0, "toy")
    hub.broken = True
    broken = cli(hub, tmp_path, "recipes", "push", run_folder, "ada/toy")
    assert broken.code == 1
    assert f"Expected an answer of the Hub ({hub.url})" in broken.err
    assert "Traceback" not in broken.err
    seen = len(hub.requests)
    offline = cli(hub, tmp_path, "recipes", "show", "ada/toy", HF_HUB_OFFLINE="1")
    assert (offline.code, yaml.safe_load(offline.out)["shows"]) == (0, "toy")
    unknown = cli(hub, tmp_path, "recipes", "show", "ada/other", HF_HUB_OFFLINE="1")
    assert unknown.code == 1
    assert "in the cache" in unknown.err
    assert "HF_HUB_OFFLINE" in unknown.err
    assert len(hub.requests) == seen, "offline mode asks nobody"


def test_repos_without_a_recipe_and_unknown_ones_are_told_apart(hub: Hub, run_folder: Path, tmp_path: Path):
    """Kills: one message for both."""
    assert cli(hub, tmp_path, "recipes", "push", run_folder, "ada/toy").code == 0
    del main_of(hub, "ada/toy")["recipe.yaml"]
    assert "it holds no recipe of hf_otw" in cli(hub, tmp_path, "recipes", "show", "ada/toy").err
    assert "the Hub knows none of this name" in cli(hub, tmp_path, "recipes", "show", "ada/unknown").err
    assert "Expected a repo `user/name`" in cli(hub, tmp_path, "recipes", "push", run_folder, "a/b/c").err


def test_a_folder_that_is_no_run_is_refused(hub: Hub, tmp_path: Path):
    """Kills: an empty repo made for nothing."""
    done = cli(hub, tmp_path, "recipes", "push", tmp_path, "ada/toy")
    assert (done.code, "Expected the folder of a run" in done.err) == (1, True)
    assert hub.repos == {}


@pytest.mark.slow
def test_train_push_and_train_again_from_the_hub(hub: Hub, tmp_path: Path):
    """Kills: a published recipe that is not the run's (a lost override), or a token among what is published."""
    (tmp_path / "toy.yaml").write_text(RECIPE, encoding="utf-8")
    extra = ["--learning_rate", "3e-3", "--dataloader_num_workers", "0"]
    first = cli(hub, tmp_path, "train", "toy.yaml", "--push", "ada/toy", "--push-weights", *extra)
    assert first.code == 0, first.err
    files = main_of(hub, "ada/toy")
    assert {"README.md", "model.safetensors", "recipe.yaml", "metrics.json", "weights.parquet"} == set(files)
    assert all(TOKEN.encode() not in content for content in files.values())
    assert b"`hf-otw train ada/toy` trains this model again" in files["README.md"]
    second = cli(hub, tmp_path, "train", "ada/toy", "--output-dir", "again")
    assert second.code == 0, second.err
    before, after = (json.loads((tmp_path / run / "metrics.json").read_text()) for run in ("runs/toy", "again"))
    assert before["metrics"] == after["metrics"]
    assert after["config"]["arguments"]["learning_rate"] == 3e-3
    assert (tmp_path / "again/model/model.safetensors").read_bytes() == files["model.safetensors"]
