"""Scripts whose labels and rows are what differs."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import torch
from datasets import concatenate_datasets
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig, BertForTokenClassification, Trainer, default_data_collator

from tests.host_programs.script import BERT, Script, bert, cross_entropy, rows, table


def soft() -> datasets.Dataset:
    draw = np.random.default_rng(0)
    return table(labels=lambda row: draw.uniform(0.05, 0.95, 3).astype("f4").tolist())


def soft_after_a_hard_row() -> datasets.Dataset:
    first = {"input_ids": [3, 11, 12, 13, 14, 15], "labels": [0.0, 1.0, 0.0]}
    return datasets.Dataset.from_list([first, *soft()])


def multi_hot() -> datasets.Dataset:
    return table(labels=lambda row: [float(k == 0 or k == row["labels"]) for k in range(3)])


def binary_value(script: Script, net: nn.Module, items: list[Any], weights: Tensor) -> Tensor:
    batch = script.collate(items)
    logits = net(input_ids=batch["input_ids"]).logits
    losses = F.binary_cross_entropy_with_logits(logits, batch["labels"], reduction="none").mean(1)
    return (losses * weights).mean()


def squared_value(script: Script, net: nn.Module, items: list[Any], weights: Tensor) -> Tensor:
    batch = script.collate(items)
    logits = net(input_ids=batch["input_ids"]).logits
    return ((logits.squeeze(-1) - batch["labels"]).square() * weights).mean()


def saved_config(trainer: Trainer) -> dict[str, Any]:
    folder = tempfile.mkdtemp()
    trainer.save_model(folder)
    return json.loads((Path(folder) / "config.json").read_text())


def same_problem(stock: Trainer, ours: Trainer) -> None:
    assert saved_config(ours)["problem_type"] == saved_config(stock)["problem_type"] is not None


def named_classes() -> datasets.Dataset:
    return table().cast_column("labels", datasets.ClassLabel(names=["lion", "puma", "cat"]))


def names_are_saved(stock: Trainer, ours: Trainer) -> None:
    assert saved_config(ours)["id2label"] == {"0": "lion", "1": "puma", "2": "cat"}
    assert saved_config(ours)["label2id"] == {"lion": 0, "puma": 1, "cat": 2}


def some_unlabelled() -> datasets.Dataset:
    return table().map(lambda row, i: {"labels": -100 if i % 4 == 1 else row["labels"]}, with_indices=True)


def labelled_value(script: Script, net: nn.Module, items: list[Any], weights: Tensor) -> Tensor:
    batch = script.collate(items)
    losses = F.cross_entropy(net(input_ids=batch["input_ids"]).logits, batch["labels"], reduction="none")
    return (losses * weights).sum() / (batch["labels"] != -100).sum()


def same_eval_loss(stock: Trainer, ours: Trainer) -> None:
    ours.model.load_state_dict(stock.model.state_dict())
    assert abs(ours.evaluate()["eval_loss"] - stock.evaluate()["eval_loss"]) < 1e-5


def token_labels(row: dict[str, Any], unlabelled: bool = False) -> list[int]:
    return [-100 if unlabelled else min(2, t // 15) for t in row["input_ids"]]


def token_rows_without_labels() -> datasets.Dataset:
    data = table(labels=token_labels)
    return data.map(lambda row, i: {"labels": [-100] * 6 if i % 4 == 1 else row["labels"]}, with_indices=True)


def token_value(script: Script, net: nn.Module, items: list[Any], weights: Tensor) -> Tensor:
    batch = script.collate(items)
    logits = net(input_ids=batch["input_ids"]).logits
    losses = F.cross_entropy(logits.transpose(1, 2), batch["labels"], reduction="none").sum(1)
    return (losses * weights).sum() / (batch["labels"] != -100).sum()


def token_model() -> nn.Module:
    return BertForTokenClassification(BertConfig(**BERT, num_labels=3))


def both_columns() -> datasets.Dataset:
    """`label` holds the class as it was annotated, `labels` what is trained on."""
    return table(label=lambda row: (row["labels"] + 1) % 3)


def takes_labels(items: list[Any]) -> Any:
    return default_data_collator([{k: v for k, v in item.items() if k != "label"} for item in items])


def to_integers(items: list[Any]) -> Any:
    return {
        "input_ids": torch.tensor([item["input_ids"] for item in items]),
        "labels": torch.tensor([int(item["labels"]) for item in items]),
    }


def copied_rare() -> datasets.Dataset:
    data = table()
    rare = data.filter(lambda row: row["labels"] == 2)
    return concatenate_datasets([data, *[rare] * 3])


def much_text() -> datasets.Dataset:
    """A column of chunked large strings beside the inputs."""
    data = table()
    half = len(data) // 2
    chunks = [pa.array([f"row {i} " * 9 for i in part], pa.large_string()) for part in (range(half), range(half, 40))]
    columns = {name: data.data.column(name) for name in data.column_names}
    return datasets.Dataset(pa.table({**columns, "text": pa.chunked_array(chunks)}))


def few_of_a_class() -> datasets.Dataset:
    return table((24, 15, 1))


SCRIPTS = {
    "soft labels in several columns": Script(data=soft, value=binary_value, loss="binary_cross_entropy"),
    "soft labels, the first row is hard": Script(
        data=soft_after_a_hard_row, value=binary_value, loss="binary_cross_entropy"
    ),
    "multi-hot labels without problem_type": Script(
        data=multi_hot, value=binary_value, loss="binary_cross_entropy", after=same_problem
    ),
    "regression without problem_type": Script(
        model=lambda: bert(1),
        data=lambda: table(labels=lambda row: row["labels"] + sum(row["input_ids"]) / 100),
        value=squared_value,
        loss="squared_error",
        after=same_problem,
    ),
    "several numbers by problem_type": Script(
        model=lambda: bert(3, problem_type="regression"),
        data=soft,
        value=lambda script, net, items, weights: (
            (net(input_ids=(b := script.collate(items))["input_ids"]).logits - b["labels"]).square().mean(1) * weights
        ).mean(),
        loss="squared_error",
    ),
    "named classes": Script(data=named_classes, after=names_are_saved),
    "single label, problem_type saved": Script(after=same_problem),
    "rows without a label": Script(data=some_unlabelled, value=labelled_value, stock_off_by=1.0),
    "evaluation rows without a label": Script(
        keywords=lambda: {"eval_dataset": some_unlabelled()}, after=same_eval_loss
    ),
    "token rows without a label": Script(model=token_model, data=token_rows_without_labels, value=token_value),
    "label and labels": Script(data=both_columns, collate=takes_labels),
    "label and labels, default collator": Script(data=both_columns),
    "labels (1,)": Script(data=lambda: table(labels=lambda row: [row["labels"]])),
    "labels are bool": Script(
        model=lambda: bert(2), data=lambda: table(labels=lambda row: row["labels"] > 0), collate=to_integers
    ),
    "labels are whole floats": Script(
        data=lambda: table(labels=lambda row: float(row["labels"])), collate=to_integers
    ),
    "a class with one row": Script(data=few_of_a_class),
    "a class with two rows": Script(data=lambda: table((24, 14, 2))),
    "a class without rows": Script(model=lambda: bert(4), data=table),
    "rare class copied": Script(data=copied_rare),
    "every row twice": Script(data=lambda: concatenate_datasets([table(), table()])),
    "evaluation set is the training set": Script(keywords=lambda: {"eval_dataset": table()}),
    "evaluation set shares rows": Script(keywords=lambda: {"eval_dataset": table().select(range(10))}),
    "chunked large strings": Script(data=much_text),
}
assert len(rows()) == 40
assert cross_entropy
