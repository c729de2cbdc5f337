"""Every recipe trains two steps through `hf-otw train`, on toy rows of the same columns and with a tiny model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from datasets import Array2D, Array3D, ClassLabel, Dataset, DatasetDict, Features, List, Value
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import hf_otw.recipe.run
from hf_otw.cli.main import main
from hf_otw.recipe.find import folder_recipes
from hf_otw.recipe.reading import load_recipe
from recipes import catalogue
from tests.command_line import ROOT, Done
from tests.command_line import hf_otw as run
from tools import run_all
from tools.table import RECIPES, REQUIRED, read_results

torch.set_num_threads(1)

WORDS = [f"w{i}" for i in range(40)]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
TRAIN, TEST = 80, 20
PATHS = folder_recipes(RECIPES)
STEPS = [
    "arguments.max_steps=2",
    "arguments.per_device_train_batch_size=8",
    "arguments.per_device_eval_batch_size=20",
    "arguments.weight_warmup=1",
    "arguments.logging_steps=1",
    "arguments.use_cpu=true",
    "arguments.dataloader_num_workers=0",
    "arguments.meta_examples_per_class=2",
    "data.imbalance_factor=2",
]


def labelled(name: str, feature: Any, values: list[Any], labels: np.ndarray, classes: int, texts: bool) -> Dataset:
    columns = {name: values} if name else {}
    features = {name: feature} if name else {}
    if texts:
        columns |= {"text": sentences(labels)}
        features |= {"text": Value("string")}
    features |= {"label": ClassLabel(names=[f"class {k}" for k in range(classes)])}
    return Dataset.from_dict(columns | {"label": labels.tolist()}, Features(features))


def sentences(labels: np.ndarray, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed + len(labels))
    return [" ".join(WORDS[(4 * k + i) % 40] for i in rng.integers(0, 8, 6)) for k in labels]


def arrays(name: str, feature: Any, draw: Callable[[np.random.Generator], np.ndarray], **more: Any) -> DatasetDict:
    rng, classes = np.random.default_rng(0), 3
    splits = {}
    for split, size in (("train", TRAIN), ("test", TEST)):
        labels = np.arange(size) % classes
        splits[split] = labelled(name, feature, [draw(rng) for _ in range(size)], labels, classes, **more)
    return DatasetDict(splits)


def images(name: str, *shape: int, texts: bool = False) -> DatasetDict:
    feature = {2: Array2D, 3: Array3D}[len(shape)](shape=shape, dtype="uint8")
    return arrays(name, feature, lambda rng: rng.integers(0, 256, shape, dtype=np.uint8), texts=texts)


def both(make: Callable[[int], Dataset]) -> DatasetDict:
    return DatasetDict(train=make(TRAIN), test=make(TEST))


def keywords(size: int) -> Dataset:
    labels = np.arange(size) % 3
    hot = [[float(k == j or (k == 2 and j == 1)) for j in range(4)] for k in labels]
    features = Features({"text": Value("string"), "labels": List(Value("float32"))})
    return Dataset.from_dict({"text": sentences(labels), "labels": hot}, features)


def words(size: int) -> Dataset:
    rows = [text.split() for text in sentences(np.arange(size) % 3)]
    labels = [[int(word[1:]) % 3 for word in row] for row in rows]
    features = Features(
        {"words": List(Value("string")), "labels": List(ClassLabel(names=["lower", "Title", "UPPER"]))}
    )
    return Dataset.from_dict({"words": rows, "labels": labels}, features)


def grouped(size: int) -> Dataset:
    labels = np.arange(size) % 3
    features = Features({"text": Value("string"), "group": ClassLabel(names=["a", "b", "c"])})
    return Dataset.from_dict({"text": sentences(labels), "group": labels.tolist()}, features)


def table(size: int) -> Dataset:
    values = np.random.default_rng(size).normal(size=(size, 10)).astype(np.float32)
    features = Features({"features": List(Value("float32")), "labels": Value("float32")})
    return Dataset.from_dict({"features": values.tolist(), "labels": (150 + 50 * values[:, 0]).tolist()}, features)


def texts() -> DatasetDict:
    return both(lambda size: labelled("", None, [], np.arange(size) % 3, 3, texts=True))


def clouds() -> DatasetDict:
    shape = (128, 3)
    return arrays("points", Array2D(shape, "float32"), lambda rng: rng.normal(size=shape).astype("f4"), texts=False)


def clips() -> DatasetDict:
    return arrays("audio", List(Value("float32")), lambda rng: rng.normal(size=3200).astype("f4"), texts=False)


TOYS: dict[str, Callable[[], DatasetDict]] = {
    "fashion_mnist": lambda: images("pixels", 28, 28),
    "cifar10": lambda: images("image", 32, 32, 3),
    "speech_commands_synthetic": clips,
    "emoji": lambda: images("image", 64, 64, 3, texts=True),
    "fashion_points": clouds,
    "modelnet10": clouds,
    "rotten_tomatoes": texts,
    "reuters_r8": texts,
    "emoji_keywords": lambda: both(keywords),
    "truecasing": lambda: both(words),
    "newsgroup_language": lambda: both(grouped),
    "diabetes": lambda: both(table),
}
UNLABELLED = ("emoji_keywords", "truecasing", "newsgroup_language", "diabetes")
SMALL_VISION = ["model.options.hidden_size=16", "model.options.layers=1", "model.options.heads=2"]
TINY = {
    "resnet": ["model.options.embedding_size=4", "model.options.hidden_sizes=[4, 8]"],
    "vit": SMALL_VISION,
    "resnet32": ["model.options.width=4", "model.options.blocks=1"],
    "ast": [*SMALL_VISION, "model.options.frames=32"],
    "dual_encoder": [*SMALL_VISION, "model.options.patch_size=32", "model.options.projection_dim=8"],
    "pointnet": ["model.options.width=4"],
    "mlp": ["model.options.hidden=8"],
    "tiny_llama": ["model.options.hidden_size=16", "model.options.layers=1", "model.options.heads=2"],
}


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Towers with random parameters and a tokenizer, as a download would lay them out."""
    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *WORDS])}
    plain = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    plain.pre_tokenizer = Whitespace()
    plain.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), SPECIAL, strict=True))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, **names)
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    size |= {"vocab_size": len(vocabulary), "max_position_embeddings": 64}
    encoder = BertModel(BertConfig(**size, pad_token_id=0))
    decoder = LlamaForCausalLM(LlamaConfig(**size, num_key_value_heads=2, bos_token_id=2, eos_token_id=3))
    found = {}
    for name, model in (("encoder", encoder), ("decoder", decoder)):
        found[name] = tmp_path_factory.mktemp(name)
        model.save_pretrained(found[name])
        tokenizer.save_pretrained(found[name])
    return found


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipes.catalogue.packaged_sources", lambda: TOYS)


