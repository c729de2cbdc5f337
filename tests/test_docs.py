"""Every command and every program of the pages runs, what the pages show is there, and the site builds.

Only what needs a network is replaced: data sets and pretrained models of the Hub, by tiny ones of the same form; and
runs are cut to a few steps.
"""

from __future__ import annotations

import csv
import importlib
import importlib.util
import inspect
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from transformers import BertConfig, BertModel, LlamaConfig, LlamaModel, ViTConfig, ViTImageProcessor, ViTModel

import hf_otw
from hf_otw.config.args import OTWeightedTrainingArguments
from tests.command_line import ROOT
from tests.command_line import hf_otw as run
from tests.test_cli_train import WORDS, save_text_model, tokenizer
from tools import terminal
from tools.picture import PICTURE, gains, svg
from tools.table import RESULTS, read_results

torch.set_num_threads(1)
DOCS = ROOT / "docs"
MARK = r"<!-- test(?::(?P<kind>[a-z]+))?(?::(?P<name>[\w.]+))? -->"
BLOCK = re.compile(MARK + r"\n```\w+\n(?P<body>.*?)```", re.DOTALL)
PAGES = [*sorted(DOCS.rglob("*.md")), ROOT / "README.md"]
HUB_TEXTS = "SetFit/TREC-QC"


class Block(NamedTuple):
    """Something on a page that runs, or a file that it writes."""

    kind: str
    name: str
    body: str


class Quick(OTWeightedTrainingArguments):
    """A few steps in place of epochs."""

    def __post_init__(self) -> None:
        self.max_steps, self.report_to, self.dataloader_pin_memory, self.save_strategy = 3, "none", False, "no"
        self.per_device_train_batch_size, self.use_cpu = 8, True
        super().__post_init__()


def blocks(page: Path) -> list[Block]:
    """What is marked on a page, in order."""
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(b["kind"] or "python", b["name"] or "", b["body"]) for b in found]


