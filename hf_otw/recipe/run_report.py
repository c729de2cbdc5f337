"""The report of a finished run, from what it left in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from hf_otw.recipe.hub import METRICS, WEIGHTS
from hf_otw.recipe.limits import read_json
from hf_otw.recipe.publish import per_metric, recalls
from hf_otw.recipe.schema import FILE
from hf_otw.report.data import ReportData

#: What the metrics of a run hold, by its dotted place, and of which kind.
REQUIRED: dict[str, type] = {
    "recipe": str,
    "metric.name": str,
    "metrics": dict,
    "per_seed": list,
    "recall": dict,
    "classes": list,
    "versions": dict,
    "config.shows": str,
    "config.source": dict,
    "config.model.name": str,
    "config.model.options": dict,
    "config.arguments": dict,
}
COLUMNS = ("example_index", "label", "weight")


def read_run(run: Path) -> dict[str, Any]:
    """The metrics of a run.

    Args:
        run: its folder, or the file itself.

    Raises:
        ValueError: not the folder of a run, or a damaged one.
    """
    path = run / METRICS if run.is_dir() else run
    if not path.is_file():
        raise ValueError(f"Expected the folder of a run with {METRICS}, found none in {run}. Run `hf-otw train`.")
    results = read_json(path)
    for place, kind in REQUIRED.items():
        found = at(results, place)
        if not isinstance(found, kind):
            got = "none" if found is None else f"a {type(found).__name__}"
            raise ValueError(f"Expected {place} in {path} to be a {kind.__name__}, got {got}. Run the recipe again.")
    seeds = [at(seed, "metrics") for seed in results["per_seed"]]
    parts = [results["metrics"], results["recall"], *seeds]
    if not seeds or not all(isinstance(part, dict) and all(map(is_number, part.values())) for part in parts):
        raise ValueError(f"Expected numbers under metrics, recall and per_seed in {path}. Run the recipe again.")
    if not all(set(results["metrics"]) <= set(metrics) for metrics in seeds):
        raise ValueError(f"Expected every metric of {path} for each seed. Run the recipe again.")
    if not all(isinstance(name, str) for name in results["classes"]):
        raise ValueError(f"Expected the names of classes in {path}, got {results['classes'][:20]}. Run it again.")
    return results


def at(values: Any, place: str) -> Any:
    """Return the value at a dotted place; None where there is nothing."""
    for key in place.split("."):
        values = values.get(key) if isinstance(values, dict) else None
    return values


def is_number(value: Any) -> bool:
    """A number that is one in JSON."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def read_weights(path: Path, names: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row numbers, classes and weights of the table that a run writes, `(n,)` each.

    Raises:
        ValueError: a damaged file, or one of another run.
    """
    again = "Run the recipe again."
    try:
        table = pyarrow.parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"Expected a Parquet file at {path}, got what does not parse: {error}. {again}") from error
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise ValueError(f"Expected the columns {', '.join(missing)} in {path}, got {table.column_names}. {again}")
    number = {name: k for k, name in enumerate(names)}
    labels = [number.get(label) if isinstance(label, str) else None for label in table["label"].to_pylist()]
    if not labels or None in labels:
        raise ValueError(f"Expected labels of the classes {names[:20]} in {path}, got others or none. {again}")
    try:
        weights = np.asarray(table["weight"].to_pylist(), dtype=np.float64)
        index = np.asarray(table["example_index"].to_pylist(), dtype=np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"Expected numbers as weights and rows in {path}: {error}. {again}") from error
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise ValueError(f"Expected weights in {path} that are finite, not negative and not all 0. {again}")
    return index, np.array(labels), weights


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
    index, labels, weights = read_weights(path, names)
    counts = np.bincount(labels, minlength=len(names))
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
    """List the settings of the run, in the order to show."""
    config, source = results["config"], results["config"]["source"]
    files = source.get("files") or {}
    shown = {
        "recipe": results["recipe"],
        "shows": config["shows"],
        "data": source.get("packaged") or source.get("hub") or ", ".join(map(str, files.values())),
        "model": " ".join([config["model"]["name"], *map(str, config["model"]["options"].values())]),
        **{name: str(value) for name, value in config["arguments"].items()},
        "seeds": ", ".join(str(seed.get("seed")) for seed in results["per_seed"]),
    }
    return shown | {name: str(version) for name, version in results["versions"].items()}


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
    if index.min() < 0 or index.max() >= len(texts):
        raise ValueError(f"Expected row numbers below {len(texts)} in {run / WEIGHTS}. Run the recipe again.")
    return [texts[row] for row in index]
