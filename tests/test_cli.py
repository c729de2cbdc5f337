"""The command line: help, exit codes, mistakes told in a sentence, recipes by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from hf_otw import __version__
from hf_otw.cli.app import app
from hf_otw.cli.launch import CONFIGS, launch_command
from hf_otw.cli.main import TRACEBACK
from hf_otw.cli.train import overrides
from hf_otw.recipe.find import find_recipe, library
from hf_otw.recipe.reading import load_recipe
from tests.command_line import ROOT, hf_otw


def commands(group: object, before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command, as the words that call it."""
    found = []
    for name, command in group.commands.items():
        words = (*before, name)
        found += commands(command, words) if hasattr(command, "commands") else [words]
    return found


COMMANDS = commands(get_command(app))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(words: tuple[str, ...], capsys: pytest.CaptureFixture) -> None:
    """Kills: a command without an example in its help, or an option without a word on what it does."""
    done = hf_otw(capsys, *words, "--help")
    assert done.code == 0
    assert f"hf-otw {' '.join(words)}" in " ".join(done.out.split())
    assert "Example" in done.out
    command = get_command(app)
    for word in words:
        command = command.commands[word]
    assert [p.name for p in command.params if not getattr(p, "help", None) and p.name != "context"] == []


def test_help_loads_nothing_heavy() -> None:
    """Kills: an import of torch, or of a library that brings it, at the top of a command."""
    code = "import sys, hf_otw.cli.app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy = {"torch", "numpy", "transformers", "datasets", "sklearn", "huggingface_hub", "matplotlib"}
    assert heavy & set(done.stdout.split()) == set()


def test_version_and_no_arguments(capsys: pytest.CaptureFixture) -> None:
    assert hf_otw(capsys, "--version").out == f"hf-otw {__version__}\n"
    assert hf_otw(capsys).code == 2


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (("train", "digts"), 1, "Did you mean 'digits'?"),
        (("train", "nowhere.yaml"), 1, "found nothing for 'nowhere.yaml'"),
        (("train", "digits", "--max_stps", "3"), 1, "Did you mean 'max_steps'?"),
        (("train", "digits", "--dryrun", "true"), 1, "Did you mean 'dry-run'?"),
        (("train", "digits", "--data.label_nois", "0.1"), 1, "Did you mean 'label_noise'?"),
        (("train", "digits", "--max_steps", "many"), 1, "Expected int"),
        (("train", "digits", "--max_steps"), 2, "Expected a value after --max_steps"),
        (("train", "digits", "--dryrun"), 2, "Did you mean --dry-run?"),
        (("train", "digits", "--report_to", "[wandb"), 1, "Expected YAML in the value of arguments.report_to"),
        (("train", "digits", "--feature_module", "head"), 1, "Write a list: [head]."),
        (("train", "digits", "--catalogue", "nothing"), 1, "Expected --catalogue to name a module"),
        (("train", "digits", "--output-dir", __file__), 2, "Expected a folder for --output-dir"),
        (("train", "digits", "more"), 2, "Expected an option like --max_steps 100, got 'more'"),
        (("train", "digits", "--source", "hub"), 1, "Choose the other with --source"),
        (("train", "digits", "--source", "disk"), 2, "Expected --source packaged, files or hub"),
        (("train", "digits", "--processes", "2"), 2, "Expected --launch with --processes"),
        (("train", "digits", "--launch", "fsdp"), 1, "Did you mean 'fsdp2'?"),
        (("train", "digits", "--revision", "main"), 1, "Expected --revision with a repo of the Hub"),
        (("train", "digits", "--push", "name"), 2, "Expected --push user/name"),
        (("train", "digits", "--baseline", "nowhere"), 1, "Expected the folder of a run with metrics.json"),
        (("train", "digits", "--source.packaged", "digit"), 1, "Did you mean 'digits'?"),
        (("train", "digits", "--model.name", "featurs"), 1, "Did you mean 'features'?"),
        (("recipes", "show", "nothing"), 1, "The package has digits"),
        (("trian",), 2, "No such command 'trian'"),
    ],
)
def test_mistakes_are_told_without_a_traceback(
    argv: tuple[str, ...], code: int, message: str, capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch
) -> None:
    """Kills: a traceback, a wrong exit code, or a message that does not help."""
    monkeypatch.chdir(tmp_path)
    done = hf_otw(capsys, *argv)
    assert done.code == code
    assert message in " ".join(done.err.replace("│", " ").split())
    assert "Traceback" not in done.err
    assert list(tmp_path.iterdir()) == []