RUN = [page for page in PAGES if any(b.kind in ("python", "console") and not b.name for b in blocks(page))]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny models, as a download would lay them out."""
    folder = tmp_path_factory.mktemp("models")
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    llama = LlamaModel(LlamaConfig(vocab_size=32, num_key_value_heads=2, pad_token_id=0, **size))
    encoder = BertModel(BertConfig(vocab_size=32, **size))
    ViTModel(ViTConfig(image_size=8, patch_size=4, **size)).save_pretrained(folder / "vit")
    ViTImageProcessor(size={"height": 8, "width": 8}).save_pretrained(folder / "vit")
    return {
        "llm": save_text_model(folder / "llama", llama),
        "text": save_text_model(folder / "bert", encoder),
        "vit": folder / "vit",
    }


@pytest.fixture
def offline(pretrained: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the pages speak of, and stand-ins for what they would download."""
    # In this order: imported when the other is replaced already, the second would keep the replacement for ever.
    for place in ("hf_otw.recipe.run", "hf_otw.config.args"):
        monkeypatch.setattr(f"{place}.OTWeightedTrainingArguments", Quick)
    kinds = ("AutoTokenizer", "AutoModel", "AutoModelForSequenceClassification", "AutoImageProcessor")
    for name in (*kinds, "AutoModelForImageClassification"):
        kind = getattr(transformers, name)
        real = kind.from_pretrained

        def stand_in(place: Any, *rest: Any, real: Any = real, **more: Any) -> Any:
            key = "llm" if "LM" in str(place) else "vit" if "dino" in str(place) else "text"
            return real(place if Path(place).exists() else pretrained[key], *rest, **more)

        monkeypatch.setattr(kind, "from_pretrained", stand_in)
    load = datasets.load_dataset
    monkeypatch.setattr(datasets, "load_dataset", lambda n, *a, **k: trec() if n == HUB_TEXTS else load(n, *a, **k))
    monkeypatch.chdir(tmp_path)
    write_reviews(tmp_path / "reviews.csv")
    rng = np.random.default_rng(0)
    for k, name in enumerate(("cat", "dog")):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(24):
            pixels = rng.integers(120 * k, 120 * k + 90, (9, 9, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{i}.png")
    return tmp_path


def sentence(rng: np.random.Generator, k: int) -> str:
    return " ".join(WORDS[(5 * k + i) % len(WORDS)] for i in rng.integers(0, 6, 5))


def trec() -> datasets.DatasetDict:
    splits = {}
    for seed, split in enumerate(("train", "test")):
        rng, labels = np.random.default_rng(seed), [k % 6 for k in range(90)]
        texts = [f"{split} {row} {sentence(rng, k)}" for row, k in enumerate(labels)]  # no text comes twice
        splits[split] = datasets.Dataset.from_dict({"text": texts, "label_coarse": labels})
    return datasets.DatasetDict(splits)


def write_reviews(path: Path) -> None:
    rng = np.random.default_rng(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["text", "stars"])
        out.writerows([sentence(rng, k % 3), 1 + k % 3] for k in range(90))


def given() -> dict[str, Any]:
    """What a page says that its reader has."""
    words = tokenizer()
    data = trec()["train"].map(lambda rows: words(rows["text"]), batched=True).rename_column("label_coarse", "labels")
    model = transformers.AutoModelForSequenceClassification.from_pretrained("text", num_labels=6)
    return {"model": model, "train_dataset": data, "tokenizer": words}


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore:Could not find a config file:UserWarning:peft")
def test_a_page_runs_from_top_to_bottom(page: Path, offline: Path, capsys: pytest.CaptureFixture) -> None:
    """Kills: an example with a wrong name or option, or a step that needs what no earlier step made."""
    names = given() if page.stem == "index" else {}
    for block in blocks(page):
        if block.name and block.kind != "file":
            continue  # run by a test of its own
        if block.kind == "file":
            (offline / block.name).write_text(block.body, encoding="utf-8")
        elif block.kind == "console":
            for line in block.body.splitlines():
                assert line.startswith("$ hf-otw "), f"Expected a command of hf-otw on {page.name}, got {line!r}."
                done = run(capsys, *shlex.split(line, comments=True)[2:])
                assert done.code == 0, f"{line}\n{done.out}\n{done.err}"
        elif block.kind == "python":
            exec(compile(block.body, str(page), "exec"), names)


def test_there_is_something_to_run_on_every_tutorial() -> None:
    """Kills: a tutorial whose marks are misspelt, so that nothing of it runs."""
    for page in (DOCS / "tutorials").glob("*.md"):
        assert blocks(page), page
        unmarked = page.read_text(encoding="utf-8").count("```python")
        assert sum(b.kind == "python" for b in blocks(page)) == unmarked, page


def test_the_picture_is_that_of_the_results(tmp_path: Path) -> None:
    """Kills: a picture of old results."""
    rows = gains(read_results(RESULTS))
    assert PICTURE.read_text(encoding="utf-8") == svg(rows), "run `python -m tools.picture`"
    assert svg([(rows[0][0], rows[0][1], rows[0][2] + 1), *rows[1:]]) != svg(rows)


def test_the_terminal_is_that_of_real_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills: a drawing that loads a font from elsewhere, commands that are not those of the page, a failure drawn."""
    page, kept = (DOCS / "index.md").read_text(encoding="utf-8"), terminal.PICTURE.read_text(encoding="utf-8")
    for command in terminal.COMMANDS:
        assert f"$ {command}\n" in page
        assert command.replace(" ", "&#160;") in kept
    made = terminal.drawing(("hf-otw recipes list --folder nowhere",))
    assert "digits-noise" in made
    for drawing in (kept, made):
        assert "@font-face" not in drawing
        assert "url(http" not in drawing
    with pytest.raises(RuntimeError, match="got exit code 1"):
        terminal.drawing(("hf-otw recipes show nothing",))


def reference() -> str:
    return "\n".join(page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.md"))


@pytest.mark.parametrize("package", ["hf_otw", "hf_otw.transport", "hf_otw.weighting", "hf_otw.metrics"])
def test_every_public_name_is_in_the_reference(package: str) -> None:
    """Kills: a new public name without a place in the reference, or without a docstring."""
    module = importlib.import_module(package)
    listed = set(re.findall(r"^::: ([\w.]+)$", reference(), flags=re.M))
    for name in module.__all__:
        if name == "__version__":
            continue
        thing = getattr(module, name)
        home = getattr(thing, "__module__", "")
        if not home.startswith("hf_otw"):  # an alias or a table, which does not know where it was made
            home = {"hf_otw.transport": "hf_otw.transport.objectives"}.get(package, package)
        assert {home, f"{home}.{name}"} & listed, f"{home}.{name} is on no page of docs/api"
        own = inspect.isclass(thing) or inspect.isroutine(thing)
        assert not own or inspect.getdoc(thing), name


def test_every_name_in_the_reference_exists() -> None:
    for name in re.findall(r"^::: ([\w.]+)$", reference(), flags=re.M):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            module, _, attribute = name.rpartition(".")
            assert hasattr(importlib.import_module(module), attribute), name


def test_links_lead_somewhere() -> None:
    """Kills: a link to a page or a file that is not there."""
    for page in DOCS.rglob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mkdocstrings") is None, reason='needs pip install -e ".[docs]"')
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    """Kills: a page that is not in the tree, a dead link, a docstring that cannot be rendered."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*.html")}
    assert {"index.html", "decide.html", "tutorials/text.html", "api/trainer.html"} <= pages
    page = (tmp_path / "site" / "api" / "trainer.html").read_text(encoding="utf-8")
    assert "meta_dataset" in page
    assert not re.findall(r'(?:src|href)="https?://[^"]*\.(?:js|css|woff2?)"', page), "loads from elsewhere"


def test_version_and_citation_agree() -> None:
    """Kills: a release that forgets one of the places where the version stands."""
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {hf_otw.__version__}\n" in text
    assert "2208.02951" in text
