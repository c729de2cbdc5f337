"""Write the files of a run: metrics, weights, the model with its card, and the recipe that repeats it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml
from datasets import ClassLabel

from hf_otw._version import __version__
from hf_otw.recipe.hub import METRICS, MODEL, WEIGHTS
from hf_otw.recipe.schema import FILE, Recipe, without_secrets
from hf_otw.recipe.splits import LABEL, class_labels, class_names
from hf_otw.recipe.stranger import allowed_arguments
from hf_otw.report.card_facts import card_fields
from hf_otw.report.formatting import METRICS as KNOWN
from hf_otw.report.model_card import CardData, build_model_card
from hf_otw.report.weights_table import write_weights

if TYPE_CHECKING:
    from hf_otw.recipe.run import Job
    from hf_otw.trainer import OTWeightedTrainer


def recipe_text(recipe: Recipe) -> str:
    """A recipe as YAML that reads back as the same recipe, secrets left out."""
    body = yaml.safe_dump(without_secrets(recipe.as_dict()), sort_keys=False, allow_unicode=True, width=110)
    return f"# hf_otw {__version__}. Run again with: hf-otw train {FILE}\n{body}"


def portable(recipe: Recipe) -> Recipe:
    """The recipe as others may run it: without arguments that are about this machine, which theirs would refuse."""
    allowed = allowed_arguments()
    kept = {name: value for name, value in recipe.arguments.items() if name in allowed}
    return dataclasses.replace(recipe, arguments=kept)


def write_json(results: dict[str, Any], path: Path) -> None:
    """Write JSON at once: a run that is broken off leaves no half of a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    unfinished.replace(path)


def run_weights(trainer: OTWeightedTrainer) -> dict[str, Any] | None:
    """The arguments of `write_weights` after a run; None where there is no weight an example."""
    if not trainer.is_weighted or trainer.training_data.unit_counts is not None:
        return None
    data, result = trainer.training_data, trainer.weights_result
    labels = data.labels[data.train_units].tolist()
    totals = dict(zip(data.class_names, result.class_totals.tolist(), strict=True))
    return {
        "index": data.train_rows,
        "labels": [data.class_names[k] for k in labels],
        "weights": torch.as_tensor(result.weights).double().cpu().numpy(),
        "totals": totals,
    }


def save_run(
    job: Job,
    trainer: OTWeightedTrainer,
    results: dict[str, Any],
    *,
    repo: str | None = None,
    plain: dict[str, Any] | None = None,
) -> None:
    """Write the folder of a run. All processes call it, as a model divided among them is gathered.

    Args:
        job: what was run.
        trainer: of its last seed.
        results: of `hf_otw.recipe.run.collect`.
        repo: where the model will be published, for its card.
        plain: results of a plain run to compare with.
    """
    model = job.output / MODEL
    trainer.save_model(str(model))
    if not trainer.is_world_process_zero():
        return
    write_json(results, job.output / METRICS)
    table = run_weights(trainer)
    if table is not None:
        write_weights(job.output / WEIGHTS, **table)
    if hasattr(job.processor, "save_pretrained"):
        job.processor.save_pretrained(model)
    text = recipe_text(portable(job.recipe))
    (job.output / FILE).write_text(recipe_text(job.recipe), encoding="utf-8")
    (model / FILE).write_text(text, encoding="utf-8")
    if trainer.is_weighted:
        trainer.create_model_card(**card(job, results, trainer.training_data.class_names, repo, plain, text))
    elif isinstance(job.rows.train.features.get(LABEL), ClassLabel):
        build_model_card(plain_card(job, trainer, results, repo, text)).save(model / "README.md")
    elif hasattr(trainer.model, "config"):  # without one, the stock Trainer cannot write its card
        trainer.create_model_card()


def card(
    job: Job,
    results: dict[str, Any],
    names: list[str],
    repo: str | None,
    plain: dict[str, Any] | None,
    text: str,
) -> dict[str, Any]:
    """Return the parts of the model card that the trainer does not know, as `create_model_card` takes them."""
    source = job.recipe.source
    name = source.hub if job.source == "hub" else source.packaged or Path(source.files.get("train", "data")).stem
    return {
        "model_name": (repo or job.output.name).split("/")[-1],
        "finetuned_from": job.recipe.model.options.get("checkpoint"),
        "dataset_tags": source.hub if job.source == "hub" else None,
        "dataset": name,
        "dataset_args": "held-out rows" if job.select else "test",
        "tasks": "tabular-classification" if "features" in job.prepared.splits.train.column_names else None,
        "license": job.recipe.license,
        "model_id": repo,
        "recipe": text,
        "ot": per_metric(results),
        "plain": None if plain is None else per_metric(plain),
        "ot_recall": recalls(results, names),
        "plain_recall": None if plain is None else recalls(plain, names),
    }


def plain_card(job: Job, trainer: OTWeightedTrainer, results: dict[str, Any], repo: str | None, text: str) -> CardData:
    """The card of the stock Trainer's model, in the same form, so that two runs can be laid side by side."""
    names = class_names(job.rows.train)
    counts = np.bincount(class_labels(job.rows.train), minlength=len(names)).tolist()
    known = card_fields(trainer.model, "single_label", **card(job, results, names, repo, None, text))
    return CardData(
        class_names=names,
        class_counts=counts,
        weights_learned=False,
        method="They were not: the stock Trainer, every example counting the same.",
        **{field: value for field, value in known.items() if value is not None},
    )


def per_metric(results: dict[str, Any]) -> dict[str, list[float]]:
    """Metric name -> one value a seed, of the metrics that cards and reports know, and of the recipe's own."""
    own = results["metric"]["name"]
    shown = [name for name in results["metrics"] if name in KNOWN or name == own]
    return {name: [seed["metrics"][name] for seed in results["per_seed"]] for name in shown}


def recalls(results: dict[str, Any], names: list[str]) -> list[float] | None:
    """Recall of each class, NaN where the test rows lack it; None where none was measured."""
    found = results["recall"]
    return [found.get(name, float("nan")) for name in names] if found else None