def test_the_traceback_can_be_had(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRACEBACK, "1")
    with pytest.raises(ValueError, match="Did you mean 'digits'"):
        hf_otw(capsys, "recipes", "show", "digts")


def test_without_typer_the_message_says_what_to_install(capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "hf_otw.cli.app", None)
    done = hf_otw(capsys, "doctor")
    assert done.code == 1
    assert 'pip install "hf_otw[cli]"' in done.err


def test_options_become_keys_of_the_recipe() -> None:
    words = ["--max_steps", "10", "--learning-rate=1e-4", "--data.label_noise", "0.2", "--seed", "3", "--x", "-1"]
    assert overrides(words) == [
        "arguments.max_steps=10",
        "arguments.learning_rate=1e-4",
        "data.label_noise=0.2",
        "seed=3",
        "arguments.x=-1",
    ]


@pytest.mark.parametrize("name", library())
def test_packaged_recipes_are_valid_and_listed(name: str, capsys: pytest.CaptureFixture) -> None:
    recipe = load_recipe(library()[name])
    assert recipe.source.packaged == "digits" or recipe.needs == ["download"]
    done = hf_otw(capsys, "recipes", "show", name)
    shown = yaml.safe_load(done.out)
    assert shown["shows"] == recipe.shows
    assert "extends" not in shown
    assert recipe.shows[:30] in hf_otw(capsys, "recipes", "list", "--folder", "nowhere").out


def test_recipes_of_a_folder_are_found_by_name(tmp_path: Path, monkeypatch, capsys) -> None:
    """Kills: names that work in the checkout's root only by accident of the path."""
    folder = tmp_path / "recipes" / "toys" / "tiny"
    folder.mkdir(parents=True)
    (folder / "base.yaml").write_text("source: {packaged: digits}\nmodel: {name: features}\narguments: {}\n")
    (folder / "ot.yaml").write_text("extends: base.yaml\nshows: a toy\n")
    monkeypatch.chdir(tmp_path)
    found = find_recipe("toys/tiny/ot")
    assert (found.name, found.is_local) == ("toys/tiny/ot", True)
    assert "a toy" in hf_otw(capsys, "recipes", "list").out
    assert find_recipe(str(folder / "ot.yaml")).name == "ot"
    assert not find_recipe("digits").is_local


def test_the_launch_is_the_same_command_under_accelerate() -> None:
    """Kills: the launch asked for again by the launched command, or a lost argument."""
    argv = ["train", "digits", "--launch", "cpu_ddp", "--processes=2", "--max_steps", "3"]
    command = launch_command("cpu_ddp", 2, argv)
    assert command[1:4] == ["-m", "accelerate.commands.launch", "--config_file"]
    assert Path(command[4]) == CONFIGS / "cpu_ddp.yaml"
    assert command[5:7] == ["--num_processes", "2"]
    start = command.index("hf_otw.cli")
    assert command[start + 1 :] == ["train", "digits", "--max_steps", "3", "--arguments.use_cpu", "true"]
    assert launch_command("ddp", None, argv)[start - 1 :] == ["train", "digits", "--max_steps", "3"]


def test_the_doctor_finds_this_environment_well(capsys: pytest.CaptureFixture, monkeypatch) -> None:
    """Kills: a check that raises, and a token that is shown."""
    monkeypatch.setenv("HF_TOKEN", "hf_donotshow")
    done = hf_otw(capsys, "doctor")
    assert done.code == 0, done.out + done.err
    for what in ("Python", "torch", "transformers", "Hub cache", "devices", "a wrong label among 60 was found"):
        assert what in done.out
    assert "hf_donotshow" not in done.out


def test_the_doctor_says_what_is_wrong(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills: an old package that passes, a missing one that goes unnoticed, a failure with exit code 0."""
    from hf_otw.cli import checkup

    real = checkup.metadata.version

    def version(name: str) -> str:
        if name == "geomloss":
            raise checkup.metadata.PackageNotFoundError(name)
        return "1.0" if name == "transformers" else real(name)

    monkeypatch.setattr(checkup.metadata, "version", version)
    done = hf_otw(capsys, "doctor", "--quick")
    assert done.code == 1
    assert "transformers: 1.0, hf_otw needs <6,>=5.19" in done.err
    assert 'geomloss: not installed, hf_otw needs >=0.3.1. Run `pip install "hf_otw"`.' in done.err
