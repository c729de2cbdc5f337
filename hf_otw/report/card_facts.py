"""Gather the facts of a run for the model card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn
from transformers import TrainerState, TrainingArguments

from hf_otw._utils import required
from hf_otw.config.settings import Settings
from hf_otw.data.training import TrainingData
from hf_otw.report.formatting import METRICS
from hf_otw.report.model_card import CardData, build_model_card
from hf_otw.weighting.statistics import WeightsResult

_MODALITIES = {
    "input_ids": "text",
    "pixel_values": "image",
    "input_values": "audio",
    "input_features": "audio",
}
_TEXT_PIPELINES = {
    "token_classification": "token-classification",
    "causal_lm": "text-generation",
    "masked_lm": "fill-mask",
    "seq2seq_lm": "text2text-generation",
}
TRAINING = ("learning_rate", "per_device_train_batch_size", "gradient_accumulation_steps", "num_train_epochs", "seed")


def card_data(
    args: TrainingArguments,
    weighting: Settings,
    state: TrainerState,
    data: TrainingData,
    weights: WeightsResult | None,
    *,
    given: dict[str, Any],
) -> CardData:
    """Gather the card of a run.

    Args:
        args, weighting, state: of the trainer.
        data: its training data.
        weights: the learned weights, or None before training.
        given: fields of `CardData` that the caller knows better; None means unknown.
    """
    learned = weighting.needs_transport
    known: dict[str, Any] = {
        "model_name": args.hub_model_id or Path(required(args.output_dir, "output_dir")).name,
        "class_totals": None if weights is None else [float(total) for total in weights.class_totals],
        "ot": last_metrics(state),
        "model_id": args.hub_model_id,
        "weights_learned": learned,
        "method": None if learned else f"Example weights: the baseline `{weighting.weighting}`; nothing was learned.",
        "meta_size": None if data.meta is None else len(data.meta),
    }
    known |= {name: value for name, value in given.items() if value is not None}
    return CardData(
        class_names=data.class_names, class_counts=data.class_counts, settings=settings(args, weighting), **known
    )


def save_card(args: TrainingArguments, *known: Any, given: dict[str, Any]) -> None:
    """Write `README.md` into the output folder; the arguments are those of `card_data`."""
    folder = Path(required(args.output_dir, "output_dir"))
    build_model_card(card_data(args, *known, given=given)).save(folder / "README.md")


def last_metrics(state: TrainerState) -> dict[str, list[float]] | None:
    """The metrics of the latest evaluation that has any, one value each."""
    for logs in reversed(state.log_history):
        found = {name: [logs[f"eval_{name}"]] for name in METRICS if f"eval_{name}" in logs}
        if found:
            return found
    return None


def settings(args: TrainingArguments, weighting: Settings) -> dict[str, str]:
    """The configuration in the order to show: how the weights were made, then how the model was trained."""
    trained = {name: getattr(args, name) for name in TRAINING}
    steps = {"max_steps": args.max_steps} if args.max_steps > 0 else {}
    return {name: str(value) for name, value in {**weighting.shown(), **trained, **steps}.items() if value is not None}


def pipeline_tag(model: nn.Module, task: str) -> str | None:
    """Return the Hub's pipeline tag for this task and input; None where it has no pipeline."""
    modality = _MODALITIES.get(getattr(model, "main_input_name", ""))
    if modality == "text" and task in _TEXT_PIPELINES:
        return _TEXT_PIPELINES[task]
    return None if modality is None or task in _TEXT_PIPELINES else f"{modality}-classification"


def card_fields(
    model: nn.Module,
    task: str,
    language: str | list[str] | None = None,
    license: str | None = None,
    tags: str | list[str] | None = None,
    model_name: str | None = None,
    finetuned_from: str | None = None,
    tasks: str | list[str] | None = None,
    dataset_tags: str | list[str] | None = None,
    dataset: str | list[str] | None = None,
    dataset_args: str | list[str] | None = None,
    **results: Any,
) -> dict[str, Any]:
    """Translate the arguments of `Trainer.create_model_card` to fields of `CardData`; `results` are such fields."""
    base_model = getattr(getattr(model, "config", None), "_name_or_path", None)
    return {
        "language": language,
        "license": license,
        "tags": [tags] if isinstance(tags, str) else tags,
        "model_name": model_name,
        "base_model": finetuned_from or base_model or None,
        "pipeline_tag": _first(tasks) or pipeline_tag(model, task),
        "dataset_id": _first(dataset_tags),
        "dataset_name": _first(dataset),
        "dataset_split": _first(dataset_args),
        **results,
    }


def _first(value: str | list[str] | None) -> str | None:
    return next(iter(value), None) if isinstance(value, list) else value
