"""Every recipe trains two steps through the real runner, on toy rows of the same columns and with a tiny model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
from recipes import catalogue, run, run_all
from recipes.config import ROOT, load_recipe, recipe_name, recipe_paths
from recipes.table import REQUIRED, read_results

torch.set_num_threads(1)

WORDS = [f"w{i}" for i in range(40)]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
TRAIN, TEST = 80, 20
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


def small(path: Path, checkpoints: dict[str, Path], *more: str) -> list[str]:
    """Overrides that make a recipe tiny."""
    recipe = load_recipe(path)
    packaged = recipe.source.packaged or recipe_name(path).split("/")[0]
    steps = [text for text in STEPS if packaged not in UNLABELLED or not text.startswith("data.")]
    if path.stem in ("plain", "class_balanced"):  # they have neither a warm-up nor a meta set
        steps = [text for text in steps if not text.startswith(("arguments.weight_", "arguments.meta_"))]
    chosen = [*steps, f"source.packaged={packaged}", *TINY.get(recipe.model.name, [])]
    if "minilm" in recipe.model.name or recipe.model.name in ("dual_encoder", "tiny_llama"):
        chosen.append(f"model.options.checkpoint={checkpoints['encoder']}")
    if "smollm2" in recipe.model.name:
        chosen.append(f"model.options.checkpoint={checkpoints['decoder']}")
    return [word for text in [*chosen, *more] for word in ("--set", text)]


def run_small(path: Path, checkpoints: dict[str, Path], output: Path, *more: str, flags: tuple[str, ...] = ()) -> Any:
    run.main([str(path), "--output-dir", str(output), *flags, *small(path, checkpoints, *more)])
    return json.loads((output / "metrics.json").read_text(encoding="utf-8"))


@pytest.mark.slow
# transformers 5.23 warns whenever the stable steps are given (November 2026); CIFAR's step of the rate needs them.
@pytest.mark.filterwarnings(
    "ignore:Both num_training_steps and num_stable_steps:UserWarning:transformers.optimization"
)
@pytest.mark.parametrize("path", recipe_paths(), ids=recipe_name)
def test_every_recipe_trains_two_steps(
    path: Path, checkpoints: dict[str, Path], toys: None, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    results = run_small(path, checkpoints, tmp_path)
    metric = results["metric"]["name"]
    assert results["recipe"] == recipe_name(path)
    assert [found["steps"] for found in results["per_seed"]] == [2]
    assert np.isfinite(results["metrics"][metric])
    assert np.isfinite(results["metrics"]["loss"])
    assert results["rows"]["test"] == TEST
    assert metric in capsys.readouterr().out


DIABETES, EMOJI_NOISE = (
    path.parent for path in recipe_paths() if recipe_name(path) in ("diabetes/mlp/ot", "emoji_noise/dual_encoder/ot")
)


def test_results_hold_what_it_takes_to_repeat_them(checkpoints: dict, toys: None, tmp_path: Path) -> None:
    path = DIABETES / "plain.yaml"
    results = run_small(path, checkpoints, tmp_path, "seed=3", flags=("--seeds", "2"))
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
    assert results["commit"] is None or len(results["commit"].removesuffix("-dirty")) == 40
    assert (results["source"], results["select"]) == ("packaged", False)
    again = run_small(path, checkpoints, tmp_path, "seed=3")
    assert again["metrics"]["mae"] == maes[0], "the same seed gives the same numbers"


def test_recall_of_each_class_is_recorded_by_name(checkpoints: dict, toys: None, tmp_path: Path) -> None:
    results = run_small(recipe_at("reuters_r8/minilm/plain"), checkpoints, tmp_path)
    assert list(results["recall"]) == ["class 0", "class 1", "class 2"]
    assert np.mean(list(results["recall"].values())) == pytest.approx(results["metrics"]["balanced_accuracy"])


@pytest.mark.parametrize("variant", ["plain", "class_balanced", "ot"])
def test_every_variant_sees_the_same_noisy_rows(
    variant: str, checkpoints: dict, toys: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainers = spied(monkeypatch)
    results = run_small(EMOJI_NOISE / f"{variant}.yaml", checkpoints, tmp_path)
    rows = results["rows"]
    assert rows["train"] + rows["meta"] == 27 + 19 + 13  # imbalance 2
    assert rows["meta"] == (6 if variant == "ot" else 0)
    if variant == "ot":
        meta = trainers[0].training_data.meta.dataset
        assert sorted(int(label) for label in meta["label"]) == [0, 0, 1, 1, 2, 2]


def test_selection_never_sees_the_test_rows(
    checkpoints: dict, toys: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainers = spied(monkeypatch)
    results = run_small(DIABETES / "plain.yaml", checkpoints, tmp_path, flags=("--select",))
    assert results["select"]
    assert len(trainers[0].eval_dataset) == 16  # a fifth of the training rows
    assert len(trainers[0].train_dataset) == 64


def test_choosing_settings_gives_no_results(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        run.main([str(DIABETES / "plain.yaml"), "--select", "--save-results"])
    assert "are no results" in capsys.readouterr().err


def test_results_are_kept_when_asked(
    checkpoints: dict, toys: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results")
    results = run_small(DIABETES / "ot.yaml", checkpoints, tmp_path / "run", flags=("--save-results",))
    kept = json.loads((tmp_path / "results" / "diabetes_mlp_ot.json").read_text(encoding="utf-8"))
    assert kept == results
    assert read_results(tmp_path / "results") == {"diabetes/mlp/ot": results}


def test_the_hub_is_read_with_its_own_names(
    checkpoints: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    rows = TOYS["fashion_mnist"]()
    hub = DatasetDict({name: part.rename_column("pixels", "image") for name, part in rows.items()})
    monkeypatch.setattr("hf_otw.recipe.source.load_dataset", lambda *names: asked.append(names) or hub)
    path = recipe_at("fashion_mnist/resnet/plain")
    results = run_small(path, checkpoints, tmp_path, flags=("--source", "hub"))
    assert asked == [("zalando-datasets/fashion_mnist", None)]
    assert results["source"] == "hub"


def test_unknown_sources_are_named(toys: None) -> None:
    with pytest.raises(ValueError, match="Did you mean 'diabetes'"):
        run.main([str(DIABETES / "plain.yaml"), "--set", "source.packaged=diabets"])
    with pytest.raises(ValueError, match="Choose the other"):
        run.main([str(DIABETES / "plain.yaml"), "--source", "hub"])


def test_what_is_there_is_not_run_again(
    checkpoints: dict, toys: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """A recipe that was changed runs again, one that needs more than a CPU never runs, one that fails is named."""
    root, ran, code = tmp_path / "recipes", [], 0
    folder = root / "diabetes" / "mlp"
    folder.mkdir(parents=True)
    (folder / "base.yaml").write_text(
        "source: {packaged: diabetes}\nmodel: {name: mlp}\narguments: {max_steps: 2}\n", encoding="utf-8"
    )
    (folder / "plain.yaml").write_text(
        'extends: base.yaml\nshows: plain toy\narguments: {weighting: "none"}\n', encoding="utf-8"
    )
    (folder / "ot.yaml").write_text("extends: base.yaml\nshows: ot toy\nneeds: [accelerator]\n", encoding="utf-8")

    def launch(command: list[str]) -> int:
        assert command[1:3] == ["-m", "recipes.run"]
        ran.append(Path(command[3]).stem)
        if not code:
            run.main(command[3:])
        return code

    monkeypatch.setattr(run_all, "launch", launch)
    options = ["--output-dir", str(tmp_path / "runs")]
    run_all.main(options, root)
    out = capsys.readouterr().out
    assert ran == ["plain"]
    assert "skipped, needs: accelerator" in out
    assert "diabetes/mlp " in out
    assert "balanced_mae" in out

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
    path = DIABETES / "ot.yaml"
    command = [sys.executable, "-m", "accelerate.commands.launch"]
    command += [
        "--config_file",
        str(ROOT.parent / "hf_otw" / "accelerate_configs" / "cpu_ddp.yaml"),
        "--dynamo_backend",
        "no",
    ]
    command += ["-m", "tests.test_recipes_run", str(path), "--output-dir", str(tmp_path), *small(path, {})]
    env = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT.parent)}
    done = subprocess.run(command, cwd=ROOT.parent, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert results["hardware"]["processes"] == 2
    assert done.stdout.count("diabetes/mlp/ot: balanced_mae") == 1
    assert np.isfinite(results["metrics"]["balanced_mae"])


def recipe_at(name: str) -> Path:
    return ROOT / f"{name}.yaml"


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
    run.command()
