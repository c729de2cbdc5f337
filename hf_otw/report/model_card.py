"""The model card: metadata for the Hub and a page that says what was trained, how, and how well."""

from __future__ import annotations

import html
import math
import re
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from huggingface_hub.utils import HFValidationError, validate_repo_id

from hf_otw._version import __version__
from hf_otw.report.formatting import (
    BIBTEX,
    METRICS,
    PAPER_URL,
    by_size,
    check_fractions,
    check_metrics,
    metric_rows,
    percent,
    summarise,
    times,
)

TEMPLATE = Path(__file__).parent / "templates" / "model_card.md"
TAGS = ("hf_otw", "optimal-transport", "imbalanced-classification", "generated_from_trainer")

_PACKAGES = ("transformers", "torch", "datasets", "accelerate")
_HUB_METRICS = {"macro_f1": "f1"}  # where the Hub has another name
_CITATION = f"[Guo et al., NeurIPS 2022]({PAPER_URL})"


@dataclass(frozen=True)
class CardData:
    """Content of a model card. Only the name of the model and its classes are needed; every other part may be missing.

    Args:
        model_name (`str`): name of the model, for the heading and the model index.
        class_names (`list[str]`): the `K` classes.
        class_counts (`list[int]`): training examples of each class.
        class_totals (`list[float]`, *optional*): learned share of the total weight of each class; sums to 1.
        ot (`dict[str, list[float]]`, *optional*): metrics of this model, a value a seed. Those in
            `hf_otw.report.formatting.METRICS` are fractions in [0, 1]; others are shown as they are.
        plain (`dict[str, list[float]]`, *optional*): the same after plain training.
        ot_recall (`list[float]`, *optional*): recall of each class; NaN where the test set lacks it.
        plain_recall (`list[float]`, *optional*): the same after plain training.
        base_model (`str`, *optional*): Hub id, or a local path, of which only the last part is shown.
        dataset_name (`str`, *optional*): name for people. With it (or `dataset_id`) the metrics enter the model index.
        dataset_id (`str`, *optional*): Hub id.
        dataset_split (`str`, *optional*): the split that the metrics were measured on.
        model_id (`str`, *optional*): Hub id of this model; with `pipeline_tag`, the card shows how to load it.
        pipeline_tag (`str`, *optional*): `text-classification` and so on.
        license (`str`, *optional*): Hub identifier of the licence.
        language (`str` or `list[str]`, *optional*): language codes.
        tags (`list[str]`): tags besides those of hf_otw.
        weights_learned (`bool`, *optional*, defaults to `True`): whether optimal transport chose the weights; with
            `False`, `method` is required.
        method (`str`, *optional*): Markdown that says how the weights were made, in place of two standard sentences.
        meta_size (`int`, *optional*): number of meta examples.
        settings (`dict[str, str]`): the configuration, in the order to show.
        recipe (`str`, *optional*): YAML that `hf-otw train` runs again.
        versions (`dict[str, str]`, *optional*): package -> version; those installed now by default.

    Raises:
        ValueError: no class, lengths that do not fit, metrics outside [0, 1], or `weights_learned=False` without
            `method`.
    """

    model_name: str
    class_names: list[str]
    class_counts: list[int]
    class_totals: list[float] | None = None
    ot: dict[str, list[float]] | None = None
    plain: dict[str, list[float]] | None = None
    ot_recall: list[float] | None = None
    plain_recall: list[float] | None = None
    base_model: str | None = None
    dataset_name: str | None = None
    dataset_id: str | None = None
    dataset_split: str | None = None
    model_id: str | None = None
    pipeline_tag: str | None = None
    license: str | None = None
    language: str | list[str] | None = None
    tags: list[str] = field(default_factory=list)
    weights_learned: bool = True
    method: str | None = None
    meta_size: int | None = None
    settings: dict[str, str] = field(default_factory=dict)
    recipe: str | None = None
    versions: dict[str, str] | None = None

    def __post_init__(self) -> None:
        num_classes = len(self.class_names)
        if num_classes == 0:
            raise ValueError("Expected at least one class, got `class_names=[]`.")
        for name in ("class_counts", "class_totals", "ot_recall", "plain_recall"):
            values = self.__dict__[name]
            if values is not None and len(values) != num_classes:
                raise ValueError(f"Expected `{name}` to have one value a class, {num_classes}, got {len(values)}.")
        if not self.weights_learned and self.method is None:
            raise ValueError("Expected `method`, how the weights were made, with `weights_learned=False`, got None.")
        check_metrics(self.ot, "ot")
        check_metrics(self.plain, "plain")
        check_fractions(self.ot_recall, "ot_recall")
        check_fractions(self.plain_recall, "plain_recall")


