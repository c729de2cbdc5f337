"""Checkpoints of others: weights and vocabularies as data, and never their code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers.utils import cached_file

#: Settings of a checkpoint. Some keys of theirs name files, which are opened wherever they lie: a vocabulary, the
#: model that an adapter is for.
SETTINGS = (
    *("config.json", "tokenizer_config.json", "adapter_config.json", "preprocessor_config.json"),
    *("processor_config.json", "special_tokens_map.json"),
)
#: Keys that only tell where something came from.
TOLD = ("_name_or_path", "name_or_path")


def load_pretrained(kind: Any, checkpoint: str, **options: Any) -> Any:
    """Call `kind.from_pretrained` for a model, tokenizer or processor that may bring no code.

    Args:
        kind: an auto class of transformers.
        checkpoint: folder, or name on the Hub.
        options: of `from_pretrained`.

    Raises:
        ValueError: a checkpoint that cannot be loaded without running code of its authors, or one of the Hub whose
            settings name a file of this machine.
    """
    if not Path(checkpoint).is_dir():
        check_settings(checkpoint, options.get("revision", "main"))
    try:
        return kind.from_pretrained(checkpoint, trust_remote_code=False, **options)
    except ValueError as error:
        if "trust_remote_code" not in str(error):
            raise
        raise ValueError(
            f"Expected a checkpoint of a model that transformers knows, got {checkpoint}, which brings code of its "
            "own that would have to be run. Choose another, or train it in Python, where you can load it yourself."
        ) from error


def check_settings(checkpoint: str, revision: str) -> None:
    """Refuse a checkpoint of the Hub whose settings name what lies on this machine.

    A tokenizer whose vocabulary is the user's file would carry that file into the model that is published.

    Raises:
        ValueError: such a setting.
    """
    for name in SETTINGS:
        path = cached_file(
            checkpoint,
            name,
            revision=revision,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        if path is None:
            continue
        for key, value in settings(json.loads(Path(path).read_text(encoding="utf-8"))):
            if is_here(value):
                raise ValueError(
                    f"Expected the settings of {checkpoint} to name nothing on this machine, got {key}: {value!r} in "
                    f"{name}. Choose another checkpoint, or start in another folder."
                )


def settings(values: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Key and text of all settings, at any depth."""
    if isinstance(values, dict):
        for name, value in values.items():
            if name not in TOLD:
                yield from settings(value, str(name))
    elif isinstance(values, list):
        for value in values:
            yield from settings(value, key)
    elif isinstance(values, str):
        yield key, values


def is_here(text: str) -> bool:
    """Whether a text names a file here, or a folder by a path; a word may be both a folder here and a setting."""
    if not any(map(str.isalnum, text)) or len(text) > 4096 or "\0" in text:
        return False
    path = Path(text)
    try:
        return path.exists() and (not path.is_dir() or "/" in text or "\\" in text)
    except OSError:  # too long a name, or no right to look
        return False
