"""Scripts whose items and collators are what differs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import datasets
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import WeightedRandomSampler
from transformers import (
    BatchEncoding,
    DataCollatorWithFlattening,
    LlamaConfig,
    LlamaForCausalLM,
    default_data_collator,
)

from tests.host_programs.models import texts
from tests.host_programs.script import BATCH, Script, cross_entropy, rows, table


def sorts(items: list[Any]) -> Any:
    """Stands for sorting by length, as recurrent and speech models need it."""
    return default_data_collator(sorted(items, key=lambda item: list(item["input_ids"])))


def sorts_and_keeps_what_it_knows(items: list[Any]) -> Any:
    items = sorted(items, key=lambda item: list(item["input_ids"]))
    return {
        "input_ids": torch.tensor([list(item["input_ids"]) for item in items]),
        "labels": torch.tensor([int(item["labels"]) for item in items]),
    }


def keeps_what_it_knows(items: list[Any]) -> Any:
    return {
        "input_ids": torch.tensor([list(item["input_ids"]) for item in items]),
        "labels": torch.tensor([int(item["labels"]) for item in items]),
    }


def stacks_everything(items: list[Any]) -> Any:
    """Of tensors only: a number among the values would end it."""
    return {name: torch.stack([torch.as_tensor(item[name]) for item in items]) for name in items[0]}


def readable(items: list[Any]) -> Any:
    """Leaves out rows that cannot be read, as picture pipelines do."""
    return default_data_collator([item for item in items if item["input_ids"][1] % 5])


def readable_value(script: Script, net: nn.Module, items: list[Any], weights: Tensor) -> Tensor:
    kept = [i for i, item in enumerate(items) if item["input_ids"][1] % 5]
    plain = Script(collate=default_data_collator)
    return cross_entropy(plain, net, [items[i] for i in kept], weights[kept])


def views(items: list[Any]) -> Any:
    """Two views of each row."""
    return default_data_collator([item for item in items for _ in range(2)])


def pairs(items: list[Any]) -> Any:
    return {"input_ids": torch.stack([x for x, _ in items]), "labels": torch.tensor([y for _, y in items])}


class Items(torch.utils.data.Dataset):
    """A map-style data set of the user's own."""

    def __init__(self, make: Any) -> None:
        self.make, self.rows = make, rows()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> Any:
        return self.make(self.rows[i])


class Fetches(Items):
    """Tokenises a batch at once: `__getitems__`, which the loader prefers."""

    batches = 0

    def __getitem__(self, i: int) -> Any:
        return self.__getitems__([i])[0]

    def __getitems__(self, indices: list[int]) -> list[Any]:
        type(self).batches += 1
        return [dict(self.rows[i]) for i in indices]


def lazy() -> datasets.Dataset:
    """Tokenised when it is read, a batch at a time."""
    stored = datasets.Dataset.from_list(
        [{"text": " ".join(map(str, r["input_ids"])), "label": r["labels"]} for r in rows()]
    )

    def tokenise(batch: dict[str, Any]) -> dict[str, Any]:
        return {"input_ids": [[int(w) for w in text.split()] for text in batch["text"]], "labels": batch["label"]}

    return stored.with_transform(tokenise)


def recoded() -> datasets.Dataset:
    """The transform renumbers the classes."""
    new = [2, 0, 1]
    return table().with_transform(
        lambda batch: {"input_ids": batch["input_ids"], "labels": [new[k] for k in batch["labels"]]}
    )


def llama() -> nn.Module:
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config)


def flattened_value(script: Script, net: nn.Module, items: list[Any], weights: Tensor) -> Tensor:
    """Each row's tokens weighted by the row; the first token of a row is not predicted from the row before."""
    batch = DataCollatorWithFlattening()([{k: v for k, v in i.items() if k != "group"} for i in items])
    # As the Trainer does: with a cache, rows of a packed batch would see each other.
    logits = net(**{k: batch[k] for k in ("input_ids", "position_ids")}, use_cache=False).logits[0, :-1]
    labels = batch["labels"][0, 1:]
    losses = F.cross_entropy(logits, labels, reduction="none", ignore_index=-100)
    row = (batch["position_ids"][0, 1:] == 0).cumsum(0)
    return (losses * weights[row]).sum() / (labels != -100).sum()


DRAWN = [5, 3, 11, 0, 21, 7, 16, 30]


def own_sampler(base: type) -> type:
    class Derived(base):
        def _get_train_sampler(self, *args, **kwargs):
            return DRAWN * 5

    return Derived


