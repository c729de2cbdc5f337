"""What a user reads of the options: tables, signature, names, help."""

from __future__ import annotations

import dataclasses
import inspect
import re

import pytest
from transformers import HfArgumentParser, Trainer

import hf_otw
from hf_otw import OTWeightedTrainer, OTWeightedTrainingArguments
from hf_otw.config.args import WeightingArguments
from tools.options import pages, written

OWN = ["meta_dataset", "weighting", "cost", "example_loss", "task"]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_tables_of_options_are_those_of_the_schema(page) -> None:
    """Kills: an option that changes and a page that does not. `python -m tools.options` writes them."""
    text = page.read_text(encoding="utf-8")
    assert "<!-- options: " in text
    assert written(text) == text


def test_the_signature_is_that_of_the_installed_trainer_and_five_more() -> None:
    """Kills: an argument of a newer host that this constructor does not take, or takes at another place."""
    host = list(inspect.signature(Trainer.__init__).parameters)
    ours = inspect.signature(OTWeightedTrainer.__init__).parameters
    assert list(ours) == host + OWN
    assert all(ours[name].kind is inspect.Parameter.KEYWORD_ONLY for name in OWN)


def test_public_names_are_listed() -> None:
    assert dir(hf_otw) == sorted(hf_otw.__all__)
    assert {"WeightModel", "FigureCallback", "make_compute_metrics", "learn_weights"} <= set(dir(hf_otw))
    assert all(getattr(hf_otw, name) is not None for name in dir(hf_otw))


def test_every_argument_is_described_once_in_its_group() -> None:
    """Kills: a field that `help()` does not show, and one described that does not exist."""
    text = inspect.getdoc(WeightingArguments) or ""
    described = re.findall(r"^    (\w+): ", text, flags=re.MULTILINE)
    assert sorted(described) == sorted(field.name for field in dataclasses.fields(WeightingArguments))
    assert text.count("\n\n") >= 6  # groups


def test_arguments_come_from_a_command_line(tmp_path) -> None:
    """Kills: a dictionary field that `HfArgumentParser` cannot read."""
    line = ["--output_dir", str(tmp_path), "--weighting", "agreement", "--weighting_kwargs", '{"reg": 0.25}']
    (args,) = HfArgumentParser(OTWeightedTrainingArguments).parse_args_into_dataclasses([*line, "--use_cpu", "true"])
    assert args.settings().weighting_kwargs == {"reg": 0.25}
