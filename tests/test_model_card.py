from __future__ import annotations

import dataclasses
import math
import re
from importlib.metadata import version
from pathlib import Path

import huggingface_hub.repocard
import pytest
import yaml
from huggingface_hub import ModelCard

import hf_otw
from hf_otw.report.formatting import BIBTEX
from hf_otw.report.model_card import TAGS, TEMPLATE, CardData, build_model_card, installed_versions

FULL = CardData(
    model_name="r8-otw",
    class_names=["acq", "earn"],
    class_counts=[10, 90],
    class_totals=[0.4, 0.6],
    ot={"balanced_accuracy": [0.9, 0.92], "macro_f1": [0.8, 0.9], "few_shot": [math.nan, math.nan], "mcc": [0.5, 0.5]},
    plain={"balanced_accuracy": [0.8, 0.84]},
    ot_recall=[0.85, 0.97],
    plain_recall=[0.65, math.nan],
    base_model="distilbert/distilbert-base-uncased",
    dataset_name="Reuters R8",
    dataset_id="someone/reuters-r8",
    dataset_split="test",
    model_id="someone/r8-otw",
    pipeline_tag="text-classification",
    license="apache-2.0",
    language="en",
    tags=["reuters", "hf_otw"],
    meta_size=20,
    settings={"reg": "0.1", "weighting": "clean_posterior"},
    recipe="shows: toy\nseed: 0\n",
    versions={"hf_otw": "0.1.0", "torch": "2.13.0"},
)

FULL_CARD = (
    """\
---
base_model: distilbert/distilbert-base-uncased
datasets:
- someone/reuters-r8
language: en
library_name: transformers
license: apache-2.0
metrics:
- balanced_accuracy
- f1
pipeline_tag: text-classification
tags:
- hf_otw
- optimal-transport
- imbalanced-classification
- generated_from_trainer
- reuters
model-index:
- name: r8-otw
  results:
  - task:
      type: text-classification
    dataset:
      name: Reuters R8
      type: someone/reuters-r8
      split: test
    metrics:
    - type: balanced_accuracy
      value: 0.91
      name: Balanced accuracy
    - type: f1
      value: 0.85
      name: Macro F1
---

# r8-otw

[distilbert/distilbert-base-uncased](https://huggingface.co/distilbert/distilbert-base-uncased), fine-tuned on \
Reuters R8 with hf_otw, which weights training examples for imbalanced and imperfect data.

## Use

```python
from transformers import pipeline

model = pipeline("text-classification", model="someone/r8-otw")
```

The example weights act during training only: the model is an ordinary transformers model.

## Training data

100 training examples in 2 classes; the largest class has 9.0 times as many as the smallest.

| Class | Training examples | Share | Share of weight | Mean weight |
|---|---:|---:|---:|---:|
| earn | 90 | 90.0 % | 60.0 % | ×0.67 |
| acq | 10 | 10.0 % | 40.0 % | ×4.00 |

## How the weights were learned

Optimal transport between the features of the training examples and those of a small meta set of 20 examples \
gave each training example a weight ([Guo et al., NeurIPS 2022](https://huggingface.co/papers/2208.02951)). The \
weights have mean 1 and multiply the loss of their example.

## Results

On Reuters R8 (test), in percent unless the metric has another unit. Mean ± standard deviation over 2 seeds.

| Metric | Plain training | This model | Difference |
|---|---:|---:|---:|
| Balanced accuracy | 82.0 ± 2.8 | 91.0 ± 1.4 | +9.0 ± 1.4 |
| Macro F1 | – | 85.0 ± 7.1 | – |
| Few-shot accuracy | – | – | – |
| Mcc | – | 0.5000 ± 0.0000 | – |

### Recall of each class

| Class | Plain training | This model |
|---|---:|---:|
| earn | – | 97.0 |
| acq | 65.0 | 85.0 |

## Limits

- The weights follow the meta set: where it is not like the data that the model will meet, they mislead.
- A low weight is no proof of a wrong label: rare but correct examples get low weights too.
- Fewer than 20 training examples: acq. Expect little of these classes.
- Weights change how classes are traded off; the predicted probabilities were not calibrated.

## Configuration

| Setting | Value |
|---|---|
| reg | 0.1 |
| weighting | clean\\_posterior |

### Recipe

`hf-otw train someone/r8-otw` trains this model again:

```yaml
shows: toy
seed: 0
```

## Versions

- hf_otw 0.1.0
- torch 2.13.0

## Citation

```bibtex
"""
    + BIBTEX
    + "\n```"  # jinja drops the newline at the end
)

