"""The report of a finished run, from what it left in its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet

from hf_otw.recipe.hub import METRICS, WEIGHTS
from hf_otw.recipe.publish import per_metric, recalls
from hf_otw.recipe.schema import FILE
from hf_otw.report.data import ReportData

REQUIRED = ("metrics", "per_seed", "recall", "classes", "versions", "config")


def read_run(run: Path) -> dict[str, Any]:
    """The metrics of a run.

    Raises:
        ValueError: not the folder of a run.
    """
    path = run / METRICS
    if not path.is_file():
        raise ValueError(f"Expected the folder of a run with {METRICS}, found none in {run}. Run `hf-otw train`.")
    results = json.loads(path.read_text(encoding="utf-8"))
    missing = [name for name in REQUIRED if name not in results]
    if missing:
        raise ValueError(f"Expected {', '.join(missing)} in {path}, found none. Run the recipe again.")
    return results


def report_data(
    run: Path, baseline: Path | None = None, *, texts: bool = False, title: str | None = None
) -> ReportData:
    """Gather the page of a run.

    Args:
        run: its folder.
        baseline: folder of a plain run.
        texts: whether to load the training rows again, for their texts.
        title: of the page.

    Raises:
        ValueError: not the folder of a run, a run without weights, or data without texts.
    """
    results, plain = read_run(run), None if baseline is None else read_run(baseline)
    path, names = run / WEIGHTS, results["classes"]
    if not path.is_file() or not names:
        raise ValueError(
            f"Expected a run with a class and a weight an example, found no {path}: the stock Trainer, or a task "
            "without classes. Report the weighted run, and give this one as --baseline."
        )
    table = pyarrow.parquet.read_table(path)
    number = {name: k for k, name in enumerate(names)}
    labels = np.array([number[label] for label in table["label"].to_pylist()])
    weights = table["weight"].to_numpy()
    counts = np.bincount(labels, minlength=len(names))
    index = table["example_index"].to_numpy()
    return ReportData(
        title=title or results["recipe"],
        class_names=names,
        class_counts=counts.tolist(),
        class_totals=(np.bincount(labels, weights, minlength=len(names)) / weights.sum()).tolist(),
        weights=weights / weights.mean(),
        labels=labels,
        texts=example_texts(run, index) if texts else None,
        plain=None if plain is None else known(per_metric(plain)),
        ot=known(per_metric(results)),
        plain_recall=None if plain is None else recalls(plain, names),
        ot_recall=recalls(results, names) or [float("nan")] * len(names),
        settings=settings(results),
    )


def known(metrics: dict[str, list[float]]) -> dict[str, list[float]]:
    """Those with a value."""
    return {name: values for name, values in metrics.items() if values}


def settings(results: dict[str, Any]) -> dict[str, str]:
    """What was run, in the order to show."""
    config, source = results["config"], results["config"]["source"]
    shown = {
        "recipe": results["recipe"],
        "shows": config["shows"],
        "data": source["packaged"] or source["hub"] or ", ".join(source.get("files", {}).values()),
        "model": " ".join([config["model"]["name"], *map(str, config["model"]["options"].values())]),
        **{name: str(value) for name, value in config["arguments"].items()},
        "seeds": ", ".join(str(seed["seed"]) for seed in results["per_seed"]),
    }
    return shown | results["versions"]


def example_texts(run: Path, index: np.ndarray) -> list[str]:
    """Texts of the training examples, from the run's data, loaded again."""
    from hf_otw.recipe.built_in import catalogue_for
    from hf_otw.recipe.reading import load_recipe
    from hf_otw.recipe.run import prepare

    recipe = load_recipe(run / FILE)
    rows = prepare(recipe, run, catalogue_for()).rows.train
    if "text" not in rows.column_names:
        raise ValueError(f"Expected a column 'text' for --texts, got {rows.column_names}. Leave out --texts.")
    texts = rows["text"][:]
    return [texts[row] for row in index]