def small(name: str, checkpoints: dict[str, Path], *more: str) -> list[str]:
    """Options that make a recipe tiny; `more` is `KEY=VALUE`."""
    recipe = load_recipe(PATHS[name])
    packaged = recipe.source.packaged or name.split("/")[0]
    steps = [text for text in STEPS if packaged not in UNLABELLED or not text.startswith("data.")]
    if name.endswith(("/plain", "/class_balanced")):  # they have neither a warm-up nor a meta set
        steps = [text for text in steps if not text.startswith(("arguments.weight_", "arguments.meta_"))]
    chosen = [*steps, f"source.packaged={packaged}", *TINY.get(recipe.model.name, [])]
    if "minilm" in recipe.model.name or recipe.model.name in ("dual_encoder", "tiny_llama"):
        chosen.append(f"model.options.checkpoint={checkpoints['encoder']}")
    if "smollm2" in recipe.model.name:
        chosen.append(f"model.options.checkpoint={checkpoints['decoder']}")
    return [f"--{text}" for text in [*chosen, *more]]


class Runner(NamedTuple):
    """`hf-otw train` on tiny recipes, into a folder of the test."""

    capsys: pytest.CaptureFixture
    checkpoints: dict[str, Path]
    output: Path

    def command(self, name: str, *more: str, flags: tuple[str, ...] = ()) -> Done:
        options = small(name, self.checkpoints, *more)
        return run(self.capsys, "train", PATHS[name], "--output-dir", self.output, *flags, *options)

    def __call__(self, name: str, *more: str, flags: tuple[str, ...] = ()) -> Any:
        """The results of a run that works."""
        done = self.command(name, *more, flags=flags)
        assert done.code == 0, done.err
        return json.loads((self.output / "metrics.json").read_text(encoding="utf-8"))


