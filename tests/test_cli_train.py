"""`hf-otw train` on the user's own rows, from an installed package's point of view: no folder of recipes in sight."""

from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from PIL import Image
from safetensors.torch import load_file
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

from hf_otw.recipe.publish import recipe_text
from hf_otw.recipe.reading import load_recipe
from hf_otw.recipe.schema import without_secrets
from tests.command_line import ROOT, hf_otw, hf_otw_process

torch.set_num_threads(1)

COLUMNS = {"said": "text", "mood": "label"}
WORDS = [f"w{k}" for k in range(30)]
#: The stock Trainer takes no option of the weighting.
QUICK_PLAIN = ["--max_steps", "3", "--per_device_train_batch_size", "8", "--use_cpu", "true"]
QUICK = [*QUICK_PLAIN, "--weight_warmup", "1", "--meta_examples_per_class", "2"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: k for k, word in enumerate(["[PAD]", "[UNK]", *WORDS])}
    plain = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    plain.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="[PAD]", unk_token="[UNK]")


def save_text_model(folder: Path, model: torch.nn.Module) -> Path:
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def bert(folder: Path) -> Path:
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    return save_text_model(folder, BertForSequenceClassification(BertConfig(vocab_size=32, **size)))


def sentences(labels: list[int]) -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(WORDS[10 * k + i] for i in rng.integers(0, 10, 6)) for k in labels]


def write_csv(path: Path, size: int = 60) -> Path:
    labels = [k % 3 for k in range(size)]
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["said", "mood"])
        out.writerows([f"{text}\nsecond line", ("sad", "glad", "so-so")[k]] for text, k in zip(sentences(labels), labels, strict=True))  # fmt: skip # noqa: E501
    return path


def results_of(run: Path) -> dict:
    return json.loads((run / "metrics.json").read_text(encoding="utf-8"))


def test_a_run_leaves_model_card_weights_and_a_recipe_that_repeats_it(here: Path, capsys: pytest.CaptureFixture):
    """Kills: a lost override, weights of other rows, a card without the run or its licence, a run that differs."""
    extra = ["--data.imbalance_factor", "2", "--license", "mit", "--report_to", "none"]
    done = hf_otw(capsys, "train", "digits", *QUICK, *extra)
    assert done.code == 0, done.err
    run = here / "runs" / "digits"
    results = results_of(run)
    assert results["config"]["arguments"]["max_steps"] == 3
    assert results["config"]["data"]["imbalance_factor"] == 2
    table = pyarrow.parquet.read_table(run / "weights.parquet").to_pydict()
    assert list(table) == ["example_index", "label", "weight", "class_total"]
    assert len(set(table["example_index"])) == len(table["weight"]) == results["rows"]["train"] - 20
    assert np.mean(table["weight"]) == pytest.approx(1, abs=1e-4)
    shares = dict(zip(table["label"], table["class_total"], strict=True))
    assert sum(shares.values()) == pytest.approx(1, abs=1e-4)
    own = sum(w for w, label in zip(table["weight"], table["label"], strict=True) if label == "3")
    assert own / sum(table["weight"]) == pytest.approx(shares["3"], abs=1e-4)
    card = (run / "model" / "README.md").read_text(encoding="utf-8")
    assert f"{len(table['weight']):,} training examples in 10 classes" in card
    assert ModelCard(card).data.eval_results[0].task_type == "tabular-classification"
    assert ModelCard(card).data.license == "mit"
    assert results["config"]["license"] == load_recipe(run / "recipe.yaml").license == "mit"
    assert load_recipe(run / "recipe.yaml").arguments["report_to"] == "none"
    assert "report_to" not in load_recipe(run / "model" / "recipe.yaml", stranger="ada/digits").arguments
    before = (run / "model" / "model.safetensors").read_bytes()
    again = hf_otw(capsys, "train", "runs/digits", "--output-dir", "again")
    assert again.code == 0, again.err
    assert results_of(here / "again")["metrics"] == results["metrics"]
    assert (here / "again" / "model" / "model.safetensors").read_bytes() == before


