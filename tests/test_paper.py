"""The queue of the paper's experiments: what is there is kept, what was killed goes on, and the page is the file's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from torch.utils.data import default_collate

from benchmarks.paper import cifar, pixels, sst2
from benchmarks.paper import run as queue_run
from benchmarks.paper.harvest import RESULTS, harvest, read_rows
from benchmarks.paper.job import Job, kept_model, result_path, work_folder, write_json
from benchmarks.paper.page import PAGE, page
from benchmarks.paper.parts import PARTS, queue
from benchmarks.paper.tables import NOT_RUN, Results
from benchmarks.paper.training import Clock
from recipes.catalogue.models.resnet32 import ResNet32

torch.set_num_threads(1)
SMALL = cifar.Setting(4, "", 2, 16, ((0.6, 0.1), (0.8, 0.1)))
STAGE_ONE = Job("cifar10", "short-100", "stage_one", 0)
PLAIN = STAGE_ONE._replace(method="plain")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty random pictures a class, a network of one narrow block a group, a checkpoint every fourth step."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 40)
    split = pixels.Split(rng.integers(0, 255, (400, 3, 32, 32), dtype=np.uint8), labels)
    test = pixels.Split(split.pixels[::40], labels[::40])
    monkeypatch.setattr(cifar, "cifar10", lambda: {"train": split, "test": test})
    monkeypatch.setattr(cifar, "SETTINGS", {"short-100": SMALL})
    monkeypatch.setattr(cifar, "SAVE_EVERY", 4 * SMALL.batch_size)
    monkeypatch.setattr(cifar, "ResNet32", lambda classes, **_: ResNet32(classes, 3, width=4, blocks=1))


def test_page_is_what_the_results_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(read_rows(RESULTS)), "run `python -m benchmarks.paper.page`"


def test_killed_run_ends_with_the_same_model(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills: a resumed run with another order of rows, another learning rate or another crop."""
    cifar.run(STAGE_ONE, tmp_path / "whole")
    on_save = Clock.on_save

    def killed(self: Clock, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        on_save(self, args, state, control)
        if state.global_step == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(Clock, "on_save", killed)
    with pytest.raises(KeyboardInterrupt):
        cifar.run(STAGE_ONE, tmp_path / "killed")
    monkeypatch.setattr(Clock, "on_save", on_save)
    before = json.loads((work_folder(tmp_path / "killed", STAGE_ONE) / "seconds.json").read_text())
    found = cifar.run(STAGE_ONE, tmp_path / "killed")
    whole, resumed = (load_file(kept_model(tmp_path / name, STAGE_ONE)) for name in ("whole", "killed"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert found["seconds"] >= before["4"]["wall"] - 0.1, "time before the kill counts"
    assert found["steps"] == round(0.6 * 2 * -(-sum(found["class_counts"]) // 16))


def test_second_stage_needs_the_first(small: None, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="Run stage_one first"):
        cifar.run(PLAIN, tmp_path)


def test_without_transport_weights_stay(small: None, tmp_path: Path) -> None:
    """Kills: a rate of 0 that is read as unset, so that both variants are one."""
    data = cifar.draw(SMALL, 0)
    found = {}
    for method in ("paper", "paper_without_transport"):
        torch.manual_seed(0)
        trainer = cifar.build_trainer(
            STAGE_ONE._replace(method=method),
            SMALL,
            data,
            ResNet32(10, 3, width=4, blocks=1),
            steps=(6, 10, 10),
            folder=tmp_path / method,
        )
        trainer.train()
        found[method] = trainer.example_weights
    labels = torch.tensor(data.train.labels)
    seen = found["paper"] != 1
    few, fewer = (
        [w[seen & (labels == k)].unique().numel() for k in range(10)]
        for w in (found["paper"], found["paper_without_transport"])
    )
    assert max(few) > 1
    assert max(fewer) == 1, "a weight a class"


def test_learning_rate_falls_where_the_stages_meet() -> None:
    rates = [cifar.SETTINGS["protocol-100"].rate(epoch, 250) for epoch in (0, 159, 160, 179, 180, 249)]
    np.testing.assert_allclose(rates, [1, 1, 0.01, 0.01, 1e-4, 1e-4])


def test_every_run_has_a_part_and_a_name_of_its_own() -> None:
    jobs = queue()
    assert len({job.name for job in jobs}) == len(jobs)
    assert {job.part for job in jobs} == set(PARTS)
    place = {job.name: index for index, job in enumerate(jobs)}
    for job in jobs:
        if job.part == "cifar10" and job.method in cifar.FROM_STAGE_ONE:
            assert place[job._replace(method="stage_one").name] < place[job.name]


def test_what_has_a_result_is_not_run_again(tmp_path: Path) -> None:
    """Kills: a queue that ends at the first failure, or that takes a failed run for done."""
    write_json({}, result_path(tmp_path, STAGE_ONE))
    codes = {"plain": 1, "default": 0}
    jobs = [STAGE_ONE, PLAIN, STAGE_ONE._replace(method="default")]
    begun = []

    def start(job: Job, runs: Path) -> int:
        begun.append(job.method)
        work_folder(runs, job).mkdir(parents=True, exist_ok=True)
        return codes[job.method]

    assert queue_run.run_queue(jobs, tmp_path, start) == [PLAIN.name]
    assert begun == ["plain", "default"]
    assert [queue_run.state(tmp_path, job) for job in jobs] == ["done", "failed", "begun"]
    codes["plain"] = 0
    queue_run.run_queue(jobs, tmp_path, start)
    assert begun[2:] == ["plain", "default"], "nothing was written, so both run again"


def test_a_run_leaves_its_result_and_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        PARTS, "cifar10", PARTS["cifar10"]._replace(run=lambda job, runs: {"metrics": {"accuracy": 1}})
    )
    queue_run.run_job(PLAIN, tmp_path)
    found = json.loads(result_path(tmp_path, PLAIN).read_text())
    assert (found["method"], found["metrics"]) == ("plain", {"accuracy": 1})
    assert found["versions"]["torch"] == torch.__version__
    assert not work_folder(tmp_path, PLAIN).exists()


def test_second_queue_is_refused(tmp_path: Path) -> None:
    with queue_run.alone(tmp_path), pytest.raises(SystemExit, match="one is running"), queue_run.alone(tmp_path):
        pass


def test_harvest_keeps_what_the_folder_does_not_hold(tmp_path: Path) -> None:
    """Kills: a harvest from an empty folder that empties the results file."""
    results, recipes = tmp_path / "paper.json", tmp_path / "recipes"

    def measured(job: Job, accuracy: float) -> None:
        write_json({**job._asdict(), "metrics": {"accuracy": accuracy}}, result_path(tmp_path / "runs", job))

    measured(STAGE_ONE, 0.1)
    assert harvest(tmp_path / "runs", results, recipes) == (1, 0)
    result_path(tmp_path / "runs", STAGE_ONE).unlink()
    measured(PLAIN, 0.2)
    recipe = next(job for job in queue() if job.part == "recipes")
    body = {"recipe": "a/b/plain", "seconds": 1}
    write_json({**recipe._asdict(), "recipe": body, "commit": "c"}, result_path(tmp_path / "runs", recipe))
    assert harvest(tmp_path / "runs", results, recipes) == (2, 1)
    found = Results(read_rows(results))
    assert [found.seeds("cifar10", "short-100", m) for m in ("stage_one", "plain")] == [{0: 0.1}, {0: 0.2}]
    assert json.loads((recipes / "a_b_plain.json").read_text()) == body | {"commit": "c"}


def test_tables_by_hand() -> None:
    """Kills: a difference of unpaired seeds; accuracy in place of error."""
    rows = [
        {"part": "cifar10", "problem": "short-100", "method": method, "seed": seed, "metrics": {"accuracy": value}}
        for method, seed, value in (("plain", 0, 0.7), ("plain", 1, 0.8), ("paper", 1, 0.85), ("paper", 2, 0.1))
    ]
    found = Results(rows)
    assert found.shown("cifar10", "short-100", "plain", error=True) == "25.0 ± 5.0 (2)"
    assert found.difference("cifar10", "short-100", "paper", "plain") == "+5.0 (1)"
    assert found.shown("cifar10", "short-100", "default") == NOT_RUN


def test_meta_rows_are_not_trained_on(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills: meta rows that are drawn from the long tail, or with the labels that people gave."""
    data = cifar.draw(SMALL, 0)
    own, meta = ({picture.numpy().tobytes() for picture in part.pixels} for part in (data.train, data.meta))
    assert (len(meta), len(own & meta)) == (100, 0)
    assert (data.counts.max(), data.counts.min()) == (30, 7), "a factor of 4, out of 30 rows a class"
    monkeypatch.setattr(cifar, "human_labels", lambda column: np.zeros(400, dtype=int))
    human = cifar.draw(SMALL._replace(labels="worse", imbalance_factor=0), 0)
    assert (set(human.train.labels), set(human.meta.labels)) == ({0}, set(range(10)))
    batch = default_collate([human.train[0], human.train[1]])
    assert batch["pixel_values"].shape == (2, 3, 32, 32)


def test_sentences_are_drawn_as_the_problem_says(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"sentence {i}" for i in range(300)]
    rows = Dataset.from_dict({"text": texts, "label": [int(i >= 100) for i in range(300)]})
    monkeypatch.setitem(sst2.SOURCES, "sst2", lambda: {"train": rows, "test": rows})
    train, meta, _ = sst2.draw("20-150", 0)
    assert np.bincount(train["label"]).tolist() == [20, 150]
    assert np.bincount(meta["label"]).tolist() == [10, 10]
    assert not set(train["text"]) & set(meta["text"])


def test_human_labels_are_those_of_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills: labels that are taken from another order of rows, and a copy that keeps its label but not its image."""
    monkeypatch.setenv("HF_OTW_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="cifar10-human-labels.parquet"):
        pixels.human_labels("worse")
    (tmp_path / "cifar10").mkdir()

    def save(name: str, **columns: Any) -> None:
        pyarrow.parquet.write_table(pa.table(columns), tmp_path / "cifar10" / f"cifar10-{name}.parquet")

    def images(*contents: bytes) -> list[dict[str, Any]]:
        return [{"bytes": content, "path": None} for content in contents]

    save("train", image=images(b"a", b"b", b"b", b"t"), label=[0, 1, 1, 2])
    save("test", image=images(b"t"), label=[2])
    save("human-labels", true_label=[0, 1, 1, 2], worse=[5, 6, 7, 8])
    assert pixels.human_labels("worse").tolist() == [5, 6]
    save("human-labels", true_label=[1, 0, 1, 2], worse=[5, 6, 7, 8])
    with pytest.raises(ValueError, match="true_label differs"):
        pixels.human_labels("worse")
