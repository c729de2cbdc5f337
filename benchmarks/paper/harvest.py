"""Copy the results of a run folder into the checkout: what the page is written from.

    python -m benchmarks.paper.harvest --runs runs/paper      # then: python -m benchmarks.paper.page

Runs go to `benchmarks/results/paper.json`, those of whole recipes to `recipes/results`. A run that the folder does
not hold keeps the result that is there.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks.paper.job import Job, Row, read_result, write_json
from benchmarks.paper.parts import queue
from benchmarks.paper.recipe_runs import RECIPES
from tools.table import RESULTS as RECIPE_RESULTS

RESULTS = Path(__file__).parents[1] / "results" / "paper.json"


def main(argv: Sequence[str] | None = None) -> None:
    """Copy what is done."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper.harvest", description=__doc__.splitlines()[0])
    default = Path(os.environ.get("HF_OTW_PAPER_RUNS") or "runs/paper")
    parser.add_argument("--runs", type=Path, default=default, help="folder of results and checkpoints")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--recipe-results", type=Path, default=RECIPE_RESULTS)
    options = parser.parse_args(argv)
    rows, recipes = harvest(options.runs, options.results, options.recipe_results)
    print(f"{rows} runs in {options.results}; {recipes} recipes copied into {options.recipe_results}")


def harvest(runs: Path, results: Path, recipe_results: Path) -> tuple[int, int]:
    """Merge what is done into both places; returns the rows of the first and the files written to the second."""
    merged = {key(row): row for row in read_rows(results)}
    recipes = 0
    for job in queue():
        found = read_result(runs, job)
        if found is None:
            continue
        if job.part == RECIPES:
            recipe = {**found["recipe"], "commit": found["commit"]}
            write_json(recipe, recipe_results / f"{recipe['recipe'].replace('/', '_')}.json", indent=2)
            recipes += 1
        else:
            merged[key(found)] = found
    write_rows([merged[name] for name in sorted(merged)], results)
    return len(merged), recipes


def key(row: Row) -> Job:
    """What a row is the result of."""
    return Job(row["part"], row["problem"], row["method"], row["seed"])


def read_rows(path: Path) -> list[Row]:
    """Rows of a results file; none where there is no file."""
    return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """A row a line, the file whole or not at all."""
    lines = ",\n".join(json.dumps(row) for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(f'{{"rows": [\n{lines}\n]}}\n', encoding="utf-8")
    unfinished.replace(path)


if __name__ == "__main__":
    main()
