"""Schema of a recipe. A field without a default must be written; nothing else may be."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class SourceConfig:
    """Where rows come from: one of `packaged`, `hub` and `files`.

    Attributes:
        packaged: key of the sources of a catalogue; needs no network.
        hub: name on the Hugging Face Hub, for `--source hub`.
        hub_config: its configuration.
        files: `train`, and `test` where there is one: CSV, JSON lines, Parquet, a folder of `save_to_disk`, or a
            folder of images with one folder a class. Without `test`, a fifth of the rows is tested on.
        columns: column of the Hub or the files -> our column.
        train_split, test_split: splits on the Hub.
    """

    packaged: str | None = None
    hub: str | None = None
    hub_config: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    train_split: str = "train"
    test_split: str = "test"


@dataclass(frozen=True)
class DataConfig:
    """Changes to the training rows, with a fixed seed; `max_test` is the only one that touches the test rows.

    Attributes:
        imbalance_factor: largest over smallest class of an exponential profile, classes in label order.
        label_noise: share of training labels that are replaced by another class. The meta set stays clean.
        noise_kind: how the other class is drawn.
        max_train_per_class, max_train, max_test: caps.
    """

    imbalance_factor: float | None = None
    label_noise: float = 0.0
    noise_kind: Literal["uniform"] = "uniform"
    max_train_per_class: int | None = None
    max_train: int | None = None
    max_test: int | None = None


@dataclass(frozen=True)
class ModelConfig:
    """A key of the models of a catalogue and what to build it with. The model decides the pipeline."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """One training run, fully described.

    Attributes:
        shows: what the recipe is for, in one sentence.
        needs: what it takes beyond a CPU and the packaged data.
        license: of the trained model, an id of the Hub such as `apache-2.0`, for its card. Which it may have depends
            on the base model and the data, so that nothing is assumed.
    """

    shows: str
    source: SourceConfig
    model: ModelConfig
    arguments: dict[str, Any]
    data: DataConfig = field(default_factory=DataConfig)
    seed: int = 0
    needs: list[Literal["accelerator", "download"]] = field(default_factory=list)
    license: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain containers, defaults included: what results record. Keys that came later, only where they are used."""
        found = dataclasses.asdict(self)
        if not found["source"]["files"]:
            del found["source"]["files"]
        if found["license"] is None:
            del found["license"]
        return found


#: What a run writes beside its model, and what a repo of the Hub holds.
FILE = "recipe.yaml"


#: Keys whose values must not be published or logged, at any depth.
SECRET = re.compile(r"(^|_)(token|password|passwd|secret|api_?key|credentials?)$", re.IGNORECASE)


def without_secrets(values: Any) -> Any:
    """The same containers without keys that name a secret, such as `hub_token`."""
    if isinstance(values, dict):
        return {name: without_secrets(value) for name, value in values.items() if not SECRET.search(str(name))}
    return [without_secrets(value) for value in values] if isinstance(values, list) else values
