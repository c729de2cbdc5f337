"""`make recipes`: run every recipe that needs no accelerator and no download, then print one table, plain against OT.

Broken off, it goes on where it was: what is in `runs/recipes` with the same configuration is not run again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hf_otw.recipe.find import folder_recipes
from hf_otw.recipe.publish import write_json
from hf_otw.recipe.reading import load_recipe
from tools.table import RECIPES, RESULTS, printed, read_results


def main(argv: Sequence[str] | None = None, folder: Path = RECIPES) -> None:
    """Run every recipe of a folder, or say why not, and print the table."""
    options = parse(argv)
    paths = folder_recipes(folder)
    failed = []
    for name, path in paths.items():
        if path.stem not in options.variants:
            continue
        output = options.output_dir / name
        why = skipped(path, output, fresh=options.fresh)
        if why:
            print(f"{name}: {why}", flush=True)
            continue
        started = time.perf_counter()
        code = launch(command(path, output, options.seeds))
        if code:
            failed.append(name)
        elif options.save_results:
            save_results(name, output)
        print(f"{name}: {'failed after ' * bool(code)}{time.perf_counter() - started:.0f} s", flush=True)
    print("\n" + printed(read_results(options.output_dir), list(paths)))
    if failed:
        sys.exit(f"Expected every recipe to run, but {len(failed)} failed: {', '.join(failed)}. See above.")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.run_all", description=__doc__.splitlines()[0])
    parser.add_argument("--variants", nargs="+", default=["plain", "ot"])
    parser.add_argument("--output-dir", type=Path, default=Path("runs/recipes"))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--fresh", action="store_true", help="run again what is there")
    parser.add_argument("--save-results", action="store_true", help="keep the numbers in recipes/results")
    return parser.parse_args(argv)


def command(path: Path, output: Path, seeds: int) -> list[str]:
    """Return the command of one run."""
    run = [sys.executable, "-m", "hf_otw.cli", "train", str(path)]
    return [*run, "--output-dir", str(output), "--seeds", str(seeds)]


def launch(run: Sequence[str]) -> int:
    """Run in a process of its own, which gives its memory back, and return its exit status."""
    return subprocess.run(run, check=False).returncode


def skipped(path: Path, output: Path, *, fresh: bool) -> str | None:
    """Return why a recipe is not run, or None."""
    recipe = load_recipe(path)
    if recipe.needs:
        return f"skipped, needs: {', '.join(recipe.needs)}"
    results = output / "metrics.json"
    if not fresh and results.is_file():
        # A recipe that was changed since runs again.
        found = json.loads(results.read_text(encoding="utf-8"))
        if found["config"] == recipe.as_dict() and not found["select"]:
            return "there already (FRESH=1 runs it again)"
    return None


def save_results(name: str, output: Path) -> None:
    """Keep the numbers of a run, with the commit that they were measured at."""
    results = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
    write_json(results | {"commit": commit()}, RESULTS / f"{name.replace('/', '_')}.json")


def commit() -> str | None:
    """Return the commit of the checkout, with `-dirty` where files differ from it; None outside of one."""

    def git(*command: str) -> str:
        done = subprocess.run(["git", *command], cwd=RECIPES, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + "-dirty" * bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None


if __name__ == "__main__":
    main()
