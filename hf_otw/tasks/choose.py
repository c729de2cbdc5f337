"""Which task a model is trained for; tasks whose examples cannot carry a weight are refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn
from transformers.models.auto import modeling_auto

from hf_otw._utils import look_up
from hf_otw.data.columns import check_dataset, read_item
from hf_otw.tasks.base import Task
from hf_otw.tasks.classification import SingleLabel
from hf_otw.tasks.language import CausalLM, MaskedLM, Seq2SeqLM
from hf_otw.tasks.multi_label import MultiLabel
from hf_otw.tasks.regression import Regression
from hf_otw.tasks.tokens import Tokens, TokenSequences

#: Tasks that can be named in a configuration file.
TASKS: dict[str, type[Task]] = {
    task.name: task for task in (SingleLabel, MultiLabel, Regression, TokenSequences, CausalLM, MaskedLM, Seq2SeqLM)
}

_PROBLEMS = {
    "single_label_classification": SingleLabel,
    "multi_label_classification": MultiLabel,
    "regression": Regression,
}

# The auto-classes say what an architecture's class is for. Order matters: some classes stand in several.
_ARCHITECTURES: tuple[tuple[tuple[str, ...], type[Task]], ...] = (
    (("TOKEN_CLASSIFICATION",), TokenSequences),
    (("SEQ_TO_SEQ_CAUSAL_LM", "SPEECH_SEQ_2_SEQ"), Seq2SeqLM),
    (("CAUSAL_LM", "IMAGE_TEXT_TO_TEXT", "MULTIMODAL_LM"), CausalLM),
    (("MASKED_LM",), MaskedLM),
)

_BOXES = "its loss matches a set of objects or pixels in each image, which have no class of their own to balance"
_SPANS = "its classes are positions in the input, which mean nothing across examples"
_ALIGNED = "its loss sums over all alignments of a sequence, and no label of an example says what to balance"
#: Auto-classes whose examples have no sensible weight, and why.
_REFUSED: dict[str, str] = {
    "OBJECT_DETECTION": _BOXES,
    "ZERO_SHOT_OBJECT_DETECTION": _BOXES,
    "SEMANTIC_SEGMENTATION": _BOXES,
    "IMAGE_SEGMENTATION": _BOXES,
    "INSTANCE_SEGMENTATION": _BOXES,
    "UNIVERSAL_SEGMENTATION": _BOXES,
    "KEYPOINT_DETECTION": _BOXES,
    "DEPTH_ESTIMATION": "its loss is over pixels, which have no class of their own to balance",
    "MASKED_IMAGE_MODELING": "its loss is over pixels, which have no class of their own to balance",
    "QUESTION_ANSWERING": _SPANS,
    "DOCUMENT_QUESTION_ANSWERING": _SPANS,
    "TABLE_QUESTION_ANSWERING": _SPANS,
    "MULTIPLE_CHOICE": _SPANS,
    "CTC": _ALIGNED,
    "RNNT": _ALIGNED,
    "TDT": _ALIGNED,
    "NEXT_SENTENCE_PREDICTION": "its classes are balanced by construction",
    "PRETRAINING": "it sums several losses, of which no one is an example's",
    "TEXT_TO_SPECTROGRAM": "its loss is over audio frames, which have no class of their own to balance",
}


def find_task(
    model: nn.Module,
    dataset: Any,
    label_names: Sequence[str],
    *,
    name: str | None = None,
    weight_per_token: bool = False,
) -> Task:
    """Choose by name, else by the model's class, else by `problem_type`, else by the labels, as transformers does.

    Args:
        model: unwrapped.
        dataset: the training set, or None.
        label_names: of the trainer.
        name: of the task, in place of what the model and the labels say.
        weight_per_token: whether a token carries a weight, not a sequence.

    Raises:
        ValueError: an unknown name, a model whose examples have no sensible weight, or `weight_per_token` where a
            weight can only be an example's.
    """
    if dataset is not None:
        check_dataset(dataset, "train_dataset")
    if name is not None:
        chosen = look_up(TASKS, name, "task")
    else:
        chosen = _infer(model, dataset, (*label_names, "label", "labels"))
    if not weight_per_token:
        return chosen()
    if chosen is not TokenSequences:
        raise ValueError(
            f"Expected a token classification model for `weight_per_token`, got {type(model).__name__} with the task "
            f"{chosen.name!r}. Leave it out: the weights are then one per example."
        )
    return Tokens()


def _infer(model: nn.Module, dataset: Any, columns: Sequence[str]) -> type[Task]:
    unwrap = getattr(model, "get_base_model", None)  # of an adapter
    base = model if unwrap is None else unwrap()
    config, architecture = getattr(base, "config", None), type(base).__name__
    for keys, task in _ARCHITECTURES:
        if architecture in _classes_for(keys):
            return task
    for key, reason in _REFUSED.items():
        if architecture in _classes_for((key,)):
            raise ValueError(
                f"Expected a model whose loss is a mean over examples or tokens, got {architecture}: {reason}. Use "
                "weighting='none', which is the stock Trainer, or pass a `task` of your own (hf_otw.tasks.Task)."
            )
    problem = getattr(config, "problem_type", None)
    if problem is not None:
        return look_up(_PROBLEMS, problem, "problem_type")
    if getattr(config, "num_labels", None) == 1:
        return Regression
    label = None if dataset is None else read_item(dataset, columns)
    if label is None:
        return SingleLabel
    return _of_label(np.asarray(label), getattr(config, "num_labels", None))


def _of_label(value: np.ndarray, num_labels: int | None) -> type[Task]:
    """The task of a label, as the models of transformers choose it."""
    if value.size == 1 and num_labels is not None:
        whole = not np.issubdtype(value.dtype, np.floating) or bool((value == np.round(value)).all())
        return SingleLabel if whole else Regression
    if value.ndim == 0:
        return Regression if np.issubdtype(value.dtype, np.floating) else SingleLabel
    # Floats in several columns are trained on binary cross-entropy, also where they are shares: to train on squared
    # errors, the model's `problem_type` or `task` says so.
    return MultiLabel


def _classes_for(keys: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for key in keys:
        for names in getattr(modeling_auto, f"MODEL_FOR_{key}_MAPPING_NAMES", {}).values():
            found.update((names,) if isinstance(names, str) else names)
    return found