@pytest.fixture
def train(capsys: pytest.CaptureFixture, checkpoints: dict[str, Path], tmp_path: Path) -> Runner:
    return Runner(capsys, checkpoints, tmp_path / "run")


@pytest.mark.slow
# transformers 5.23 warns whenever the stable steps are given (November 2026); CIFAR's step of the rate needs them.
@pytest.mark.filterwarnings(
    "ignore:Both num_training_steps and num_stable_steps:UserWarning:transformers.optimization"
)
@pytest.mark.parametrize("name", PATHS)
def test_every_recipe_trains_two_steps(name: str, toys: None, train: Runner) -> None:
    """Kills: a recipe that does not train, or whose model, card or weights cannot be written."""
    results = train(name)
    metric = results["metric"]["name"]
    assert results["recipe"] == name
    assert [found["steps"] for found in results["per_seed"]] == [2]
    assert np.isfinite(results["metrics"][metric])
    assert np.isfinite(results["metrics"]["loss"])
    assert results["rows"]["test"] == TEST
    assert (train.output / "model" / "recipe.yaml").is_file()


def test_results_hold_what_it_takes_to_repeat_them(toys: None, train: Runner) -> None:
    results = train("diabetes/mlp/plain", "seed=3", flags=("--seeds", "2"))
    assert set(REQUIRED) <= set(results)
    assert [found["seed"] for found in results["per_seed"]] == [3, 4]
    maes = [found["metrics"]["mae"] for found in results["per_seed"]]
    assert maes[0] != maes[1]
    assert results["metrics"]["mae"] == pytest.approx(np.mean(maes))
    assert results["config"]["arguments"]["max_steps"] == 2
    assert results["config"]["model"]["options"] == {"hidden": 8}
    assert results["versions"]["torch"] == torch.__version__
    assert results["hardware"]["threads"] == torch.get_num_threads()
    assert results["hardware"]["device"] == "cpu"
    assert (results["source"], results["select"]) == ("packaged", False)
    again = train("diabetes/mlp/plain", "seed=3")
    assert again["metrics"]["mae"] == maes[0], "the same seed gives the same numbers"


def test_recall_of_each_class_is_recorded_by_name(toys: None, train: Runner) -> None:
    results = train("reuters_r8/minilm/plain")
    assert list(results["recall"]) == ["class 0", "class 1", "class 2"]
    assert np.mean(list(results["recall"].values())) == pytest.approx(results["metrics"]["balanced_accuracy"])


