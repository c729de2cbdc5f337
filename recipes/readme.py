"""The README's numbers come from a results file: this command writes them, a test checks them.

make demo SEEDS=3 && python -m recipes.readme --take runs/demo/metrics.json     # measure, keep, write
python -m recipes.readme                                                        # write from the kept results
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "recipes" / "results" / "reuters_r8_demo.json"
START, END = "<!-- results:reuters_r8_demo -->", "<!-- end of results -->"
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
    "logit_adjustment": "logit adjustment alone",
    "ot": "`OTWeightedTrainer`",
}


def table(results: dict[str, Any]) -> str:
    """Mean over seeds with the lowest and highest, in per cent, as Markdown."""
    names = [name for name in COLUMNS if name in results["plain"]]
    lines = ["| | " + " | ".join(COLUMNS[name] for name in names) + " |", "|---|" + "---:|" * len(names)]
    for method, title in ROWS.items():
        if method in results:
            seeds = results["per_seed"][method]
            cells = [
                f"{100 * results[method][name]:.1f} "
                f"({100 * min(s[name] for s in seeds):.1f}–{100 * max(s[name] for s in seeds):.1f})"
                for name in names
            ]
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
    gain = 100 * (results["ot"]["balanced_accuracy"] - results["plain"]["balanced_accuracy"])
    lines += ["", f"Balanced accuracy: {gain:+.1f} points; in brackets the lowest and highest seed."]
    return "\n".join(lines)


def fill(readme: str, results: dict[str, Any]) -> str:
    """Return the README's text with the table between its two marks.

    Raises:
        ValueError: a README without the marks.
    """
    before, start, rest = readme.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise ValueError(
            f"Expected the marks {START} and {END} in README.md, found not both. Put them where the table belongs."
        )
    return f"{before}{start}\n{table(results)}\n{end}{after}"


def main() -> None:
    """Keep new results if told to, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--take", type=Path, help="a metrics.json of the demo to keep as the README's results")
    options = parser.parse_args()
    if options.take:
        RESULTS.parent.mkdir(exist_ok=True)
        shutil.copyfile(options.take, RESULTS)
    readme = ROOT / "README.md"
    readme.write_text(fill(readme.read_text(encoding="utf-8"), json.loads(RESULTS.read_text())), encoding="utf-8")


if __name__ == "__main__":
    main()
