"""Raw rows: from a catalogue, from the Hub, or from files."""

from __future__ import annotations

import difflib
from typing import Any, Literal

from datasets import Dataset, DatasetDict, load_dataset

from hf_otw.data.files import load_rows, renamed, with_classes
from hf_otw.recipe.catalogue import Catalogue
from hf_otw.recipe.schema import SourceConfig
from hf_otw.recipe.splits import hold_out

Where = Literal["packaged", "hub", "files"]
#: Which of several is taken.
ORDER: tuple[Where, ...] = ("packaged", "files", "hub")


def load_raw(source: SourceConfig, catalogue: Catalogue, where: Where | None = None) -> tuple[DatasetDict, Where]:
    """Load the splits `train` and `test`.

    Args:
        source: of the recipe.
        catalogue: what packaged names mean.
        where: one of the three; by default packaged before files before the Hub, as the recipe has them.

    Returns:
        the splits, and where they came from.

    Raises:
        ValueError: a source that the recipe does not name, or an unknown one.
    """
    places: dict[Where, Any] = {"packaged": source.packaged, "files": source.files or None, "hub": source.hub}
    first = next((name for name in ORDER if places[name] is not None), ORDER[0])
    chosen = where or first
    if places[chosen] is None:
        raise ValueError(f"Expected `source.{chosen}` in the recipe, found none. Choose the other with --source.")
    if chosen == "packaged":
        return load_packaged(places[chosen], catalogue), chosen
    return (load_files(source) if chosen == "files" else load_hub(source)), chosen


def load_packaged(name: str, catalogue: Catalogue) -> DatasetDict:
    """Load what a catalogue names."""
    if name not in catalogue.sources:
        near = difflib.get_close_matches(name, catalogue.sources, n=1)
        hint = f"Did you mean {near[0]!r}? If not, run" if near else "Run"
        raise ValueError(
            f"Expected `source.packaged` to be one of {', '.join(sorted(catalogue.sources))}, got {name!r}. {hint} "
            "the recipe from its own folder, name that folder's module with --catalogue, or set `source.files`."
        )
    return catalogue.sources[name]()


def load_hub(source: SourceConfig) -> DatasetDict:
    """Load from the Hub, or from its cache."""
    found = load_dataset(source.hub, source.hub_config)
    wanted = {"train": source.train_split, "test": source.test_split}
    missing = [split for split in wanted.values() if split not in found]
    if missing:
        raise ValueError(
            f"Expected the split {missing[0]!r} of {source.hub}, got {sorted(found)}. Name yours in "
            "`source.train_split` and `source.test_split`."
        )
    splits = {name: renamed(found[split], source.columns) for name, split in wanted.items()}
    return labelled(splits)


def load_files(source: SourceConfig) -> DatasetDict:
    """Load files; without one for the test, a fifth of the rows is tested on."""
    splits = {name: renamed(load_rows(place, name), source.columns) for name, place in source.files.items()}
    if "test" in splits:
        return labelled({name: splits[name] for name in ("train", "test")})
    train, test = hold_out(labelled(splits)["train"])
    return DatasetDict(train=train, test=test)


def labelled(splits: dict[str, Dataset]) -> DatasetDict:
    """Number the classes where rows have a column `label`."""
    return with_classes(splits) if "label" in splits["train"].column_names else DatasetDict(splits)