@pytest.mark.parametrize("variant", ["plain", "class_balanced", "ot"])
def test_every_variant_sees_the_same_noisy_rows(
    variant: str, toys: None, train: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainers = spied(monkeypatch)
    rows = train(f"emoji_noise/dual_encoder/{variant}")["rows"]
    assert rows["train"] + rows["meta"] == 27 + 19 + 13  # imbalance 2
    assert rows["meta"] == (6 if variant == "ot" else 0)
    if variant == "ot":
        meta = trainers[0].training_data.meta.dataset
        assert sorted(int(label) for label in meta["label"]) == [0, 0, 1, 1, 2, 2]


def test_selection_never_sees_the_test_rows(toys: None, train: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    trainers = spied(monkeypatch)
    assert train("diabetes/mlp/plain", flags=("--select",))["select"]
    assert len(trainers[0].eval_dataset) == 16  # a fifth of the training rows
    assert len(trainers[0].train_dataset) == 64


def test_the_hub_is_read_with_its_own_names(train: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    rows = TOYS["fashion_mnist"]()
    hub = DatasetDict({name: part.rename_column("pixels", "image") for name, part in rows.items()})
    monkeypatch.setattr("hf_otw.recipe.source.load_dataset", lambda *names: asked.append(names) or hub)
    results = train("fashion_mnist/resnet/plain", flags=("--source", "hub"))
    assert asked == [("zalando-datasets/fashion_mnist", None)]
    assert results["source"] == "hub"


def test_unknown_sources_are_named(toys: None, train: Runner) -> None:
    unknown = train.command("diabetes/mlp/plain", "source.packaged=diabets")
    assert (unknown.code, "Did you mean 'diabetes'" in unknown.err) == (1, True)
    other = train.command("diabetes/mlp/plain", flags=("--source", "hub"))
    assert (other.code, "Choose the other" in other.err) == (1, True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of two toy recipes, one of which needs more than a CPU, with a package as its catalogue."""
    folder = tmp_path / "toy_recipes" / "diabetes" / "mlp"
    folder.mkdir(parents=True)
    package = tmp_path / "toy_recipes" / "catalogue"
    package.mkdir()
    (package / "__init__.py").write_text("from recipes.catalogue import catalogue\n", encoding="utf-8")
    base = "source: {packaged: diabetes}\nmodel: {name: mlp}\narguments: {max_steps: 2}\n"
    plain = 'extends: base.yaml\nshows: plain toy\narguments: {weighting: "none"}\n'
    ot = "extends: base.yaml\nshows: ot toy\nneeds: [accelerator]\n"
    for name, text in (("base", base), ("plain", plain), ("ot", ot)):
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def test_what_is_there_is_not_run_again(
    folder: Path, toys: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """A recipe that was changed runs again, one that needs more than a CPU never runs, one that fails is named."""
    root, ran, code = folder.parents[1], [], 0

    def launch(command: list[str]) -> int:
        assert command[1:4] == ["-m", "hf_otw.cli", "train"]
        ran.append(Path(command[4]).stem)
        if not code:
            with pytest.raises(SystemExit, match="0"):
                main([*command[3:], "--catalogue", "recipes.catalogue"])
        return code

    monkeypatch.setattr(run_all, "launch", launch)
    monkeypatch.setattr(run_all, "RESULTS", tmp_path / "results")
    options = ["--output-dir", str(tmp_path / "runs")]
    run_all.main([*options, "--save-results"], root)
    out = capsys.readouterr().out
    assert ran == ["plain"]
    assert "skipped, needs: accelerator" in out
    assert "diabetes/mlp " in out
    assert "balanced_mae" in out
    kept = read_results(tmp_path / "results")["diabetes/mlp/plain"]
    assert kept | {"commit": None} == read_results(tmp_path / "runs")["diabetes/mlp/plain"] | {"commit": None}
    assert kept["commit"] is None or len(kept["commit"].removesuffix("-dirty")) == 40

    run_all.main(options, root)
    assert ran == ["plain"]
    assert "there already" in capsys.readouterr().out
    run_all.main([*options, "--fresh"], root)
    assert ran == ["plain"] * 2
    base = (folder / "base.yaml").read_text(encoding="utf-8")
    (folder / "base.yaml").write_text(base.replace("max_steps: 2", "max_steps: 3"), encoding="utf-8")
    code = 1
    with pytest.raises(SystemExit, match="1 failed: diabetes/mlp/plain"):
        run_all.main(options, root)
    assert ran == ["plain"] * 3


@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes_write_one_file(tmp_path: Path) -> None:
    """Kills: two processes that train apart, or both write; the command is the one that `--launch cpu_ddp` starts."""
    config = ROOT / "hf_otw" / "accelerate_configs" / "cpu_ddp.yaml"
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config)]
    command += ["--dynamo_backend", "no", "-m", "tests.test_recipes_run", "train", str(PATHS["diabetes/mlp/ot"])]
    command += ["--output-dir", str(tmp_path), *small("diabetes/mlp/ot", {})]
    env = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert results["hardware"]["processes"] == 2
    assert done.stdout.count("Metrics:") == 1
    assert np.isfinite(results["metrics"]["balanced_mae"])


def spied(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Trainers that the runner makes."""
    made: list[Any] = []

    class Spy(hf_otw.recipe.run.OTWeightedTrainer):
        def __init__(self, **keywords: Any) -> None:
            super().__init__(**keywords)
            made.append(self)

    monkeypatch.setattr(hf_otw.recipe.run, "OTWeightedTrainer", Spy)
    return made


if __name__ == "__main__":  # one of the processes of `test_two_processes_write_one_file`
    catalogue.packaged_sources = lambda: TOYS
    main()
