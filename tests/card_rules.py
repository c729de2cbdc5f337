"""What the Hub demands of a model card's metadata, as its documentation says: the loopback Hub refuses the rest.

https://huggingface.co/docs/hub/model-cards, https://github.com/huggingface/hub-docs/blob/main/modelcard.md and, for
ids, `huggingface_hub.utils.validate_repo_id`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

LICENSES = frozenset(
    re.findall(
        r"\S+",
        "apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigcode-openrail-m openrail++ afl-3.0 "
        "artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 "
        "cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 "
        "cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 "
        "cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 "
        "eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc llama2 llama3 llama3.1 "
        "llama3.2 llama3.3 llama4 lppl-1.3c ms-pl apple-ascl mpl-2.0 odc-by odbl openmdw-1.0 ofl-1.1 osl-3.0 "
        "postgresql ncsa unlicense zlib pddl gemma deepfloyd-if-license intel-research other unknown",
    )
)
TASKS = frozenset(
    re.findall(
        r"\S+",
        "text-classification token-classification table-question-answering question-answering "
        "zero-shot-classification translation summarization feature-extraction text-generation "
        "text2text-generation fill-mask sentence-similarity text-to-speech text-to-audio "
        "automatic-speech-recognition audio-to-audio audio-classification voice-activity-detection "
        "depth-estimation image-classification object-detection image-segmentation text-to-image image-to-text "
        "image-to-image image-to-video unconditional-image-generation video-classification reinforcement-learning "
        "robotics tabular-classification tabular-regression time-series-forecasting text-to-video "
        "image-text-to-text visual-question-answering document-question-answering zero-shot-image-classification "
        "graph-ml mask-generation zero-shot-object-detection text-to-3d image-to-3d image-feature-extraction "
        "any-to-any other",
    )
)
#: Keys that hold a string, or several in a list.
STRINGS = ("language", "tags", "datasets", "metrics", "base_model")


def problems(metadata: Any) -> list[str]:
    """Every rule that is broken, in words; empty for metadata that the Hub takes."""
    if not isinstance(metadata, dict):
        return ["metadata must be a mapping"]
    return [*_strings(metadata), *_names(metadata), *_model_index(metadata.get("model-index", []))]


def _strings(metadata: dict[str, Any]) -> Iterator[str]:
    for key in STRINGS:
        values = metadata.get(key, [])
        if not (isinstance(values, str) or _all_strings(values)):
            yield f'"{key}" must be a string or a list of strings'
    for key in ("datasets", "base_model"):
        values = metadata.get(key, [])
        for value in [values] if isinstance(values, str) else values if _all_strings(values) else ():
            if not _is_repo_id(value):
                yield f'"{key}" must hold ids of the Hub, got {value}'
    for value in metadata["language"] if isinstance(metadata.get("language"), list) else [metadata.get("language")]:
        if isinstance(value, str) and not re.fullmatch(r"[a-z]{2,3}(-[A-Za-z]{2,4})?|code|multilingual", value):
            yield f'"language" must be an ISO 639 code, got {value}'


def _names(metadata: dict[str, Any]) -> Iterator[str]:
    licence = metadata.get("license", "unknown")
    if licence not in LICENSES:
        yield f'"license" must be one of the known ids, got {licence}'
    if licence == "other" and not isinstance(metadata.get("license_name"), str):
        yield '"license_name" is required with "license: other"'
    if metadata.get("pipeline_tag", "other") not in TASKS:
        yield f'"pipeline_tag" must be a task of the Hub, got {metadata["pipeline_tag"]}'
    if not isinstance(metadata.get("library_name", ""), str):
        yield '"library_name" must be a string'


def _model_index(index: Any) -> Iterator[str]:
    if not isinstance(index, list):
        yield '"model-index" must be a list'
        return
    for i, model in enumerate(index):
        place = f"model-index[{i}]"
        if not isinstance(model, dict) or not isinstance(model.get("name"), str):
            yield f'"{place}.name" is required'
        results = model.get("results") if isinstance(model, dict) else None
        if not isinstance(results, list) or not results:
            yield f'"{place}.results" must be a list with something in it'
            continue
        for k, result in enumerate(results):
            yield from _result(result, f"{place}.results[{k}]")


def _result(result: dict[str, Any], place: str) -> Iterator[str]:
    if result.get("task", {}).get("type") not in TASKS:
        yield f'"{place}.task.type" must be a task of the Hub'
    for key in ("type", "name"):
        value = result.get("dataset", {}).get(key)
        if not isinstance(value, str) or (key == "type" and not _is_repo_id(value)):
            yield f'"{place}.dataset.{key}" is required'
    metrics = result.get("metrics")
    if not isinstance(metrics, list) or not metrics:
        yield f'"{place}.metrics" must be a list with something in it'
        return
    for i, metric in enumerate(metrics):
        if not isinstance(metric.get("type"), str):
            yield f'"{place}.metrics[{i}].type" is required'
        value = metric.get("value")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            yield f'"{place}.metrics[{i}].value" must be a number'


def _all_strings(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _is_repo_id(name: str) -> bool:
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True