BARE_CARD = """\
---
library_name: transformers
tags:
- hf_otw
- optimal-transport
- imbalanced-classification
- generated_from_trainer
---

# bare

A model, trained with hf_otw, which weights training examples for imbalanced and imperfect data.

## Training data

2 training examples in 1 class.

| Class | Training examples | Share |
|---|---:|---:|
| all | 2 | 100.0 % |

## How the weights were learned

LINE

## Limits

LIST## Versions

VERSIONS## Citation

```bibtex
BIBTEX
```"""
PATTERNS = {
    "LINE": r"[^\n]{150,}",
    "LIST": r"(- [A-Z][^\n]+\n){4}\n",
    "VERSIONS": r"(- [a-z_]+ [0-9][^\n ]*\n){5}\n",
    "BIBTEX": r"@inproceedings\{[^`]+\}",
}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch, tmp_path):
    """Fail on the only road from a card to the network, and stand where no directory is called like a model."""

    def refuse():
        raise AssertionError("a card was about to use the network")

    monkeypatch.setattr(huggingface_hub.repocard, "get_session", refuse)
    monkeypatch.chdir(tmp_path)


def card(**changes):
    return build_model_card(dataclasses.replace(CardData("bare", ["all"], [2]), **changes)).content


def table_rows(content, header):
    """Return the cells of the table whose first header is `header`; as on GitHub, an escaped bar ends no cell."""
    lines = content[content.index(f"| {header} |") :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_the_full_card_word_for_word():
    assert build_model_card(FULL).content == FULL_CARD


def test_the_bare_card_word_for_word():
    pattern = re.escape(BARE_CARD)
    for name, part in PATTERNS.items():
        pattern = pattern.replace(name, part)
    assert re.fullmatch(pattern, card())


def test_metadata_survives_a_round_trip():
    built = build_model_card(FULL)
    read = ModelCard(built.content).data
    assert read.to_dict() == built.data.to_dict()
    assert [(result.metric_type, result.metric_value) for result in read.eval_results] == [
        ("balanced_accuracy", 0.91),
        ("f1", 0.85),
    ]
    assert read.tags == [*TAGS, "reuters"]
    assert read.license == "apache-2.0"
    assert yaml.safe_load(built.content.split("---")[1])["base_model"] == FULL.base_model
    bare = ModelCard(card()).data.to_dict()
    assert bare == {"library_name": "transformers", "tags": list(TAGS)}


def test_the_guard_against_the_network_works():
    with pytest.raises(AssertionError, match="about to use the network"):
        build_model_card(FULL).validate()


def test_every_optional_part_may_be_missing():
    fields = [field.name for field in dataclasses.fields(CardData) if field.default is None]
    fields = [name for name in fields if FULL.__dict__[name] is not None]
    assert len(fields) > 10
    for name in fields:
        content = build_model_card(dataclasses.replace(FULL, **{name: None})).content
        assert "None" not in content, name
        assert "nan" not in content.replace("Dandan", ""), name
        assert content != FULL_CARD, name
        for header in ("Class", "Metric"):
            if f"| {header} |" in content:
                rows = table_rows(content, header)
                assert len(rows) >= 4
                assert len({len(row) for row in rows}) == 1, (name, rows)


def test_without_a_baseline_the_card_says_so():
    content = card(ot={"accuracy": [0.9]})
    assert "No plain baseline was run" in content
    assert "In percent unless the metric has another unit. One seed." in content
    assert "- One seed was run" in content
    assert table_rows(content, "Metric")[2] == ["Accuracy", "90.0"]
    assert "No plain baseline" not in FULL_CARD


def test_without_a_dataset_there_is_no_model_index():
    data = ModelCard(card(ot={"accuracy": [0.9]})).data
    assert data.eval_results is None
    assert data.metrics == ["accuracy"]
    named = ModelCard(card(ot={"accuracy": [0.9]}, dataset_name="My data, v2")).data
    assert named.datasets is None  # only Hub ids belong there
    assert named.eval_results[0].dataset_type == "my-data-v2"


@pytest.mark.parametrize(
    "name", ["a|b", "*bold*", "_x_", "`code`", "<b>tag</b>", "[link](u)", "back\\slash|", "two\nlines", "$x$"]
)
def test_class_names_cannot_break_the_tables(name):
    content = card(class_names=[name, "b"], class_counts=[3, 2], class_totals=[0.5, 0.5], ot_recall=[0.1, 0.2])
    rows = table_rows(content, "Class")
    assert [len(row) for row in rows] == [5, 5, 5, 5]
    shown = rows[2][0]
    assert "<" not in shown
    plain = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", shown).replace("&lt;", "<").replace("&gt;", ">")
    assert plain == " ".join(name.split())
    assert not re.search(r"(?<!\\)[*_`\[\]$]", re.sub(r"\\\\", "", shown))


def test_a_class_without_name_or_examples():
    content = card(class_names=["", "b"], class_counts=[0, 5], class_totals=[0.0, 1.0])
    assert table_rows(content, "Class")[3] == ["(no name)", "0", "0.0 %", "0.0 %", "–"]


def test_local_paths_stay_private(tmp_path):
    (tmp_path / "out").mkdir()
    for path in (str(tmp_path / "secret" / "bert-mine"), "out", "./x/y/z"):
        content = card(base_model=path)
        assert "base_model" not in content
        assert str(tmp_path) not in content
        assert f"\n{Path(path).name}, fine-tuned with hf_otw" in content


def test_weights_that_were_not_learned():
    content = card(weights_learned=False, method="Weights are inverse class frequencies.")
    assert "\n\nWeights are inverse class frequencies.\n\n" in content
    assert "optimal-transport" not in ModelCard(content).data.tags
    assert "Optimal transport between" not in content
    assert "meta set" not in content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_names": []}, r"at least one class, got `class_names=\[\]`"),
        ({"class_counts": [1, 2]}, "`class_counts` to have one value a class, 1, got 2"),
        ({"ot": {"accuracy": [90.0]}}, r"`ot\['accuracy'\]` in \[0, 1\], got 90.0. Please divide"),
        ({"plain": {"accuracy": [90.0]}}, r"`plain\['accuracy'\]` in \[0, 1\], got 90.0"),
        ({"plain_recall": [90.0]}, r"`plain_recall` in \[0, 1\], got 90.0"),
        ({"weights_learned": False}, "Expected `method`, .* got None"),
    ],
)
def test_wrong_data_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        card(**change)


def test_versions_are_those_installed():
    versions = installed_versions()
    assert list(versions) == ["hf_otw", "transformers", "torch", "datasets", "accelerate"]
    assert versions["hf_otw"] == hf_otw.__version__
    assert versions["torch"] == version("torch")
    assert f"- transformers {version('transformers')}\n" in card()


def test_the_template_at_the_top_is_the_packaged_one():
    """Kills: an edit of one of the two files (a symbolic link would not survive a checkout on Windows)."""
    copy = Path(__file__).resolve().parents[1] / "model_card_template.md"
    assert not copy.is_symlink()
    assert copy.read_text(encoding="utf-8") == TEMPLATE.read_text(encoding="utf-8")


def test_a_recipe_cannot_leave_its_block():
    """Kills: a fence that a recipe with backticks closes, so that the rest of it is read as Markdown."""
    card = build_model_card(dataclasses.replace(FULL, recipe="shows: |\n  ```\n  # not a heading\n")).text
    assert "\n````yaml\nshows: |\n  ```\n  # not a heading\n````\n" in card
    assert "### Recipe" not in build_model_card(dataclasses.replace(FULL, recipe=None)).text
