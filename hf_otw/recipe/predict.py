"""Classes of new rows by the model of a run, with calibrated probabilities."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax
from torch import Tensor, nn

from hf_otw.audit.columns import Columns, Content, feature_matrix, has_content, texts_of
from hf_otw.audit.noise import SHIFTS, SLOPES, calibrated, negative_log_likelihood
from hf_otw.data.files import load_frame
from hf_otw.data.frame import Frame, check_columns
from hf_otw.data.reading.files import Tell
from hf_otw.recipe.built_in import built_in
from hf_otw.recipe.from_data import INPUTS
from hf_otw.recipe.hub import METRICS, MODEL
from hf_otw.recipe.pretrained import load_pretrained
from hf_otw.recipe.reading import load_recipe
from hf_otw.recipe.schema import FILE, Recipe
from hf_otw.recipe.words import WordFeatures

CALIBRATION = "calibration.json"
BATCH = 64

#: Rows `start..stop` as inputs of the model.
Batches = Callable[[int, int], dict[str, Tensor]]


def calibrate(logits: np.ndarray, labels: np.ndarray, folder: Path) -> None:
    """Fit a slope and a shift per class to held-out rows, and write them beside the model.

    Weights and the logit-adjusted loss make a model judge as if all classes were equally frequent; the shifts put the
    frequencies of the held-out rows back into its probabilities.

    Args:
        logits: `(N, K)`.
        labels: `(N,)`.
        folder: of the run.
    """
    num_classes = logits.shape[1]
    log_p, seen = log_softmax(logits.astype(np.float64), axis=1), np.eye(num_classes)[labels]
    start = np.concatenate([[1.0], np.zeros(num_classes)])
    found = minimize(
        negative_log_likelihood,
        start,
        args=(log_p, seen),
        jac=True,
        method="L-BFGS-B",
        bounds=[SLOPES] + [SHIFTS] * num_classes,
    )
    told = {"slope": float(found.x[0]), "shifts": found.x[1:].tolist(), "rows": len(labels)}
    (folder / CALIBRATION).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def predict_file(run: Path, data: str, *, encoding: str | None, tell: Tell) -> pa.Table:
    """Predict the rows of a file.

    Args:
        run: folder of a run of `hf-otw train FILE --label COLUMN`.
        data: file of rows with the columns that the run was trained on.
        encoding: of a text file.
        tell: is given what was detected.

    Returns:
        the columns of the file, then `predicted`, the class that the model chooses, `probability`, of that class, and
        `probability of <class>`. Rows without content have none of these.

    Raises:
        ValueError: no such run, or columns that are missing.
    """
    for name in (INPUTS, METRICS, FILE, CALIBRATION):
        if not (run / name).is_file():
            raise ValueError(
                f"Expected the folder of a finished run of `hf-otw train FILE --label COLUMN`, found no {name} in "
                f"{run}. Train first."
            )
    told = json.loads((run / INPUTS).read_text(encoding="utf-8"))
    classes = json.loads((run / METRICS).read_text(encoding="utf-8"))["classes"]
    found = json.loads((run / CALIBRATION).read_text(encoding="utf-8"))
    frame = load_frame(data, encoding=encoding, tell=tell)
    content = Content(told["kind"], tuple(told["columns"]))
    check_columns(content.names, frame.columns)
    usable = np.flatnonzero(has_content(frame, content))
    if len(usable) < len(frame):
        tell(f"{len(frame) - len(usable):,} of {len(frame):,} rows are empty and get no class.")
    logits = logits_of(run, load_recipe(run / FILE), frame.select(usable), content, len(classes))
    parameters = np.concatenate([[found["slope"]], found["shifts"]])
    probabilities = calibrated(parameters, log_softmax(logits, axis=1))
    return with_predictions(frame, usable, classes, logits.argmax(axis=1), probabilities)


def with_predictions(
    frame: Frame, usable: np.ndarray, classes: list[str], chosen: np.ndarray, probabilities: np.ndarray
) -> pa.Table:
    """The user's columns, and ours."""
    nested = [field.name for field in frame.table.schema if pa.types.is_nested(field.type)]
    table = frame.table.drop_columns(nested)
    place = np.full(len(frame), -1)
    place[usable] = np.arange(len(usable))

    def column(values: np.ndarray) -> list[Any]:
        return [None if at < 0 else values[at].item() for at in place]

    added: dict[str, pa.Array] = {
        "predicted": pa.array(column(np.array(classes)[chosen]), pa.string()),
        "probability": pa.array(column(probabilities[np.arange(len(chosen)), chosen]), pa.float64()),
    }
    for k, name in enumerate(classes):
        added[f"probability of {name}"] = pa.array(column(probabilities[:, k]), pa.float64())
    for name, values in added.items():
        table = table.append_column(name if name not in table.column_names else f"{name} (hf_otw)", values)
    return table