def build_model_card(data: CardData) -> ModelCard:
    """Return the card of a model, without network; only `validate()` and `push_to_hub()` of the result use it."""
    rows = metric_rows(data.plain, data.ot or {}) if data.ot else []
    counts = [count for count in data.class_counts if count > 0]
    return ModelCard.from_template(
        _metadata(data),
        template_path=str(TEMPLATE),
        title=_text(data.model_name),
        intro=_intro(data),
        use=_use(data),
        num_examples=f"{sum(counts):,}",
        num_classes=len(data.class_names),
        imbalance=f"{max(counts) / min(counts):,.1f}" if counts and max(counts) > min(counts) else None,
        has_totals=data.class_totals is not None,
        classes=_class_rows(data),
        method=data.method or _method(data),
        rows=[row._replace(label=_text(row.label)) for row in rows],
        has_plain=bool(data.plain),
        evaluated_on=_evaluated_on(data),
        seeds_note=_seeds_note(data),
        has_recall=data.ot_recall is not None,
        has_plain_recall=data.plain_recall is not None,
        limits=_limits(data),
        settings=[(_text(name), _text(value)) for name, value in data.settings.items()],
        recipe=data.recipe and data.recipe.strip(),
        fence="`" * max(3, 1 + max(map(len, re.findall("`*", data.recipe or "")))),
        command=f"hf-otw train {data.model_id or 'recipe.yaml'}",
        versions=list((installed_versions() if data.versions is None else data.versions).items()),
        bibtex=BIBTEX,
    )


def installed_versions() -> dict[str, str]:
    """Return the versions of hf_otw and of the packages under it; one that is not installed is left out."""
    versions = {"hf_otw": __version__}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def _metadata(data: CardData) -> ModelCardData:
    dataset = data.dataset_name or data.dataset_id
    means = {name: summarise(values).mean for name, values in (data.ot or {}).items()}
    means = {name: round(mean, 4) for name, mean in means.items() if math.isfinite(mean)}
    known = [name for name in METRICS if name in means]
    tags = [tag for tag in TAGS if data.weights_learned or tag != "optimal-transport"]
    results = [_eval_result(data, dataset, name, means[name]) for name in known] if dataset else []
    return ModelCardData(
        model_name=data.model_name if results else None,  # the Hub knows it as a part of the model index only
        base_model=_hub_id(data.base_model),
        datasets=[data.dataset_id] if data.dataset_id else None,
        license=data.license,
        language=data.language,
        library_name="transformers",
        pipeline_tag=data.pipeline_tag,
        tags=[*tags, *data.tags],
        metrics=[_HUB_METRICS.get(name, name) for name in known] or None,
        eval_results=results or None,
    )


def _eval_result(data: CardData, dataset: str, name: str, value: float) -> EvalResult:
    return EvalResult(
        task_type=data.pipeline_tag or "text-classification",
        dataset_type=data.dataset_id or re.sub(r"[^a-z0-9]+", "-", dataset.lower()).strip("-"),
        dataset_name=dataset,
        dataset_split=data.dataset_split,
        metric_type=_HUB_METRICS.get(name, name),
        metric_name=METRICS[name][0],
        metric_value=value,
    )


