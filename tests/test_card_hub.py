"""Cards of real runs, as a whole, and before a Hub: its real client asks a server on loopback that knows the rules."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard, constants

from hf_otw.report.model_card import CardData, build_model_card
from tests.card_rules import problems
from tests.command_line import hf_otw
from tests.hub_server import Hub, serving
from tests.test_cards import trained
from tests.test_model_card import FULL

GOLDEN = Path(__file__).parent / "card_of_digits.md"
NUMBER = r"[+−]?\d+\.\d+"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving() as found:
        monkeypatch.setattr(constants, "ENDPOINT", found.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield found


def measured_left_out(card: str) -> str:
    """The card without what differs between machines and versions: what was measured, learned or installed."""
    card = re.sub(r"value: [\d.]+", "value: N", card)
    card = re.sub(rf"(\| \d+ \| {NUMBER} % \|) {NUMBER} % \| ×{NUMBER} \|", r"\1 N % | ×N |", card)
    head, results, rest = re.split(r"(?=## Results\n|## Limits\n)", card)
    rest = re.sub(r"^(- \w+) \d\S*$", r"\1 V", re.sub(r"# hf_otw \S+\.", "# hf_otw V.", rest), flags=re.MULTILINE)
    return head + re.sub(NUMBER, "N", results) + rest + "\n"


@pytest.mark.slow
def test_the_card_of_a_run_line_for_line(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kills: a part of the card that a run no longer fills, or fills with something else."""
    monkeypatch.chdir(tmp_path)
    quick = ("--max_steps", "20", "--use_cpu", "true")
    for command in (("digits-plain",), ("digits", "--baseline", "runs/digits-plain", "--license", "mit")):
        done = hf_otw(capsys, "train", *command, *quick)
        assert done.code == 0, done.err
    card = ModelCard.load(tmp_path / "runs" / "digits" / "model" / "README.md")
    found = measured_left_out(card.content)
    (tmp_path / GOLDEN.name).write_text(found, encoding="utf-8")
    assert found == GOLDEN.read_text(encoding="utf-8"), f"If that was meant, take {tmp_path / GOLDEN.name}."
    card.validate()
    assert ("POST", "/api/validate-yaml") in hub.requests
    results = {result.metric_type: result.metric_value for result in card.data.eval_results or ()}
    (row,) = re.findall(r"\| Accuracy \| \S+ \| (\S+) \|", card.content)
    assert results["accuracy"] == pytest.approx(float(row) / 100, abs=6e-4), "the table and the metadata agree"
    assert ModelCard(card.content).data.to_dict() == card.data.to_dict()


def test_the_hub_takes_the_card_of_a_trainer(hub: Hub, tmp_path: Path) -> None:
    """Kills: a field that the Hub refuses in the card that `push_to_hub` uploads; arguments by position refused."""
    trainer = trained(tmp_path)
    trainer.create_model_card("en", "apache-2.0", "extra", dataset_tags="ada/toys", dataset="Toys", ot={"mcc": [0.5]})
    card = ModelCard.load(tmp_path / "README.md")
    card.validate()
    assert hub.requests == [("POST", "/api/validate-yaml")]
    assert (card.data.language, card.data.license, card.data.datasets) == ("en", "apache-2.0", ["ada/toys"])


@pytest.mark.parametrize("data", [FULL, CardData("bare", ["all"], [2])], ids=["full", "bare"])
def test_the_hub_takes_cards_with_everything_and_with_nothing(hub: Hub, data: CardData) -> None:
    build_model_card(data).validate()
    assert hub.requests == [("POST", "/api/validate-yaml")]


def changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The metadata of the full card with one field set, or taken out where the value is None."""
    metadata = copy.deepcopy(build_model_card(FULL).data.to_dict())
    place: Any = metadata
    for step in path[:-1]:
        place = place[step]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return metadata


class AsWritten(ModelCard):
    """A card whose text goes to the Hub unread: reading it, the client leaves out a model index that it cannot use."""

    def __init__(self, text: str) -> None:
        self.text_as_written = text

    def __str__(self) -> str:
        return self.text_as_written


RESULT = ("model-index", 0, "results", 0)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("license",), "license", "license.* must be one of the known ids"),
        (("license",), "other", "license_name.* is required"),
        (("tags",), [1, 2], "tags.* a list of strings"),
        (("metrics",), {"accuracy": 1}, "metrics.* a list of strings"),
        (("language",), "English", "language.* must be an ISO 639 code"),
        (("datasets",), ["Reuters R8"], "datasets.* must hold ids of the Hub"),
        (("base_model",), "/home/ada/bert", "base_model.* must hold ids of the Hub"),
        (("pipeline_tag",), "classify-text", "pipeline_tag.* must be a task of the Hub"),
        (("library_name",), 1, "library_name.* must be a string"),
        (("model-index",), {"name": "x"}, "model-index.* must be a list"),
        (("model-index", 0, "name"), None, r"model-index\[0\]\.name.* is required"),
        (("model-index", 0, "results"), [], r"results.* must be a list with something in it"),
        ((*RESULT, "task"), {}, r"task\.type"),
        ((*RESULT, "dataset", "type"), None, r"dataset\.type.* is required"),
        ((*RESULT, "dataset", "type"), "Reuters R8", r"dataset\.type.* is required"),
        ((*RESULT, "metrics"), None, r"metrics.* must be a list with something in it"),
        ((*RESULT, "metrics", 0, "type"), None, r"metrics\[0\]\.type.* is required"),
        ((*RESULT, "metrics", 0, "value"), "0.9", r"metrics\[0\]\.value.* must be a number"),
        ((*RESULT, "metrics", 0, "value"), float("nan"), r"metrics\[0\]\.value.* must be a number"),
    ],
)
def test_a_wrong_field_is_refused(hub: Hub, path: tuple[Any, ...], value: Any, message: str) -> None:
    """Kills: a rule that the server of these tests does not apply, so that a card with the mistake would pass."""
    head = yaml.safe_dump(changed(path, value), sort_keys=False)
    with pytest.raises(ValueError, match=message):
        AsWritten(f"---\n{head}---\n# x\n").validate()


def test_the_rules_refuse_nothing_that_is_right() -> None:
    """Kills: a server of these tests that refuses whatever it is sent, by a rule that is wider than the Hub's."""
    metadata = changed(("license",), "other") | {"license_name": "ours", "language": ["en", "de-CH"]}
    assert problems(metadata) == []
    assert problems([]) == ["metadata must be a mapping"]
