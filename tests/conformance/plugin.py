"""A pytest plugin that puts `OTWeightedTrainer` in `Trainer`'s place before transformers' own tests are imported.

`run.py` starts pytest with it. The environment says the rest:

- `OTW_CONFORMANCE_WEIGHTING`: `stock` (nothing is replaced), or a weighting, such as `none` or `uniform`.
- `OTW_CONFORMANCE_RESULTS`: a file that takes a line of JSON for every test: id, outcome, error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import transformers
import transformers.trainer
from torch import Tensor, nn
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from hf_otw import OTWeightedTrainer
from hf_otw.config.args import WeightingArguments
from hf_otw.losses import ExampleLoss
from hf_otw.tasks import CausalLM, LabelReader, Labels, LabelSource, MaskedLM, Regression, Task

WEIGHTING = os.environ.get("OTW_CONFORMANCE_WEIGHTING", "stock")
RESULTS = os.environ.get("OTW_CONFORMANCE_RESULTS")

#: What the tests import and the installed release no longer has: without a name in their place whole files of tests
#: could not be imported. Tests that use them fail, with the stock Trainer too.
REMOVED = ("GlueDataset", "GlueDataTrainingArguments", "DataCollatorForWholeWordMask")


# ---- Tasks of the tests' toys: what a user of such models would pass as `task=` -------------------------------------


class ToyColumn(Regression):
    """One number per example, as a column `(B, 1)`, of a model whose `num_labels` says nothing of it."""

    def fit(self, dataset: Any, source: LabelSource) -> LabelReader:
        return super().fit(dataset, source._replace(config=None))

    def num_outputs(self, dataset: Any, source: LabelSource) -> int:
        return super().num_outputs(dataset, source._replace(config=None))


class ToyLine(ToyColumn):
    """`y = a x + b`: as many numbers as there are in `x`, one an example in training, `(B,)`; several in a test of
    evaluation, `(B, T)`.
    """

    logits_ndim = 1

    def unit_losses(self, example_loss: ExampleLoss, logits: Tensor, labels: Tensor, class_prior: Tensor) -> Tensor:
        return super().unit_losses(example_loss, logits.reshape(len(labels), -1), labels, class_prior)


class ToyLines(ToyLine):
    logits_ndim = 2


class _OneGroup:
    """Text without groups: one class, which `uniform` weights do not look at."""

    def fit(self, dataset: Any, source: LabelSource) -> LabelReader:
        return LabelReader(["all"], lambda other, name: Labels(torch.zeros(len(other), dtype=torch.long)))


class ToyCausalLM(_OneGroup, CausalLM):
    pass


class ToyMaskedLM(_OneGroup, MaskedLM):
    pass


LINES = ("RegressionModel", "RegressionPreTrainedModel", "RegressionRandomPreTrainedModel")
TASKS: dict[str, type[Task]] = {
    **dict.fromkeys(LINES, ToyLine),
    "RegressionPreTrainedModelWithGradientCheckpointing": ToyColumn,
    "BasicTextGenerationModel": ToyMaskedLM,
    **dict.fromkeys(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values(), ToyCausalLM),
}


def toy_task(model: nn.Module | None, datasets: tuple[Any, ...]) -> Task | None:
    """The task of a model of the tests, None where the library finds it by itself.

    The data speak for a model that `model_init` makes later, and for the one that is given vectors.
    """
    kinds = {type(dataset).__name__ for dataset in datasets}
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    found = TASKS.get(type(base).__name__)
    if model is None and "RegressionDataset" in kinds:
        found = ToyLine
    if found is ToyLine and "DynamicShapesDataset" in kinds:
        found = ToyLines
    return found and found()


class ConformanceTrainer(OTWeightedTrainer):
    """`OTWeightedTrainer` for plain `TrainingArguments`, with the weighting of the environment."""

    def __init__(self, *positional: Any, **keywords: Any) -> None:
        if WEIGHTING != "none" and "task" not in keywords:
            model = positional[0] if positional else keywords.get("model")
            given = (*positional[3:5], keywords.get("train_dataset"), keywords.get("eval_dataset"))
            keywords["task"] = toy_task(model, given)
        super().__init__(*positional, **keywords)

    @property
    def weighting_args(self) -> WeightingArguments:
        return self._weighting_args

    @weighting_args.setter
    def weighting_args(self, value: WeightingArguments) -> None:
        given = isinstance(value, transformers.TrainingArguments)  # the user's, not the default preset
        self._weighting_args = value if given else WeightingArguments(weighting=WEIGHTING)

    def log(self, logs: dict[str, float], *more: Any, **keywords: Any) -> None:
        """Without the times that come with the weights: a test of resuming leaves out the Trainer's own by name."""
        super().log(logs, *more, **keywords)
        for entry in (logs, *self.state.log_history[-1:]):
            entry.pop("otw/milliseconds", None)


# ---- pytest ---------------------------------------------------------------------------------------------------------


def pytest_configure() -> None:
    for name in REMOVED:
        if not hasattr(transformers, name):
            setattr(transformers, name, type(name, (), {}))
    if WEIGHTING == "stock":
        return
    if "transformers.trainer_seq2seq" in sys.modules:
        raise RuntimeError("Expected Seq2SeqTrainer not to be imported yet: it would keep the stock Trainer.")
    transformers.Trainer = transformers.trainer.Trainer = ConformanceTrainer
    if not issubclass(transformers.Seq2SeqTrainer, ConformanceTrainer):
        raise RuntimeError("Expected Seq2SeqTrainer to be a subclass of the replaced Trainer, it is not.")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    report = yield
    if call.excinfo is not None and report.failed:
        report.otw_error = _error(call.excinfo.value)
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Setup and teardown count where they fail; the call counts otherwise."""
    if RESULTS is None or "PYTEST_XDIST_WORKER" in os.environ:
        return
    if report.when != "call" and report.passed:
        return
    found = {"id": report.nodeid, "outcome": report.outcome, "seconds": round(report.duration, 2)}
    if report.failed:
        found |= {"when": report.when, **getattr(report, "otw_error", {})}
    with open(RESULTS, "a", encoding="utf-8") as file:
        file.write(json.dumps(found) + "\n")


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """A module that cannot be imported is a failure too."""
    if RESULTS is not None and report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        found = {"id": report.nodeid, "outcome": "failed", "seconds": 0, "when": "collect"}
        with open(RESULTS, "a", encoding="utf-8") as file:
            file.write(json.dumps(found | {"error": "CollectError", "message": str(report.longrepr)[-300:]}) + "\n")


def _error(error: BaseException) -> dict[str, Any]:
    """Class, first line, and whether `hf_otw` itself raised it."""
    frame, raised_in = error.__traceback__, ""
    while frame is not None:
        raised_in = frame.tb_frame.f_globals.get("__name__", "")
        frame = frame.tb_next
    text = str(error).strip()
    return {
        "error": type(error).__name__,
        "message": text.splitlines()[0][:300] if text else "",
        "raised_in": raised_in,
    }