def _hub_id(name: str | None) -> str | None:
    """Return `name` if the Hub can resolve it; a local directory is none of its business."""
    if name is None or Path(name).exists():
        return None
    try:
        validate_repo_id(name)
    except HFValidationError:
        return None
    return name


def _intro(data: CardData) -> str:
    hub_id = _hub_id(data.base_model)
    if hub_id:
        model = f"[{_text(hub_id)}](https://huggingface.co/{hub_id}), fine-tuned"
    else:
        model = f"{_text(Path(data.base_model).name)}, fine-tuned" if data.base_model else "A model, trained"
    dataset = _text(data.dataset_name or data.dataset_id or "")
    place = f" on {dataset}" if dataset else ""
    return f"{model}{place} with hf_otw, which weights training examples for imbalanced and imperfect data."


def _use(data: CardData) -> str | None:
    if data.model_id is None or data.pipeline_tag is None:
        return None
    call = f'model = pipeline("{data.pipeline_tag}", model="{data.model_id}")'
    return f"from transformers import pipeline\n\n{call}"


def _method(data: CardData) -> str:
    size = f" of {data.meta_size:,} examples" if data.meta_size else ""
    return (
        f"Optimal transport between the features of the training examples and those of a small meta set{size} gave "
        f"each training example a weight ({_CITATION}). "
        "The weights have mean 1 and multiply the loss of their example."
    )


def _class_rows(data: CardData) -> list[dict[str, Any]]:
    """Return a dictionary of strings a class, largest class first."""
    unknown = [math.nan] * len(data.class_names)
    totals, before, after = (values or unknown for values in (data.class_totals, data.plain_recall, data.ot_recall))
    n = sum(data.class_counts)
    return [
        {
            "name": _text(data.class_names[k]) or "(no name)",
            "count": f"{data.class_counts[k]:,}",
            "share": percent(data.class_counts[k] / n if n else math.nan),
            "total": percent(totals[k]),
            "factor": _text(times(totals[k] * n / data.class_counts[k] if data.class_counts[k] else math.nan)),
            "before": percent(before[k]),
            "after": percent(after[k]),
        }
        for k in by_size(data.class_counts)
    ]


def _evaluated_on(data: CardData) -> str | None:
    dataset = data.dataset_name or data.dataset_id
    if dataset is None:
        return None
    return f"{_text(dataset)} ({_text(data.dataset_split)})" if data.dataset_split else _text(dataset)


def _num_seeds(data: CardData) -> int:
    return max((len(values) for values in (data.ot or {}).values()), default=0)


def _seeds_note(data: CardData) -> str:
    seeds = _num_seeds(data)
    return f"Mean ± standard deviation over {seeds} seeds." if seeds > 1 else "One seed."


def _limits(data: CardData) -> list[str]:
    limits = []
    if data.weights_learned:
        limits += [
            "The weights follow the meta set: where it is not like the data that the model will meet, they mislead.",
            "A low weight is no proof of a wrong label: rare but correct examples get low weights too.",
        ]
    if _num_seeds(data) == 1:
        limits.append("One seed was run: differences of a point or two can be chance.")
    small = [_text(data.class_names[k]) for k in by_size(data.class_counts) if data.class_counts[k] < 20]
    if small:
        shown = ", ".join(small[:5]) + (f" and {len(small) - 5} more" if len(small) > 5 else "")
        limits.append(f"Fewer than 20 training examples: {shown}. Expect little of these classes.")
    return [*limits, "Weights change how classes are traded off; the predicted probabilities were not calibrated."]


def _text(value: object) -> str:
    """Return `value` as plain text in one Markdown line or table cell."""
    line = html.escape(" ".join(str(value).split()), quote=False)
    return re.sub(r"([\\`*_\[\]|~$])", r"\\\1", line)
