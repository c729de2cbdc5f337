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

from recipes.config import ROOT, load_recipe, recipe_name, recipe_paths
from recipes.table import printed, read_results


def main(argv: Sequence[str] | None = None, root: Path = ROOT) -> None:
    """Run, skip, print."""
    options = parse(argv)
    failed = []
    for path in recipe_paths(root):
        name = recipe_name(path)
        if path.stem not in options.variants:
            continue
        output = options.output_dir / name
        why = skipped(path, output, fresh=options.fresh)
        if why:
            print(f"{name}: {why}", flush=True)
            continue
        started = time.perf_counter()
        code = launch(command(path, output, options))
        if code:
            failed.append(name)
        print(f"{name}: {'failed after ' * bool(code)}{time.perf_counter() - started:.0f} s", flush=True)
    names = [recipe_name(path) for path in recipe_paths(root)]
    print("\n" + printed(read_results(options.output_dir), names))
    if failed:
        sys.exit(f"Expected every recipe to run, but {len(failed)} failed: {', '.join(failed)}. See above.")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m recipes.run_all", description=__doc__.splitlines()[0])
    parser.add_argument("--variants", nargs="+", default=["plain", "ot"])
    parser.add_argument("--output-dir", type=Path, default=Path("runs/recipes"))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--fresh", action="store_true", help="run again what is there")
    parser.add_argument("--save-results", action="store_true", help="keep the numbers in recipes/results")
    return parser.parse_args(argv)


def command(path: Path, output: Path, options: argparse.Namespace) -> list[str]:
    """The command of one run."""
    keep = ["--save-results"] if options.save_results else []
    run = [sys.executable, "-m", "recipes.run", str(path), "--output-dir", str(output)]
    return [*run, "--seeds", str(options.seeds), *keep]


def launch(run: Sequence[str]) -> int:
    """Run in a process of its own, which gives its memory back, and return its exit status."""
    return subprocess.run(run, check=False).returncode


def skipped(path: Path, output: Path, *, fresh: bool) -> str | None:
    """Why a recipe is not run, or None."""
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


if __name__ == "__main__":
    main()
