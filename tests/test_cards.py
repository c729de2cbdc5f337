"""The card that the trainer writes: the host's arguments arrive, and the run describes itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard

from hf_otw import OTWeightedTrainer
from hf_otw.report.card_facts import pipeline_tag
from tests.toys import toy_dataset, toy_trainer


def trained(folder: Path, **keywords: object) -> OTWeightedTrainer:
    trainer = toy_trainer(folder, trainer_eval_dataset=toy_dataset(seed=1), **keywords)
    trainer.train()
    return trainer


def test_card_says_how_the_weights_were_learned(tmp_path: Path) -> None:
    trainer = trained(tmp_path)
    metrics = {"ot": {"accuracy": [0.5]}, "ot_recall": [0.1, 0.2, 0.3]}
    trainer.create_model_card(model_name="toy", dataset="Toy data", license="apache-2.0", tags="extra", **metrics)
    card = ModelCard.load(tmp_path / "README.md")
    assert {"hf_otw", "extra"} <= set(card.data.tags)
    assert card.data.license == "apache-2.0"
    assert card.data.eval_results[0].metric_value == pytest.approx(0.5)
    assert "Optimal transport between the features" in card.content
    assert "'reg': 0.1" in card.content
    for count in trainer.training_data.class_counts:
        assert f"| {count} |" in card.content


def test_card_of_a_baseline_claims_no_transport(tmp_path: Path) -> None:
    """Kills: `weights_learned` fixed to True."""
    trained(tmp_path, weighting="inverse_frequency").create_model_card()
    assert "nothing was learned" in ModelCard.load(tmp_path / "README.md").content


def test_card_takes_the_metrics_of_the_latest_evaluation(tmp_path: Path) -> None:
    trainer = trained(tmp_path)
    trainer.compute_metrics = lambda prediction: {"balanced_accuracy": 0.25}
    trainer.evaluate()
    trainer.compute_metrics = lambda prediction: {"balanced_accuracy": 0.75}
    trainer.evaluate()
    trainer.create_model_card(dataset="Toy data")
    results = ModelCard.load(tmp_path / "README.md").data.eval_results
    assert [result.metric_value for result in results] == [pytest.approx(0.75)]


def test_passthrough_writes_the_stock_card(tmp_path: Path) -> None:
    trained(tmp_path, weighting="none").create_model_card(model_name="toy")
    assert "hf_otw" not in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize(
    ("inputs", "task", "tag"),
    [
        ("input_ids", "single_label", "text-classification"),
        ("input_ids", "token_classification", "token-classification"),
        ("input_ids", "causal_lm", "text-generation"),
        ("pixel_values", "multi_label", "image-classification"),
        ("input_values", "single_label", "audio-classification"),
        ("input_features", "seq2seq_lm", None),
        (None, "single_label", None),
    ],
)
def test_the_hub_is_told_what_the_model_is_for(inputs: str | None, task: str, tag: str | None) -> None:
    """Kills: every model called a text classifier."""
    net = torch.nn.Linear(2, 2)
    if inputs is not None:
        net.main_input_name = inputs
    assert pipeline_tag(net, task) == tag
