"""What a stranger gets: tree -> sdist -> wheel -> empty environment, without a network and without this checkout."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.packages

ROOT = Path(__file__).resolve().parents[1]
METRICS = ("balanced_accuracy", "macro_f1", "per_class_recall", "shot_accuracy")
NOT_SOURCE = (".git", ".venv", "__pycache__", "*.egg-info", "build", "dist", "runs", "data", ".*_cache", ".hypothesis")


class Installed(NamedTuple):
    """An environment that holds the wheel: its interpreter, its site-packages and a directory outside the checkout."""

    python: Path
    site_packages: Path
    elsewhere: Path

    def run(self, code):
        """What `code` prints, as JSON. `-I` ignores PYTHONPATH and the working directory."""
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(self.elsewhere / "hf")}
        return json.loads(call([self.python, "-I", "-c", code], cwd=self.elsewhere, env=environment))


def call(command, **kwargs):
    """Standard output of a command that succeeds; what it said, where it does not."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **kwargs)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""


def site_packages_of(python):
    return Path(call([python, "-I", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]))


def not_source(folder: str, names: list[str]) -> set[str]:
    """What is left out of the copy: the folders of data and runs at the top only, as `hf_otw/data` is a package."""
    found = shutil.ignore_patterns(*NOT_SOURCE)(folder, names)
    return found if Path(folder) == ROOT else found - {"data", "runs", "site"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from the sdist, built from a copy of the tree: no build directory is left in the checkout."""
    tmp_path = tmp_path_factory.mktemp("wheel")
    tree = tmp_path / "tree"
    shutil.copytree(ROOT, tree, ignore=not_source)
    build_sdist = "from setuptools.build_meta import build_sdist; print(build_sdist('dist'))"
    sdist = tree / "dist" / call([sys.executable, "-c", build_sdist], cwd=tree)
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "sdist", filter="data")
    (source,) = (tmp_path / "sdist").iterdir()
    pip_wheel = ["-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", tmp_path, source]
    call([sys.executable, *pip_wheel])
    (path,) = tmp_path.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def names(wheel):
    """The paths in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The wheel in an environment of its own, which sees the dependencies of this one through a .pth file.

    A directory named in a .pth file is searched, but the .pth files *in* it are not read: so an editable install of
    the checkout in this environment stays out of sight.
    """
    tmp_path = tmp_path_factory.mktemp("installed")
    call([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"])
    python = next(path for path in (tmp_path / "env").glob("*/python*") if path.stem == "python")
    site_packages = site_packages_of(python)
    hosts = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site_packages / "dependencies.pth").write_text("\n".join(sorted(hosts)) + "\n", encoding="utf-8")
    call([sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel])
    (tmp_path / "elsewhere").mkdir()
    return Installed(python, site_packages, tmp_path / "elsewhere")


@pytest.mark.parametrize(
    "name",
    [
        "hf_otw/py.typed",
        "hf_otw/report/templates/model_card.md",
        *(f"hf_otw/metrics/{metric}/{metric}.py" for metric in METRICS),
    ],
)
def test_wheel_has(names, name):
    assert name in names


def test_wheel_has_every_file_of_the_package(names):
    files = (path.relative_to(ROOT) for path in (ROOT / "hf_otw").rglob("*") if path.is_file())
    expected = {path.as_posix() for path in files if "__pycache__" not in path.parts}
    assert {"hf_otw/report/templates/report.html.jinja", "hf_otw/audit/templates/audit.html.jinja"} <= expected
    assert expected - names == set()


def test_wheel_has_nothing_else(names):
    tops = {name.split("/")[0] for name in names}
    assert (ROOT / "tests").is_dir()
    assert (ROOT / "recipes").is_dir()
    assert {top for top in tops if not top.endswith(".dist-info")} == {"hf_otw"}
    assert not {name for name in names if "__pycache__" in name}
    assert {name.split("/", 1)[1] for name in names if ".dist-info/licenses/" in name} == {"licenses/LICENSE"}


def test_metadata(installed):
    code = """
import importlib.metadata, json, hf_otw
metadata = importlib.metadata.metadata("hf_otw")
print(json.dumps({
    "version": [metadata["Version"], hf_otw.__version__],
    "licence": metadata["License-Expression"],
    "extras": sorted(metadata.get_all("Provides-Extra")),
    "text": [metadata["Description-Content-Type"], metadata.get_payload()],
}))
"""
    metadata = installed.run(code)
    assert metadata["version"][0] == metadata["version"][1]
    assert metadata["licence"] == "Apache-2.0"
    assert metadata["extras"] == ["benchmarks", "cli", "dev", "docs", "recipes", "report", "test"]
    assert metadata["text"][0] == "text/markdown"
    assert metadata["text"][1].strip() == (ROOT / "README.md").read_text(encoding="utf-8").strip()


def test_import_comes_from_the_wheel(installed):
    file, path = installed.run("import json, sys, hf_otw; print(json.dumps([hf_otw.__file__, sys.path]))")
    assert Path(file).is_relative_to(installed.site_packages)
    assert str(ROOT) not in path


def test_star_import_gives_every_public_name(installed):
    code = """
import json, hf_otw
public = set(hf_otw.__all__)
from hf_otw import *
print(json.dumps([sorted(public), sorted(public - set(globals()))]))
"""
    public, missing = installed.run(code)
    assert {"OTWeightedTrainer", "OTWeightedTrainingArguments", "learn_weights"} <= set(public)
    assert missing == []


def test_metric_loads_offline(installed):
    code = """
import json
from hf_otw.metrics import load_metric, metric_path
score = load_metric("balanced_accuracy").compute(predictions=[0, 0, 0, 0], references=[0, 0, 0, 1])
print(json.dumps([metric_path("balanced_accuracy"), score]))
"""
    path, score = installed.run(code)
    assert Path(path).is_relative_to(installed.site_packages)
    assert score == {"balanced_accuracy": 0.5}


def test_model_card_template_can_be_read(installed):
    code = """
import importlib.resources, json
template = importlib.resources.files("hf_otw") / "report" / "templates" / "model_card.md"
print(json.dumps(template.read_text(encoding="utf-8")))
"""
    assert installed.run(code) == (ROOT / "model_card_template.md").read_text(encoding="utf-8")
