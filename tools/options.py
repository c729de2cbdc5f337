"""Write the tables of options in README.md and docs/arguments.md from the schema: `python -m tools.options`."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hf_otw.config.args import WeightingArguments
from hf_otw.config.options import (
    COSTS,
    EXAMPLE_LOSSES,
    OBJECTIVES,
    TARGET_MASSES,
    TARGET_POINTS,
    WEIGHTINGS,
    Argument,
    Option,
    WeightingOption,
)
from hf_otw.config.presets import PRESETS

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"(<!-- options: (\w+), [^\n]*-->\n)(.*?)(<!-- end of options -->)", re.DOTALL)
TABLES: dict[str, Mapping[str, Option]] = {
    "weightings": WEIGHTINGS,
    "costs": COSTS,
    "losses": EXAMPLE_LOSSES,
    "objectives": OBJECTIVES,
    "masses": TARGET_MASSES,
    "points": TARGET_POINTS,
}


def option_table(options: Mapping[str, Option]) -> str:
    """One row per option, with its arguments and their defaults."""
    rows = ["| name | what it is | arguments |", "|---|---|---|"]
    rows += [
        f"| `{o.name}` | {cell(o.help)} | {', '.join(argument(o, a) for a in o.arguments)} |" for o in options.values()
    ]
    return "\n".join(row.replace("|  |", "| |") for row in rows) + "\n"


def argument(option: Option, found: Argument) -> str:
    """An argument and its default."""
    default = default_of(option, found.name)
    return f"`{found.name}`" if default is None else f"`{found.name}={default}`"


def default_of(option: Option, name: str) -> Any:
    """The default of an argument; None where the object finds one by itself."""
    target = option.load()
    for function in (target, getattr(target, "from_facts", None)):
        parameters = {} if function is None else inspect.signature(function).parameters
        if name in parameters and parameters[name].default not in (inspect.Parameter.empty, (), None):
            default = parameters[name].default
            return default.__name__.removesuffix("_objective") if callable(default) else default
    return None


def argument_table() -> str:
    """One row per field of the arguments: default of each preset, help, and the weightings that read it."""
    rows = ["| argument | default | `paper` | what it does | read by |", "|---|---|---|---|---|"]
    for field in dataclasses.fields(WeightingArguments):
        default, paper = (shown(PRESETS[preset].get(field.name, field.default)) for preset in ("default", "paper"))
        text = cell(field.metadata["help"])
        rows.append(f"| `{field.name}` | {default} | {paper} | {text} | {readers(field.name)} |")
    return "\n".join(rows) + "\n"


def readers(name: str) -> str:
    """Weightings that read a shared option."""
    known = [option for option in WEIGHTINGS.values() if isinstance(option, WeightingOption) and option.name != "none"]
    found = [option.name for option in known if name in option.uses]
    if not found or len(found) == len(known):
        return "all"
    return ", ".join(f"`{reader}`" for reader in found)


def shown(value: Any) -> str:
    """A value in a cell."""
    return "" if value in (None, {}) else f"`{value}`"


def cell(text: str) -> str:
    """Text that does not end a cell."""
    return text.replace("|", "\\|")


def written(text: str) -> str:
    """The text with every block of options as the schema has it."""

    def block(match: re.Match[str]) -> str:
        name = match.group(2)
        table = argument_table() if name == "arguments" else option_table(TABLES[name])
        return f"{match.group(1)}\n{table}\n{match.group(4)}"

    return BLOCK.sub(block, text)


def pages() -> list[Path]:
    """Pages with a block of options."""
    return [ROOT / "README.md", ROOT / "docs" / "arguments.md"]


def main() -> None:
    """Write the blocks."""
    for page in pages():
        page.write_text(written(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