def test_the_plain_run_stands_beside_the_weighted_one(here: Path, capsys: pytest.CaptureFixture):
    """Kills: --baseline and --seeds that are ignored, and a plain run without a card."""
    assert hf_otw(capsys, "train", "digits-plain", *QUICK_PLAIN).code == 0
    card = (here / "runs/digits-plain/model/README.md").read_text(encoding="utf-8")
    assert "the stock Trainer, every example counting the same" in card
    assert "optimal-transport" not in card
    assert not (here / "runs/digits-plain/weights.parquet").exists()
    done = hf_otw(capsys, "train", "digits", *QUICK, "--baseline", "runs/digits-plain", "--seeds", "2")
    assert done.code == 0, done.err
    assert [seed["seed"] for seed in results_of(here / "runs/digits")["per_seed"]] == [0, 1]
    plain = results_of(here / "runs/digits-plain")["metrics"]["balanced_accuracy"]
    row = next(line for line in done.out.splitlines() if "balanced accuracy" in line)
    assert f"{plain:.4f}" in row
    card = (here / "runs/digits/model/README.md").read_text(encoding="utf-8")
    assert "| Metric | Plain training | This model | Difference |" in card
    assert "### Recall of each class" in card


def test_a_dry_run_shows_the_plan_and_writes_nothing(here: Path, capsys: pytest.CaptureFixture):
    """Kills: counts with the meta set in them, steps of one epoch for all, a dry run that trains."""
    twice = ["--num_train_epochs", "2", "--gradient_accumulation_steps", "2"]
    done = hf_otw(capsys, "train", "digits", "--dry-run", *twice)
    assert done.code == 0, done.err
    assert not (here / "runs").exists()
    flat = " ".join(done.out.replace("│", " ").split())
    assert yaml.safe_load(done.out.split("needs: []")[0])["arguments"]["num_train_epochs"] == 2
    for text in ("0 139 30.3 %", "training rows 459", "meta examples 30", "test rows 364", "examples a step 64"):
        assert text in flat
    for text in ("steps an epoch 8", "steps 16", "steps before the first weights 8", "parameters 4,810"):
        assert text in flat
    plain = hf_otw(capsys, "train", "digits-plain", "--dry-run")
    assert "0 142" in " ".join(plain.out.replace("│", " ").split())
    assert "first weights" not in plain.out


