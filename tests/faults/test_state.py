"""A state that is damaged, of another data set or only half there: an error that says so, or a rebuild with a warning.

`tests/test_resume.py` has truncated files, other versions and other weightings.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import Trainer, TrainingArguments

from hf_otw.checkpoint import HEADER, TENSORS, save_state
from hf_otw.data.overlap import contents_digest
from tests.test_resume import SETTINGS, build, damaged
from tests.toys import collate, host_args, model, parameters, toy_dataset, toy_trainer


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    build(folder, max_steps=6, weight_warmup=1).train()
    return folder / "checkpoint-6"


def test_every_flipped_bit_of_the_header_is_noticed(checkpoint: Path, tmp_path: Path) -> None:
    """Kills a header of which only a part is compared. A bit that only changes white space changes nothing."""
    content = (checkpoint / HEADER).read_bytes()
    before = json.loads(content)
    trainer = build(tmp_path / "b")
    silent = 0
    for place in range(0, len(content), 7):
        changed = bytearray(content)
        changed[place] ^= 1 << (place % 7)
        try:
            same = json.loads(changed) == before
        except ValueError:
            same = False
        if same:
            silent += 1
            continue
        folder = Path(damaged(checkpoint, tmp_path / str(place), HEADER, lambda _, changed=changed: bytes(changed)))
        with pytest.raises(
            ValueError, match=r"Expected (readable weights|the checkpoint's weights).*Delete otw_state"
        ):
            trainer.train(resume_from_checkpoint=str(folder))
    assert silent < len(content) / 10


@pytest.mark.parametrize("missing", [TENSORS, HEADER])
def test_one_file_of_two(checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, missing: str) -> None:
    """Kills a silent start with weights of 1."""
    folder = Path(damaged(checkpoint, tmp_path, HEADER, lambda content: content))
    (folder / missing).unlink()
    trainer = build(tmp_path / "b")
    if missing == TENSORS:
        with pytest.raises(ValueError, match=r"Expected readable weights.*Delete otw_state"):
            trainer.train(resume_from_checkpoint=str(folder))
        return
    with caplog.at_level(logging.WARNING, logger="hf_otw"):
        trainer.train(resume_from_checkpoint=str(folder))
    assert "learned anew" in caplog.text
    assert trainer.example_weights.std() > 0


def test_no_pickle_of_ours(checkpoint: Path) -> None:
    """Kills a state written by `torch.save`: loading one can run any code."""
    found = {path.name for path in checkpoint.glob("otw_*")}
    assert found == {TENSORS, HEADER}
    assert json.loads((checkpoint / HEADER).read_text())["version"] == 2
    assert load_file(checkpoint / TENSORS)["example_weights"].shape == (48,)


def test_the_stock_trainer_resumes_our_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    """Kills a checkpoint that only this library can read: model, optimizer, schedule and step are the host's own."""
    args = host_args(tmp_path, **{k: v for k, v in SETTINGS.items() if not k.startswith("weight_")} | {"max_steps": 9})
    net = model(seed=5, dropout=0.1)
    trainer = Trainer(net, TrainingArguments(**args), collate, toy_dataset().select(range(42)))
    seen = []
    step = trainer.training_step

    def first(*positional: object, **keywords: object) -> torch.Tensor:
        seen.append({name: p.detach().clone() for name, p in net.named_parameters()})
        return step(*positional, **keywords)

    trainer.training_step = first
    trainer.train(resume_from_checkpoint=str(checkpoint))
    saved = load_file(checkpoint / "model.safetensors")
    torch.testing.assert_close(seen[0], {name: saved[name] for name in seen[0]}, rtol=0, atol=0)
    assert len(seen) == 2 * 3  # steps 7 to 9 of two micro-steps
    assert trainer.state.global_step == 9
    assert parameters(trainer)


def changed_data() -> datasets.Dataset:
    """The labels of the toy data, in its order, on other texts."""
    data = toy_dataset()
    ids = [[row[0], *(1 + word % 48 for word in row[1:])] for row in data["input_ids"]]
    return data.remove_columns("input_ids").add_column("input_ids", ids)


