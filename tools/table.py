"""One table of all recipes, from the JSON files of full runs: printed, and filled into recipes/README.md.

python -m tools.table                               # print it, from recipes/results
python -m tools.table --results runs/recipes        # print it, from a folder of runs
python -m tools.table --write                       # write recipes/README.md
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_otw.recipe.find import folder_recipes
from hf_otw.recipe.reading import load_recipe
from tools.markdown import fill, span, table
from tools.readme import ROOT

RECIPES = ROOT / "recipes"
README = RECIPES / "README.md"
RESULTS = RECIPES / "results"
MARK = "recipes"
#: Keys of every file of results, see `hf_otw.recipe.run.collect`.
REQUIRED = (
    "recipe",
    "shows",
    "metric",
    "metrics",
    "recall",
    "per_seed",
    "rows",
    "config",
    "versions",
    "hardware",
    "seconds",
    "source",
    "select",
)
#: Metrics between 0 and 1 are shown in per cent; these are not.
IN_OWN_UNIT = ("mae", "perplexity", "loss")

Results = Mapping[str, Mapping[str, Any]]


def read_results(folder: Path) -> dict[str, dict[str, Any]]:
    """Results by recipe, from all files below a folder that are results of recipes.

    Raises:
        ValueError: results that do not say what they must, or numbers for choosing settings.
    """
    found = {}
    for path in sorted(folder.rglob("*.json")):
        results = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(results, dict) or "recipe" not in results:
            continue  # the demo's, or what a trainer keeps
        missing = [name for name in REQUIRED if name not in results]
        if missing:
            raise ValueError(f"Expected {', '.join(missing)} in {path}, found none. Run the recipe again.")
        if results["select"]:
            raise ValueError(f"Expected results on the test split in {path}, got --select. Run it without.")
        found[results["recipe"]] = results
    return found


def values(results: Mapping[str, Any]) -> list[float]:
    """The main metric of each seed, in per cent where it is a share."""
    name = results["metric"]["name"]
    factor = 1 if any(unit in name for unit in IN_OWN_UNIT) else 100
    return [factor * seed["metrics"][name] for seed in results["per_seed"]]


def gain(found: Results, folder: str) -> str:
    """How much better `ot` is than `plain`: above 0 is better, whatever the metric."""
    plain, weighted = found.get(f"{folder}/plain"), found.get(f"{folder}/ot")
    if plain is None or weighted is None:
        return ""
    difference = sum(values(weighted)) / len(values(weighted)) - sum(values(plain)) / len(values(plain))
    return f"{difference if plain['metric']['higher_is_better'] else -difference:+.1f}"


def printed(found: Results, names: Sequence[str]) -> str:
    """The table for a terminal: plain against OT, a line for each data set and model."""
    folders = list(dict.fromkeys(name.rpartition("/")[0] for name in names if name in found))
    lines = [f"{'':36}{'metric':26}{'plain':>18}{'OT':>18}{'gain':>8}{'seconds':>9}"]
    for folder in folders:
        runs = [found[name] for name in (f"{folder}/plain", f"{folder}/ot") if name in found]
        if not runs:
            continue
        metric = runs[0]["metric"]
        title = metric["name"] + ("" if metric["higher_is_better"] else " (lower is better)")
        cells = [span(values(found[f"{folder}/{v}"])) if f"{folder}/{v}" in found else "-" for v in ("plain", "ot")]
        seconds = sum(results["seconds"] for results in runs)
        lines.append(f"{folder:36}{title[:44]:26}{cells[0]:>18}{cells[1]:>18}{gain(found, folder):>8}{seconds:>9.0f}")
    return "\n".join(lines)


def markdown(found: Results, paths: Mapping[str, Path]) -> str:
    """Every recipe: what it shows, its result."""
    rows = []
    for name, path in paths.items():
        recipe = load_recipe(path)
        folder, _, variant = name.rpartition("/")
        results = found.get(name)
        needs = f" Needs: {', '.join(recipe.needs)}." if recipe.needs else ""
        metric = "" if results is None else results["metric"]["name"].replace("_", " ")
        metric += "" if results is None or results["metric"]["higher_is_better"] else " (lower is better)"
        seeds = "" if results is None else f", {len(results['per_seed'])} seed{'s' * (len(results['per_seed']) > 1)}"
        cells = [
            f"[{name}]({name}.yaml)",
            recipe.shows + needs,
            metric,
            "not run yet" if results is None else span(values(results)) + seeds,
            gain(found, folder) if variant == "ot" else "",
        ]
        rows.append(cells)
    return table(["recipe", "shows", "metric", "result", "against plain"], rows, texts=3)


def filled(readme: str) -> str:
    """The text of recipes/README.md with the table as the recipes and their results have it."""
    return fill(readme, MARK, markdown(read_results(RESULTS), folder_recipes(RECIPES)))


def main() -> None:
    """Print or write."""
    parser = argparse.ArgumentParser(prog="python -m tools.table", description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder with JSON files, at any depth")
    parser.add_argument("--write", action="store_true", help="fill the table of recipes/README.md")
    options = parser.parse_args()
    found = read_results(options.results)
    print(printed(found, list(folder_recipes(RECIPES))) if found else f"No results: {options.results}")
    if options.write:
        README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
