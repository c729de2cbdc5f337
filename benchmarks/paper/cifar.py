"""CIFAR-10 with a long tail or with labels that people gave, ResNet-32 from scratch.

The paper trains in two stages: the first on plain cross-entropy, the second, with a smaller learning rate, the head
alone. Methods that share the first stage train it once: `stage_one` keeps its model, and `plain` and the paper's
variants begin with it (the momentum begins anew).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_model, save_model
from torch import nn
from transformers import set_seed

from benchmarks.paper.job import Job, Row, kept_model, work_folder
from benchmarks.paper.pixels import Pictures, cifar10, human_labels
from benchmarks.paper.training import checkpoints, tested, train
from benchmarks.quality.problems import META_PER_CLASS, Cell, split_off, subset
from hf_otw import OTWeightedTrainer, OTWeightedTrainingArguments
from recipes.catalogue.models.resnet32 import ResNet32

PART = "cifar10"
CLASSES = 10
SAVE_EVERY = 50_000  # images


class Setting(NamedTuple):
    """What is trained on, and for how long.

    Attributes:
        imbalance_factor: rows of the most frequent class over those of the rarest; 0 leaves the data as they are.
        labels: a column of the human labels, or "" for the true ones.
        epochs: over the training rows.
        batch_size: images a step.
        drops: share of the steps -> what the learning rate is multiplied by from there on; the first one is where the
            paper's second stage begins.
    """

    imbalance_factor: float
    labels: str
    epochs: int
    batch_size: int
    drops: tuple[tuple[float, float], ...]

    @property
    def boundary(self) -> float:
        return self.drops[0][0]

    def rate(self, step: int, steps: int) -> float:
        """What the learning rate is multiplied by at a step out of all steps."""
        factor = 1.0
        for share, drop in self.drops:
            factor *= drop if step >= round(share * steps) else 1.0
        return factor


# 0.1 and batches of 128 are those of He et al. 2015 for this network, whose drops are tenfold. The first drop is where
# the paper has it, at 160 of 250 epochs. Nothing of the short schedule was chosen by a result.
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.1, 0.9, 5e-4
SHORT = Setting(100, "", 40, 128, ((0.64, 0.1), (0.82, 0.1)))
SETTINGS: dict[str, Setting] = {
    "short-100": SHORT,
    "short-200": SHORT._replace(imbalance_factor=200),
    "short-50": SHORT._replace(imbalance_factor=50),
    "short-20": SHORT._replace(imbalance_factor=20),
    "human-worse": SHORT._replace(imbalance_factor=0, labels="worse", epochs=15),
    # The paper's own: a hundredth from epoch 160 on, another hundredth from epoch 180 on.
    "protocol-100": Setting(100, "", 250, 16, ((0.64, 0.01), (0.72, 0.01))),
}
STAGE_ONE = "stage_one"
#: Arguments of `OTWeightedTrainer`: of the second stage, which begins with the model of the first.
FROM_STAGE_ONE: dict[str, dict[str, Any]] = {
    "plain": {"weighting": "none"},
    "paper": {"preset": "paper", "weight_warmup": 0},
    "paper_without_transport": {"preset": "paper", "weight_warmup": 0, "weighting_kwargs": {"lr": 0.0}},
    "paper_whole_meta": {"preset": "paper", "weight_warmup": 0, "target_points": "examples"},
    "paper_feature_cost": {"preset": "paper", "weight_warmup": 0, "cost": "feature"},
    "paper_label_cost": {"preset": "paper", "weight_warmup": 0, "cost": "label"},
    "paper_implicit": {"preset": "paper", "weight_warmup": 0, "weighting": "net"},
}
#: Of the whole training.
WHOLE: dict[str, dict[str, Any]] = {
    "effective_number": {"weighting": "effective_number"},
    "default": {},
    "logit_adjustment_meta": {"weighting": "uniform", "example_loss": "logit_adjusted", "meta_loss_coefficient": 0.1},
}
ABLATION = ("paper_feature_cost", "paper_label_cost", "paper_implicit")
LONG_TAIL = (STAGE_ONE, *(name for name in FROM_STAGE_ONE if name not in ABLATION), *WHOLE)
HUMAN = (STAGE_ONE, "plain", "default", "logit_adjustment_meta")


def jobs(problem: str, seed: int) -> list[Job]:
    """All methods on one problem; the first stage first."""
    return [Job(PART, problem, method, seed) for method in (HUMAN if SETTINGS[problem].labels else LONG_TAIL)]


def ablation_jobs(problem: str, seed: int) -> list[Job]:
    """The preset of the paper with its cost or its weights changed."""
    return [Job(PART, problem, method, seed) for method in ABLATION]


class Drawn(NamedTuple):
    """Training rows, clean meta rows, the test split, and the training rows a class `(K,)`, labels as given."""

    train: Pictures
    meta: Pictures
    test: Pictures
    counts: np.ndarray


def draw(setting: Setting, seed: int) -> Drawn:
    """Ten meta images a class first, with their true labels; the long tail out of the others."""
    data = cifar10()
    true = data["train"].labels
    meta, rest = split_off(true, META_PER_CLASS, np.random.default_rng(seed))
    rows = rest[subset(true[rest], CLASSES, Cell("cifar10", setting.imbalance_factor), seed)]
    given = human_labels(setting.labels)[rows] if setting.labels else true[rows]
    test = np.arange(len(data["test"].labels))
    return Drawn(
        Pictures(data["train"], rows, given),
        Pictures(data["train"], meta),
        Pictures(data["test"], test),
        np.bincount(given, minlength=CLASSES),
    )


def run(job: Job, runs: Path) -> Row:
    """Train and test; the first stage keeps its model in place of a test."""
    setting, data = SETTINGS[job.problem], draw(SETTINGS[job.problem], job.seed)
    set_seed(job.seed)
    model = ResNet32(CLASSES, channels=3, width=16, blocks=5)
    stage_one = kept_model(runs, job._replace(method=STAGE_ONE))
    steps = setting.epochs * -(-len(data.train) // setting.batch_size)
    boundary = round(setting.boundary * steps)
    first, last = (boundary, steps) if job.method in FROM_STAGE_ONE else (0, steps)
    if job.method == STAGE_ONE:
        last = boundary
    elif first:
        begin_with(model, stage_one)
    folder = work_folder(runs, job)
    trainer = build_trainer(job, setting, data, model, steps=(first, last, steps), folder=folder)
    spent = train(trainer, folder)
    if job.method == STAGE_ONE:
        stage_one.parent.mkdir(parents=True, exist_ok=True)
        save_model(model, str(stage_one))
    metrics = tested(trainer, data.test, np.array(data.test.labels), data.counts)
    return {"metrics": metrics, **spent, "class_counts": data.counts.tolist(), "epochs": setting.epochs}


def begin_with(model: nn.Module, path: Path) -> None:
    """Load the model of the first stage.

    Raises:
        FileNotFoundError: it was not trained.
    """
    if not path.is_file():
        raise FileNotFoundError(f"Expected the model of the first stage in {path}, found none. Run {STAGE_ONE} first.")
    load_model(model, str(path))


def build_trainer(
    job: Job, setting: Setting, data: Drawn, model: nn.Module, *, steps: tuple[int, int, int], folder: Path
) -> OTWeightedTrainer:
    """The trainer of the steps from the first to before the last, out of all."""
    first, last, whole = steps
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: setting.rate(first + step, whole))
    arguments = OTWeightedTrainingArguments(
        **checkpoints(folder, max(1, SAVE_EVERY // setting.batch_size)),
        max_steps=last - first,
        per_device_train_batch_size=setting.batch_size,
        per_device_eval_batch_size=256,
        seed=job.seed,
        label_names=["labels"],
        max_grad_norm=0,  # the paper does not clip
        dataloader_pin_memory=False,
        **{STAGE_ONE: FROM_STAGE_ONE["plain"], **FROM_STAGE_ONE, **WHOLE}[job.method],
    )
    return OTWeightedTrainer(
        model,
        arguments,
        train_dataset=data.train,
        meta_dataset=None if arguments.weighting == "none" else data.meta,
        optimizers=(optimizer, schedule),
    )