def logits_of(run: Path, recipe: Recipe, frame: Frame, content: Content, num_classes: int) -> np.ndarray:
    """What the model makes of the rows, `(N, K)`, float64."""
    model, batches = loaded(run, recipe, frame, content, num_classes)
    model.eval()
    found = []
    with torch.inference_mode():
        for start in range(0, len(frame), BATCH):
            found.append(model(**batches(start, min(start + BATCH, len(frame))))["logits"].double().numpy())
    return np.concatenate(found) if found else np.zeros((0, num_classes))


def loaded(run: Path, recipe: Recipe, frame: Frame, content: Content, num_classes: int) -> tuple[nn.Module, Batches]:
    """The model of a run, and the rows as its inputs."""
    folder = run / MODEL
    if recipe.model.name == "text":
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        tokenizer, texts = (
            load_pretrained(AutoTokenizer, str(folder)),
            [text or "" for text in texts_of(frame, content)],
        )
        return (
            load_pretrained(AutoModelForSequenceClassification, str(folder)),
            lambda start, stop: dict(tokenizer(texts[start:stop], truncation=True, padding=True, return_tensors="pt")),
        )
    if recipe.model.name == "image":
        from transformers import AutoImageProcessor, AutoModelForImageClassification

        processor, pictures = load_pretrained(AutoImageProcessor, str(folder)), frame.pictures[content.names[0]]
        return (
            load_pretrained(AutoModelForImageClassification, str(folder)),
            lambda start, stop: dict(
                processor(
                    [image.convert("RGB") for image in pictures[start:stop][content.names[0]]], return_tensors="pt"
                )
            ),
        )
    array = array_of(folder, recipe, frame, content)
    return perceptron(folder, recipe, array.shape[1], num_classes), lambda start, stop: {
        "features": torch.from_numpy(array[start:stop])
    }


def array_of(folder: Path, recipe: Recipe, frame: Frame, content: Content) -> np.ndarray:
    """Features of the rows as in training, `(N, D)`, float32."""
    if recipe.model.name == "words":
        return WordFeatures.from_pretrained(folder)([text or "" for text in texts_of(frame, content)])
    from hf_otw.data.files import feature_array
    from hf_otw.recipe.source import load_raw

    # As `prepare_features` standardises them, by the training rows, which lie beside the run.
    train = feature_array(load_raw(recipe.source, built_in())[0]["train"], "features")
    made = (feature_matrix(frame, content) - train.mean(axis=0)) / (train.std(axis=0) + 1e-6)
    return made.astype(np.float32)


def perceptron(folder: Path, recipe: Recipe, inputs: int, num_classes: int) -> nn.Module:
    """The small network of a run."""
    from safetensors.torch import load_file

    from hf_otw.recipe.base import Facts

    model = built_in().model(recipe.model, Facts(num_classes, (), (inputs,)), None)
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model


def columns_of(label: str, text: list[str] | None, image: str | None, features: list[str] | None) -> Columns:
    """Columns as the command line names them."""
    return Columns(label, tuple(text or ()), image, tuple(features or ()))