def test_changed_texts_with_equal_labels_are_noticed(tmp_path: Path) -> None:
    """Kills a digest of the labels alone: row numbers would point at other examples."""
    toy_trainer(tmp_path, max_steps=2, save_strategy="steps", save_steps=2).train()
    trainer = toy_trainer(tmp_path / "b", data=changed_data(), max_steps=4)
    with pytest.raises(ValueError, match="belong to another training set"):
        trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    same = toy_trainer(tmp_path / "c", max_steps=4)
    same.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert same.state.global_step == 4


def test_a_random_transform_changes_no_digest(tmp_path: Path) -> None:
    """Kills a digest of what a transform returns: augmented data could never be resumed."""
    rng = np.random.default_rng(0)

    def augmented(batch: dict[str, list]) -> dict[str, list]:
        ids = [[row[0], *rng.permutation(row[1:]).tolist()] for row in batch["input_ids"]]
        return batch | {"input_ids": ids}

    data = toy_dataset()
    transformed = data.with_transform(augmented)
    assert transformed[0] != data[0] or transformed[1] != data[1]
    assert contents_digest(transformed) == contents_digest(data) != contents_digest(changed_data())
    trainer = toy_trainer(tmp_path, data=transformed)
    plain = toy_trainer(tmp_path).training_data
    assert trainer.training_data.contents_digest == plain.contents_digest is not None


def test_the_digest_sees_order_length_and_one_row_of_many() -> None:
    data = datasets.Dataset.from_dict({"text": [f"text {i}" for i in range(1500)], "label": [0] * 1500})
    one = contents_digest(data)
    assert one == contents_digest(data.map(lambda row: row))
    assert one != contents_digest(data.select(range(1499)))
    assert one != contents_digest(data.select(range(1499, -1, -1)))
    changed = data.map(lambda row, i: {"text": "other" if 100 <= i < 115 else row["text"]}, with_indices=True)
    assert one != contents_digest(changed)
    assert contents_digest(torch.utils.data.TensorDataset(torch.zeros(3))) is None
    assert contents_digest(data.select([])) is None


def test_the_digest_is_that_of_other_processes() -> None:
    """Kills `hash`, which is salted, and `Dataset._fingerprint`, which is random for data in memory."""
    code = (
        "from tests.toys import toy_dataset; from hf_otw.data.overlap import contents_digest;"
        "print(contents_digest(toy_dataset()))"
    )
    env = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == contents_digest(toy_dataset())


def changed_weights(checkpoint: Path, to: Path, name: str, change: Callable[[Tensor], Tensor]) -> Path:
    """A checkpoint with other numbers and a header that was written for them."""
    folder = Path(damaged(checkpoint, to, HEADER, lambda content: content))
    tensors = load_file(folder / TENSORS)
    save_state(folder, tensors | {name: change(tensors[name])}, json.loads((folder / HEADER).read_text()))
    header = json.loads((folder / HEADER).read_text())
    header["tensors_digest"] = hashlib.sha256((folder / TENSORS).read_bytes()).hexdigest()
    (folder / HEADER).write_text(json.dumps(header))
    return folder


@pytest.mark.parametrize("name", ["example_weights", "class_prior"])
@pytest.mark.parametrize(
    "change", [lambda w: w * 0 - 5, lambda w: w * float("nan"), lambda w: w * 0, lambda w: w / 0.0]
)
def test_numbers_that_are_no_weights(checkpoint: Path, tmp_path: Path, name: str, change: Any) -> None:
    """Kills: weights of -5, which make training maximise the loss; NaN, 0 and infinity."""
    folder = changed_weights(checkpoint, tmp_path / "a", name, change)
    with pytest.raises(ValueError, match=rf"got: {name} is missing, or not of finite numbers.*Delete otw_state"):
        build(tmp_path / "b").train(resume_from_checkpoint=str(folder))


def test_another_split_is_named(checkpoint: Path, tmp_path: Path) -> None:
    """Kills: a resume with another seed that is refused for another training set."""
    folder = Path(damaged(checkpoint, tmp_path / "a", HEADER, lambda content: content))
    header = json.loads((folder / HEADER).read_text())
    (folder / HEADER).write_text(json.dumps(header | {"split_digest": "0"}))
    with pytest.raises(ValueError, match="meta set of this run, but the split moved.*`data_seed`"):
        build(tmp_path / "b").train(resume_from_checkpoint=str(folder))
