"""Raw rows: from a catalogue, from the Hub, or from files."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any, Literal

import datasets
import pyarrow.compute as pc
from datasets import Dataset, DatasetDict, Image, load_dataset, load_dataset_builder
from huggingface_hub import is_offline_mode
from huggingface_hub.constants import HF_HUB_CACHE

from hf_otw.data.files import load_rows, renamed, with_classes
from hf_otw.recipe.catalogue import Catalogue
from hf_otw.recipe.schema import SourceConfig
from hf_otw.recipe.splits import hold_out

Where = Literal["packaged", "hub", "files"]
#: Which of several is taken.
ORDER: tuple[Where, ...] = ("packaged", "files", "hub")
#: A file inside of an archive, as fsspec writes it.
ARCHIVE = re.compile(r"(zip|tar|gzip|bz2|xz|zstd|lz4)://")


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
    found = load_public(str(source.hub), source.hub_config)
    wanted = {"train": source.train_split, "test": source.test_split}
    missing = [split for split in wanted.values() if split not in found]
    if missing:
        raise ValueError(
            f"Expected the split {missing[0]!r} of {source.hub}, got {sorted(found)}. Name yours in "
            "`source.train_split` and `source.test_split`."
        )
    splits = {name: renamed(found[split], source.columns) for name, split in wanted.items()}
    return labelled(splits)


def load_public(repo: str, config: str | None) -> DatasetDict:
    """Load a data set of the Hub whose rows come from its own repo.

    A data set says itself where its files are, and may name one of this machine, or of another repo that only the user
    may read. `datasets` refuses that since its version 5.1; this check can go when no older one is supported.

    Raises:
        ValueError: a file from elsewhere.
    """
    if Path(repo).exists() or is_offline_mode():
        return load_dataset(repo, config)  # a folder of the user's, or the cache, which reads no other files
    builder = load_dataset_builder(repo, config)
    files = builder.config.data_files or {}
    foreign = [str(file) for part in files.values() for file in part if not is_of(str(file), repo)]
    if foreign:
        raise ValueError(
            f"Expected the files of the data set {repo} to lie in its own repo, got {foreign[0]!r}. Do not use it; "
            "tell its author or the Hub."
        )
    builder.download_and_prepare()
    found = builder.as_dataset()
    for rows in found.values():
        check_pictures(rows, repo)
    return found


def check_pictures(rows: Dataset, repo: str) -> None:
    """Refuse pictures that are paths into this machine, outside of the caches: rows may hold any path.

    Raises:
        ValueError: such a path.
    """
    caches = [Path(place).resolve() for place in (HF_HUB_CACHE, datasets.config.HF_DATASETS_CACHE)]
    for name, feature in rows.features.items():
        if isinstance(feature, Image):
            column = rows.data.column(name)
            without = pc.is_null(pc.struct_field(column, "bytes"))
            for path in pc.struct_field(column, "path").filter(without).unique().to_pylist():
                if path is not None and not any(Path(path).resolve().is_relative_to(cache) for cache in caches):
                    raise ValueError(
                        f"Expected pictures of the data set {repo} in its own repo, got the path {path!r}. Do not use "
                        "it; tell its author or the Hub."
                    )


def is_of(file: str, repo: str) -> bool:
    """Whether a file, perhaps inside an archive (`zip://a.csv::hf://...`), lies in a data set of the Hub."""
    *inside, place = file.split("::")
    is_own = place.startswith(f"hf://datasets/{repo}@") and ".." not in place.split("/")
    return is_own and all(ARCHIVE.match(part) for part in inside)


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