def weighted_sampler(base: type) -> type:
    """Class-balanced draws with a generator of its own, in a training loader of the user's own."""

    class Derived(base):
        def get_train_dataloader(self):
            sampler = WeightedRandomSampler(
                torch.ones(len(self.train_dataset)), 40, generator=torch.Generator().manual_seed(0)
            )
            data = self.train_dataset
            if isinstance(data, datasets.Dataset):
                data = self._remove_unused_columns(data, description="training")
            loader = torch.utils.data.DataLoader(data, BATCH, sampler=sampler, collate_fn=self.data_collator)
            return self.accelerator.prepare(loader)

    return Derived


def drawn() -> list[int]:
    return list(WeightedRandomSampler(torch.ones(40), 40, generator=torch.Generator().manual_seed(0)))[:BATCH]


def vector_labels(items: list[Any]) -> Any:
    batch = default_data_collator(items)
    return {**batch, "labels": batch["labels"].view(-1, 1)}


def mixes(items: list[Any]) -> Any:
    """Mix-up of the labels: each row's with that of the row at the mirrored place."""
    batch = default_data_collator(items)
    hot = F.one_hot(batch["labels"], 3).float()
    return {**batch, "labels": 0.7 * hot + 0.3 * hot.flip(0)}


def soft_cross_entropy(base: type) -> type:
    class Derived(base):
        def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
            labels = inputs.pop("labels")
            outputs = model(**inputs)
            loss = F.cross_entropy(outputs.logits, labels)
            return (loss, outputs) if return_outputs else loss

    return Derived


def mixed_value(script: Script, net: nn.Module, items: list[Any], weights: Tensor) -> Tensor:
    batch = mixes(items)
    losses = F.cross_entropy(net(input_ids=batch["input_ids"]).logits, batch["labels"], reduction="none")
    return (losses * weights).mean()


def drawn_labels() -> datasets.Dataset:
    """The transform draws labels at every reading."""

    def draw(batch: dict[str, Any]) -> dict[str, Any]:
        return {**batch, "labels": torch.randint(0, 3, (len(batch["labels"]),)).tolist()}

    return table().with_transform(draw)


def stream() -> datasets.IterableDataset:
    return table().to_iterable_dataset()


def contrastive(base: type) -> type:
    """A loss on the embeddings alone: rows of a class near each other."""

    class Derived(base):
        def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
            outputs = model(**inputs, output_hidden_states=True)
            z = F.normalize(outputs.hidden_states[-1][:, 0], dim=-1)
            same = inputs["labels"][:, None] == inputs["labels"]
            loss = -((z @ z.T).log_softmax(-1) * same).sum(-1).mean()
            return (loss, outputs) if return_outputs else loss

    return Derived


SCRIPTS = {
    "collator mixes labels": Script(collate=mixes, subclass=soft_cross_entropy, value=mixed_value),
    "labels drawn at each reading": Script(
        data=drawn_labels, args={"remove_unused_columns": False}, refused="labels that train_dataset has for the rows"
    ),
    "a stream": Script(data=stream, args={"max_steps": 1}, refused="stable row numbers, got the stream"),
    "a loss beside the logits": Script(subclass=contrastive, refused="loss to depend on the logits"),
    "collator sorts": Script(collate=sorts),
    "collator sorts and keeps known keys": Script(collate=sorts_and_keeps_what_it_knows),
    "collator keeps known keys": Script(collate=keeps_what_it_knows),
    "collator stacks every key": Script(collate=stacks_everything, data=lambda: table().with_format("torch")),
    "collator leaves rows out": Script(collate=readable, value=readable_value),
    "collator makes two views": Script(collate=views),
    "collator flattens": Script(
        model=llama,
        data=texts,
        collate=DataCollatorWithFlattening(),
        value=flattened_value,
        options={"group_column": "group"},
    ),
    "items are BatchEncoding": Script(data=lambda: Items(lambda r: BatchEncoding(dict(r)))),
    "items are objects": Script(data=lambda: Items(lambda r: SimpleNamespace(**r))),
    "items are tuples": Script(
        data=lambda: Items(lambda r: (torch.tensor(r["input_ids"]), r["labels"])), collate=pairs
    ),
    "items fetched by batch": Script(data=lambda: Fetches(dict)),
    "tokenised when read": Script(data=lazy, args={"remove_unused_columns": False}),
    "labels of a transform": Script(data=recoded, args={"remove_unused_columns": False}),
    "own sampler": Script(subclass=own_sampler, first=DRAWN),
    "own training loader": Script(subclass=weighted_sampler, first=drawn()),
    "loader with workers": Script(args={"dataloader_num_workers": 1}),
    "labels of shape (B, 1) from the collator": Script(collate=vector_labels),
    "unused columns kept": Script(
        data=lambda: table(attention_mask=lambda r: [1] * 6), args={"remove_unused_columns": False}
    ),
    "format torch": Script(data=lambda: table().with_format("torch")),
}
