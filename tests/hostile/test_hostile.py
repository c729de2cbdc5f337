"""Hostile recipes are refused with a reason, or do no harm: real commands against a Hub on loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hostile.arena import Arena, arena, judge
from tests.hostile.cases import CASES, Case, recipe
from tests.hub_server import OTHER_TOKEN, READ_TOKEN


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    with arena(tmp_path_factory.mktemp("arena")) as found:
        yield found


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_hostile_recipe_does_no_harm(case: Case, field: Arena) -> None:
    """Kills: each hole that is closed; the name of the case says which."""
    done, harm = field.attack(case)
    assert judge(case, done, harm) == []


@pytest.mark.slow
def test_a_good_recipe_of_a_stranger_trains(field: Arena) -> None:
    """Kills: an allowlist that allows nothing, and harm that is seen everywhere."""
    done, harm = field.attack(Case("good", recipe(), None))
    assert (done.code, harm) == (0, []), done.err
    assert (field.folder / "good/runs/mallory/good/model/model.safetensors").is_file()


@pytest.mark.slow
def test_what_the_user_says_is_the_users(field: Arena) -> None:
    """Kills: a check that looks at the command line's own values, or one that a change switches off for the others."""
    own = ("--source.files.train", "private.csv", "--source.packaged", "null")
    files = recipe(source={"files": {"train": "other.csv"}}, model={"name": "features"})
    done, _ = field.attack(Case("own-files", files, None, argv=("train", "{repo}", *own)))
    assert "Expected a column 'features', got" in done.err
    both = recipe(source={"files": {"train": "other.csv", "test": "private.csv"}}, model={"name": "features"})
    done, _ = field.attack(Case("own-train", both, None, argv=("train", "{repo}", *own)))
    assert "no files of your machine in mallory/own-train" in done.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("repo", "env", "message"),
    [
        ("ada/new", {"HF_TOKEN": ""}, "Expected a token, to publish ada/new"),
        ("ada/new", {"HF_TOKEN": READ_TOKEN}, "one that may only read"),
        ("ada/new", {"HF_TOKEN": "hf_unknown"}, "the Hub says no (401)"),
        ("ada/new", {"HF_TOKEN": OTHER_TOKEN}, "a name of yours, mallory/NAME"),
        ("mallory/new", {}, "a name of yours, ada/NAME"),
        ("ada/a b", {}, "Expected a repo `user/name`"),
    ],
)
def test_a_push_that_cannot_work_is_refused_before_the_training(
    repo: str, env: dict[str, str], message: str, field: Arena
) -> None:
    """Kills: hours of training that end in a refusal, and a repo that is made although nothing follows."""
    here = field.folder / f"push-{abs(hash((repo, message)))}"
    here.mkdir()
    (here / "toy.yaml").write_text(recipe(), encoding="utf-8")
    field.hub.repos.clear()
    done = field.worker("train", "toy.yaml", "--push", repo, cwd=here, env={"HOME": str(here), **env})
    assert (done.code, message in done.err) == (1, True), done.err
    assert not (here / "runs").exists()
    assert field.hub.repos == {}


@pytest.mark.slow
def test_a_push_without_network_is_refused_before_the_training(field: Arena) -> None:
    here = field.folder / "push-broken"
    here.mkdir()
    (here / "toy.yaml").write_text(recipe(), encoding="utf-8")
    field.hub.broken = True
    try:
        done = field.worker("train", "toy.yaml", "--push", "ada/new", cwd=here)
    finally:
        field.hub.broken = False
    assert (done.code, "Expected an answer of the Hub" in done.err, (here / "runs").exists()) == (1, True, False)
