"""Allowlist for recipes from the Hub: how to learn from public data, and nothing about the machine that it runs on.

Everything else is refused, so that a key that comes new is refused until somebody has thought about it. What the user
sets on the command line is the user's own and is not looked at here.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

#: Fields of `TrainingArguments` that say how a model learns and is judged. Not among them: where things are written,
#: sent or read from, what is compiled or launched, and how many processes are started.
LEARNING = frozenset(
    (
        *("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"),
        *("eval_accumulation_steps", "auto_find_batch_size", "num_train_epochs", "max_steps", "learning_rate"),
        *("lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "optim", "optim_args", "weight_decay"),
        *("adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm", "label_smoothing_factor"),
        *("neftune_noise_alpha", "average_tokens_across_devices", "bf16", "fp16", "tf32", "bf16_full_eval"),
        *("fp16_full_eval", "use_cpu", "gradient_checkpointing", "full_determinism", "data_seed"),
        *("dataloader_drop_last", "train_sampling_strategy", "logging_strategy", "logging_steps"),
        *("logging_first_step", "eval_strategy", "eval_steps", "eval_delay", "eval_on_start", "save_strategy"),
        *("save_steps", "save_total_limit", "save_only_model", "load_best_model_at_end", "metric_for_best_model"),
        "greater_is_better",
    )
)
#: A name on the Hub, as its client checks it, but with a namespace.
REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
#: Word that names no path: no separator, no colon, no dot or tilde at its beginning.
WORD = re.compile(r"[\w][\w. -]*")
#: Branch, tag or commit.
REVISION = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)*")


def allowed_arguments() -> frozenset[str]:
    """Names below `arguments`: how to learn, and how to weight."""
    from hf_otw.config.args import WeightingArguments

    own = {field.name for field in fields(WeightingArguments) if field.init}
    return LEARNING | {name for name in own if not name.startswith("push_")}


def check_stranger(values: Mapping[str, Any], where: str, changes: Sequence[str] = ()) -> None:
    """Refuse a recipe of the Hub that says more than how to learn.

    Args:
        values: of the file, before the changes.
        where: it comes from.
        changes: `key.key=value` of the command line; what they replace is not looked at.

    Raises:
        ValueError: the first thing that it may not say, and what to do.
    """
    allowed = allowed_arguments()
    for place, value in unchanged(values, changes):
        check_leaf(place, value, where, allowed)


def unchanged(values: Mapping[str, Any], changes: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Dotted place and value of what the file says and no change replaces."""
    mine = tuple(change.partition("=")[0] for change in changes)
    for place, value in leaves(values):
        if not any(f"{place}.".startswith(f"{key}.") for key in mine):
            yield place, value


def leaves(values: Mapping[Any, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted place and value of all that is no mapping, and of empty mappings."""
    for key, value in values.items():
        place = f"{above}{key}"
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{place}.")
        else:
            yield place, value


def check_leaf(place: str, value: Any, where: str, allowed: frozenset[str]) -> None:
    """Refuse one value of a stranger's recipe."""
    section, _, rest = place.partition(".")
    if section == "extends":
        refuse(place, value, where, "a recipe that stands alone", "Ask its author to publish the run.")
    if section == "arguments" and rest and rest.split(".")[0] not in allowed:
        name = rest.split(".")[0]
        wanted = "arguments that say how to learn, and none that publish, report, read or write"
        refuse(place, value, where, wanted, f"Where you want it, say so yourself: --{name} VALUE.")
    if section == "source":
        check_source(rest, value, where)
    if section == "model" and rest.startswith("options."):
        check_option(rest.removeprefix("options."), value, where)


def check_source(key: str, value: Any, where: str) -> None:
    """Rows of the package or of a public name, never of a file of the user's."""
    if key.split(".")[0] == "files":
        remedy = "Give your own rows: --source.files.train FILE."
        refuse(f"source.{key}", value, where, "no files of your machine", remedy)
    if key == "hub" and value is not None:
        check_repo("source.hub", value, where)
    if key == "hub_config" and value is not None and not is_word(value):
        refuse("source.hub_config", value, where, "a plain word", "Ask its author.")


def check_option(key: str, value: Any, where: str) -> None:
    """Options of a model name public checkpoints, never a folder of the user's."""
    place = f"model.options.{key}"
    if key.split(".")[0] == "checkpoint":
        check_repo(place, value, where)
    elif key == "revision":
        if not (isinstance(value, str) and REVISION.fullmatch(value)):
            refuse(place, value, where, "a branch, tag or commit", "Ask its author.")
    elif not all(is_word(text) for text in strings(value)):
        refuse(place, value, where, "plain words and numbers", "Set it yourself with --" + place + " VALUE.")


def check_repo(place: str, value: Any, where: str) -> None:
    """`user/name`, and no folder of that name here, which would be taken in place of the repo.

    Without a namespace it could be the name of a reader of files: `load_dataset("csv")` reads those of this folder.
    """
    if not (isinstance(value, str) and REPO.fullmatch(value)):
        refuse(place, value, where, "a name on the Hub, user/name", f"Set it yourself with --{place} VALUE.")
    if Path(value).exists():
        refuse(place, value, where, "a name that is only on the Hub, but it is here too", "Start in another folder.")


def is_word(value: Any) -> bool:
    """A string that names no path, here or elsewhere."""
    return isinstance(value, str) and WORD.fullmatch(value) is not None and not Path(value).exists()


def strings(value: Any) -> Iterator[str]:
    """Texts at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from strings(key)
            yield from strings(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from strings(inner)


def refuse(place: str, value: Any, where: str, wanted: str, remedy: str) -> None:
    """Say what a recipe of the Hub may hold in this place.

    Raises:
        ValueError: always.
    """
    shown = reprlib.repr(value)
    raise ValueError(f"Expected {wanted} in {where}, which is a stranger's recipe, got {place}: {shown}. {remedy}")
