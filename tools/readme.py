"""The README's numbers come from a results file: this command writes them, a test checks them.

make demo SEEDS=3 && python -m tools.readme --take runs/demo/metrics.json     # measure, keep, write
python -m tools.readme                                                        # write from the kept results
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
from pathlib import Path
from typing import Any

from tools.markdown import fill, span, table

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "recipes" / "results" / "reuters_r8_demo.json"
ADJUSTED_RESULTS = ROOT / "recipes" / "results" / "reuters_r8_logit_adjustment.json"
COLUMNS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro-F1",
    "many_shot": "many-shot",
    "medium_shot": "medium-shot",
    "few_shot": "few-shot",
}
ROWS = {
    "plain": "plain `Trainer`",
    "ot": "`OTWeightedTrainer`",
}


def demo_table(results: dict[str, Any]) -> str:
    """Mean over seeds with the lowest and highest, in per cent, as Markdown."""
    names = [name for name in COLUMNS if name in results["plain"]]
    rows = []
    for method, title in ROWS.items():
        if method in results:
            seeds = results["per_seed"][method]
            rows.append([title, *(span([100 * seed[name] for seed in seeds]) for name in names)])
    gain = 100 * (results["ot"]["balanced_accuracy"] - results["plain"]["balanced_accuracy"])
    note = f"Balanced accuracy: {gain:+.1f} points; in brackets the lowest and highest seed."
    return f"{table(['', *(COLUMNS[name] for name in names)], rows)}\n\n{note}"


def adjustment_alone(results: dict[str, Any], adjusted: dict[str, Any]) -> str:
    """How much of the gain the loss alone brings, on the seeds that were run, as a sentence."""
    seeds = len(adjusted["per_seed"]["logit_adjustment"])
    alone, plain, weighted = (
        100 * statistics.fmean(seed["balanced_accuracy"] for seed in found)
        for found in (
            adjusted["per_seed"]["logit_adjustment"],
            results["per_seed"]["plain"][:seeds],
            results["per_seed"]["ot"][:seeds],
        )
    )
    which = "seed 0" if seeds == 1 else f"the first {seeds} seeds"
    return (
        f"The logit-adjusted loss alone, without weights and meta examples, reaches {alone:.1f} on {which} (plain "
        f"{plain:.1f}, weighted "
        f"{weighted:.1f}; `python -m recipes.demo --seeds {seeds} --methods logit_adjustment`)."
    )


def fill_all(readme: str) -> str:
    """Return the README's text with the demo's table as its results file has it."""
    results = json.loads(RESULTS.read_text())
    alone = adjustment_alone(results, json.loads(ADJUSTED_RESULTS.read_text()))
    return fill(readme, "reuters_r8_demo", f"{demo_table(results)}\n{alone}")


def main() -> None:
    """Keep new results if told to, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--take", type=Path, help="a metrics.json of the demo to keep as the README's results")
    options = parser.parse_args()
    if options.take:
        RESULTS.parent.mkdir(exist_ok=True)
        shutil.copyfile(options.take, RESULTS)
    readme = ROOT / "README.md"
    readme.write_text(fill_all(readme.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