def test_texts_in_a_csv_file(here: Path, capsys: pytest.CaptureFixture):
    """Kills: labels that are words, line ends in a text, columns of other names, no file for the test."""
    checkpoint = bert(here / "bert")
    config = {
        "shows": "moods",
        "source": {
            "files": {"train": str(write_csv(here / "moods.csv"))},
            "columns": {"said": "text", "mood": "label"},
        },
        "model": {"name": "text", "options": {"checkpoint": str(checkpoint), "max_tokens": 8}},
        "arguments": {"learning_rate": 1e-3},
    }
    (here / "moods.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    done = hf_otw(capsys, "train", "moods.yaml", *QUICK)
    assert done.code == 0, done.err
    results = results_of(here / "runs/moods")
    assert results["source"] == "files"
    assert list(results["recall"]) == ["glad", "sad", "so-so"]
    assert results["rows"]["test"] == 12
    model = AutoModelForSequenceClassification.from_pretrained(here / "runs/moods/model")
    assert model.config.id2label == {0: "glad", 1: "sad", 2: "so-so"}
    assert (here / "runs/moods/model/tokenizer.json").is_file()
    card = ModelCard((here / "runs/moods/model/README.md").read_text(encoding="utf-8"))
    assert card.data.pipeline_tag == "text-classification"
    assert "bert, fine-tuned on moods" in card.text


def test_a_decoder_with_lora(here: Path, capsys: pytest.CaptureFixture):
    """Kills: a model that is trained in full, and options that do not reach peft."""
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=32, num_key_value_heads=2, pad_token_id=0, **size)
    checkpoint = save_text_model(here / "llama", LlamaForSequenceClassification(config))
    recipe = {
        "shows": "moods",
        "source": {
            "files": {"train": str(write_csv(here / "moods.csv"))},
            "columns": {"said": "text", "mood": "label"},
        },
        "model": {
            "name": "text_lora",
            "options": {"checkpoint": str(checkpoint), "rank": 2, "target_modules": ["v_proj"]},
        },
        "arguments": {},
    }
    (here / "lora.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    done = hf_otw(capsys, "train", "lora.yaml", *QUICK)
    assert done.code == 0, done.err
    saved = load_file(here / "runs/lora/model/adapter_model.safetensors")
    adapters = [name for name in saved if "lora_" in name]
    assert len(adapters) == 2
    assert all("v_proj" in name for name in adapters)
    assert min(min(saved[name].shape) for name in adapters) == 2
    plan = hf_otw(capsys, "train", "lora.yaml", *QUICK, "--dry-run")
    numbers = {
        row[0].strip(): row[1].strip()
        for row in (line.strip("│").split("│") for line in plan.out.splitlines())
        if len(row) == 2 and "." not in row[1]
    }
    assert int(numbers["of these trained"].replace(",", "")) < int(numbers["parameters"].replace(",", "")) / 4


def test_a_folder_of_pictures(here: Path, capsys: pytest.CaptureFixture):
    """Kills: classes that are not the folders, grey pictures, and a model without its image processor."""
    rng = np.random.default_rng(0)
    for k, name in enumerate(("cat", "dog")):
        (here / "pets" / name).mkdir(parents=True)
        for i in range(20):
            pixels = rng.integers(100 * k, 100 * k + 100, (12, 12) if i % 2 else (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(here / "pets" / name / f"{i}.png")
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=8, patch_size=4
    )
    ViTForImageClassification(config).save_pretrained(here / "vit")
    ViTImageProcessor(size={"height": 8, "width": 8}).save_pretrained(here / "vit")
    recipe = {
        "shows": "pets",
        "source": {"files": {"train": "pets"}},
        "model": {"name": "image", "options": {"checkpoint": "vit"}},
        "arguments": {},
    }
    (here / "pets.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    done = hf_otw(capsys, "train", "pets.yaml", *QUICK)
    assert done.code == 0, done.err
    assert list(results_of(here / "runs/pets")["recall"]) == ["cat", "dog"]
    assert (here / "runs/pets/model/preprocessor_config.json").is_file()
    model = AutoModelForImageClassification.from_pretrained(here / "runs/pets/model")
    assert model.config.num_labels == 2


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("rows.xlsx", "x", "Expected a file that ends with .csv"),
        ("rows.csv", "said,mood\na\n", "got what does not parse"),
        ("rows.json", "{}", "with an object a line is called .jsonl"),
        ("rows.jsonl", '{"text": "a", "label": 0.5}\n', "a word or a whole number"),
        ("rows.csv", "text,other\na,b\n", "Expected a ClassLabel column 'label'"),
        ("rows.csv", "other,label\na,b\nc,b\nd,e\nf,e\n", "Expected a column 'features', got"),
    ],
)
def test_rows_that_do_not_fit_are_told(name: str, text: str, message: str, here: Path, capsys) -> None:
    (here / name).write_text(text, encoding="utf-8")
    recipe = {"shows": "x", "source": {"files": {"train": name}}, "model": {"name": "features"}, "arguments": {}}
    (here / "x.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    done = hf_otw(capsys, "train", "x.yaml", *QUICK)
    assert done.code == 1
    assert message in done.err
    gone = hf_otw(capsys, "train", "x.yaml", "--source.files.train", "gone.csv")
    assert "Expected a file or folder at gone.csv" in gone.err


CATALOGUE = """
import torch
from datasets import Dataset, DatasetDict
from torch import nn
from hf_otw.recipe.base import Facts, Prepared
from hf_otw.recipe.catalogue import Catalogue, ModelEntry

class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(2, 4), nn.Linear(4, 1)
    def forward(self, x, labels=None):
        logits = self.head(self.body(x))
        if labels is None:
            return {"logits": logits}
        return {"loss": (logits[:, 0] - labels).square().mean(), "logits": logits}

def rows():
    x = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    data = Dataset.from_dict({"x": x.tolist(), "labels": (x[:, 0] * 3).tolist()})
    return DatasetDict(train=data.select(range(40)), test=data.select(range(40, 60)))

def prepare(splits, processor):
    collate = lambda items: {name: torch.tensor([item[name] for item in items]) for name in ("x", "labels")}
    error = lambda found: {"mae": float(abs(found.predictions[:, 0] - found.label_ids).mean())}
    return Prepared(splits, Facts(1), collate, error, "mae", higher_is_better=False)

def line(facts, processor):
    return Line()

def catalogue():
    return Catalogue({"points": rows}, {"line": ModelEntry("points", line)}, {"points": prepare})
"""


@pytest.mark.parametrize("variant", ["plain", "ot"])
def test_a_folder_of_recipes_that_is_named_brings_its_names(variant: str, here: Path, capsys: pytest.CaptureFixture):
    """Kills: code that runs without being named, and a run without classes that ends in an error."""
    folder = here / f"own_{variant}" / "points" / "line"
    folder.mkdir(parents=True)
    (folder.parents[1] / "catalogue.py").write_text(CATALOGUE, encoding="utf-8")
    recipe = "shows: a line\nsource: {packaged: points}\nmodel: {name: line}\narguments: {task: regression}\n"
    weighting = "  weighting: 'none'\n" if variant == "plain" else "  label_bins: 3\n"
    recipe = recipe.replace("{task: regression}\n", f"\n{weighting}" + "  task: regression\n" * (variant == "ot"))
    (folder / f"{variant}.yaml").write_text(recipe, encoding="utf-8")
    quick = QUICK_PLAIN if variant == "plain" else QUICK
    unnamed = hf_otw(capsys, "train", folder / f"{variant}.yaml", *quick)
    assert (unnamed.code, "--catalogue FOLDER.catalogue" in unnamed.err) == (1, True)
    done = hf_otw(capsys, "train", folder / f"{variant}.yaml", *quick, "--catalogue", f"own_{variant}.catalogue")
    assert done.code == 0, done.err
    run = here / "runs" / "points" / "line" / variant
    assert "mae" in results_of(run)["metrics"]
    assert (run / "weights.parquet").exists() == (variant == "ot")
    assert (run / "model" / "recipe.yaml").is_file()
    moved = hf_otw(capsys, "train", run, "--output-dir", "again")
    assert (moved.code, "--catalogue FOLDER.catalogue" in moved.err) == (1, True)
    told = hf_otw(capsys, "train", run, "--output-dir", "again", "--catalogue", f"own_{variant}.catalogue")
    assert told.code == 0, told.err
    assert results_of(here / "again")["metrics"] == results_of(run)["metrics"]


def test_recipes_of_the_checkout_have_their_catalogue(here: Path) -> None:
    """Kills: a catalogue of the folder `recipes` that is not found, or that another folder's recipe gets too."""
    for name in ("recipes", "my.recipes"):
        folder = here / name / "points" / "line"
        folder.mkdir(parents=True)
        (here / name / "__init__.py").touch()  # or the package of the checkout under test would come first
        (folder.parents[1] / "catalogue.py").write_text(CATALOGUE, encoding="utf-8")
        recipe = "shows: a line\nsource: {packaged: points}\nmodel: {name: line}\narguments:\n  weighting: 'none'\n"
        (folder / "plain.yaml").write_text(recipe, encoding="utf-8")
    # A process of its own: here the package `recipes` is that of the checkout under test.
    alone = {"PYTHONPATH": f"{here}{os.pathsep}{ROOT}"}
    done = hf_otw_process("train", "points/line/plain", *QUICK[:4], "--use_cpu", "true", cwd=here, env=alone)
    assert done.code == 0, done.err
    dotted = hf_otw_process("train", "my.recipes/points/line/plain.yaml", cwd=here, env=alone)
    assert (dotted.code, "got 'line'" in dotted.err, "Traceback" in dotted.err) == (1, True, False)


def test_secrets_are_left_out_at_any_depth() -> None:
    """Kills: a secret that slips through, and a word like `max_tokens` that is taken for one."""
    given = {"a": [{"hub_token": 1, "max_tokens": 2}], "api_key": 3, "password": 4, "tokenizer": 5, "Secret": 6}
    assert without_secrets(given) == {"a": [{"max_tokens": 2}], "tokenizer": 5}


def test_a_written_recipe_reads_back_as_the_same(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    text = 'shows: "no: \\u00e9"\nsource: {packaged: digits}\nmodel: {name: features}\narguments: {weighting: "none", lr_scheduler_kwargs: {a: 1e-5}, learning_rate: 1e-7}\n'  # noqa: E501
    path.write_text(text, encoding="utf-8")
    recipe = load_recipe(path)
    path.write_text(recipe_text(recipe), encoding="utf-8")
    assert load_recipe(path) == recipe


@pytest.mark.slow
@pytest.mark.distributed
def test_two_launched_processes_make_one_run(tmp_path: Path) -> None:
    """Kills: two processes that write or print twice, and a launch that ends in one process."""
    pages = [ROOT / "docs" / "tutorials" / "processes.md", ROOT / "README.md"]
    shown = r"test:console:distributed -->\n```console\n\$ hf-otw (.*)\n"
    (command,) = {re.search(shown, page.read_text(encoding="utf-8")).group(1) for page in pages}
    done = hf_otw_process(*command.split(), *QUICK, cwd=tmp_path)
    assert done.code == 0, done.err[-3000:]
    results = results_of(tmp_path / "runs/digits")
    assert results["hardware"]["processes"] == 2
    assert done.out.count("Metrics:") == 1
    table = pyarrow.parquet.read_table(tmp_path / "runs/digits/weights.parquet")
    assert table.num_rows == 469
