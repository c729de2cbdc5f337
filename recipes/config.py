"""The recipes of this folder. How one is read: `hf_otw.recipe.reading`."""

from __future__ import annotations

from pathlib import Path

from hf_otw.recipe.reading import load_recipe, merge
from hf_otw.recipe.schema import Recipe

__all__ = ["ROOT", "VARIANTS", "Recipe", "load_recipe", "merge", "recipe_name", "recipe_paths"]

ROOT = Path(__file__).parent
VARIANTS = ("plain", "class_balanced", "paper", "ot")


def recipe_paths(root: Path = ROOT) -> list[Path]:
    """Every recipe of the folder: `<dataset>/<model>/<variant>.yaml`, without the files that are extended."""
    return [path for path in sorted(root.glob("*/*/*.yaml")) if path.stem != "base"]


def recipe_name(path: str | Path) -> str:
    """`dataset/model/variant`, the last three parts of its path."""
    return "/".join(Path(path).resolve().with_suffix("").parts[-3:])
