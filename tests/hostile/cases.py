"""What a stranger might publish as a recipe, and what each of them is after."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from tests.hub_server import OTHER_TOKEN

#: Stands in every private file of the user; nobody else may ever see it.
CANARY = "canary-5d1c"
#: Written by code that must never run.
MARKER = "code-ran"
#: Clears the screen, sets the window's title, and turns the text around.
ESCAPES = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e"
CODE = f"open({MARKER!r}, 'w').write('owned')\n"

GOOD: dict[str, Any] = {
    "shows": "a toy",
    "source": {"packaged": "digits"},
    "data": {"max_train": 200},
    "model": {"name": "features", "options": {"hidden": 8}},
    "arguments": {"max_steps": 2, "per_device_train_batch_size": 16, "weight_warmup": 1, "use_cpu": True},
}
TEXT = {"name": "text", "options": {"checkpoint": "mallory/bert", "max_tokens": 8}}
ROWS = "text,label\n" + "".join(f"word w{k % 7},{'ab'[k % 2]}\n" for k in range(40))
BERT = {"model_type": "bert", "vocab_size": 32, "hidden_size": 16, "intermediate_size": 16}
BERT |= {"num_hidden_layers": 1, "num_attention_heads": 2, "architectures": ["BertForSequenceClassification"]}


def recipe(**sections: Any) -> str:
    """`GOOD` with other sections; of a mapping, those keys are added."""
    made = {name: dict(value) if isinstance(value, dict) else value for name, value in GOOD.items()}
    for name, value in sections.items():
        made[name] = {**made[name], **value} if name == "arguments" else value
    return yaml.safe_dump(made, allow_unicode=True)


def publishing(**arguments: Any) -> str:
    """A recipe with arguments that publish."""
    return recipe(arguments={"push_to_hub": True, **arguments})


@dataclass(frozen=True)
class Case:
    """One attack.

    Attributes:
        name: of the repo `mallory/NAME`.
        recipe: its `recipe.yaml`.
        reason: what the refusal says, a regular expression; None where the recipe may run and does no harm.
        repos: further repos of the attacker: name -> path -> content.
        argv: the user's command; `hf-otw train mallory/NAME` by default.
        local: further files of the user's: path -> content.
        links: symbolic links among them: path -> the file or folder of the user's that it points to.
        fresh: whether the command needs a process that has imported nothing.
    """

    name: str
    recipe: str | bytes
    reason: str | None
    repos: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    argv: tuple[str, ...] = ()
    local: Mapping[str, str] = field(default_factory=dict)
    fresh: bool = False
    links: Mapping[str, str] = field(default_factory=dict)


def dataset(readme: Any = None, rows: str = ROWS) -> dict[str, str]:
    """Files of a data set with the splits train and test."""
    configs = [{"config_name": "default", "data_files": files_of("train.csv")}]
    head = yaml.safe_dump({"configs": readme or configs}, allow_unicode=True)
    return {"README.md": f"---\n{head}---\n", "train.csv": rows, "test.csv": rows}


def foreign(path: str) -> dict[str, str]:
    """A data set whose card says that its rows lie elsewhere."""
    return dataset([{"config_name": "default", "data_files": files_of(path)}])


def files_of(train: str) -> list[dict[str, str]]:
    """Splits as the card of a data set names them."""
    return [{"split": "train", "path": train}, {"split": "test", "path": "test.csv"}]


#: Rows of pictures that are paths into the user's machine.
PICTURES = """---
configs:
- config_name: default
  data_files:
  - {split: train, path: train.jsonl}
  - {split: test, path: test.jsonl}
dataset_info:
  features:
  - {name: image, dtype: image}
  - {name: label, dtype: string}
---
"""
PICTURE = {"image": {"path": "{here}/private.csv", "bytes": None}}
PICTURE_ROWS = "".join(json.dumps({**PICTURE, "label": "ab"[k % 2]}) + "\n" for k in range(20))
BERT_REPO = {"mallory/bert": {"config.json": json.dumps(BERT)}}
LOCAL = "no files of your machine in mallory/"
PUBLISH = "none that publish, report, read or write in mallory/"
PUBLIC = "a name on the Hub, user/name"
HERE = "but it is here too"
#: Of the user's machine: {here} is the folder of the run.
CASES = (
    # Files of the user's.
    Case("files", recipe(source={"files": {"train": "private.csv"}}), LOCAL),
    Case("files-and-token", publishing(hub_token=OTHER_TOKEN, hub_model_id="mallory/loot"), PUBLISH),
    Case("files-home", recipe(source={"packaged": "digits", "files": {"train": "~/private.csv"}}), LOCAL),
    Case("files-test", recipe(source={"packaged": "digits", "files": {"test": "private.csv"}}), LOCAL),
    Case("files-list", recipe(source={"packaged": "digits", "files": ["private.csv"]}), LOCAL),
    Case("hub-is-a-folder", recipe(source={"hub": "data/private"}, model=TEXT), HERE),
    Case("hub-is-a-path", recipe(source={"hub": "{here}/data/private"}, model=TEXT), PUBLIC),
    Case("hub-is-a-reader", recipe(source={"hub": "csv"}, model=TEXT), PUBLIC),
    Case("hub-config", recipe(source={"hub": "mallory/rows", "hub_config": "../../data"}), "a plain word"),
    Case(
        "rows-of-this-machine",
        recipe(source={"hub": "mallory/rows-a"}, model=TEXT),
        "lie in its own repo|don't belong to",
        {"datasets/mallory/rows-a": foreign("{here}/private.csv")},
    ),
    Case(
        "rows-of-a-private-repo",
        recipe(source={"hub": "mallory/rows-b"}, model=TEXT),
        "lie in its own repo|don't belong to",
        {"datasets/mallory/rows-b": foreign("hf://datasets/ada/diary/train.csv")},
    ),
    Case("model-is-a-folder", recipe(model={"name": "text", "options": {"checkpoint": "models/private"}}), HERE),
    Case("model-is-a-path", recipe(model={"name": "text", "options": {"checkpoint": "./private"}}), PUBLIC),
    Case("model-is-absolute", recipe(model={"name": "image", "options": {"checkpoint": "{here}/private"}}), PUBLIC),
    Case("model-is-a-mapping", recipe(model={"name": "text", "options": {"checkpoint": {"a": "b"}}}), PUBLIC),
    Case(
        "revision-climbs",
        recipe(model={"name": "text", "options": {"checkpoint": "mallory/bert", "revision": "../../../../evil"}}),
        "a branch, tag or commit",
    ),
    Case("option-is-a-path", recipe(model={"name": "features", "options": {"hidden": "/etc/passwd"}}), "plain words"),
    Case("rows-are-private", recipe(source={"hub": "ada/diary"}, model=TEXT), "which is private"),
    Case(
        "model-is-private",
        recipe(source={"hub": "mallory/rows-e"}, model={"name": "text", "options": {"checkpoint": "ada/secret"}}),
        "which is private",
        {"datasets/mallory/rows-e": dataset()},
    ),
    Case(
        "adapter-of-a-private-model",
        recipe(source={"hub": "mallory/rows-f"}, model={"name": "text", "options": {"checkpoint": "mallory/lora"}}),
        "ada/secret, which is private",
        {
            "datasets/mallory/rows-f": dataset(),
            "mallory/lora": {"adapter_config.json": json.dumps({"base_model_name_or_path": "ada/secret"})},
        },
    ),
    Case(
        "adapter-of-a-folder",
        recipe(source={"hub": "mallory/rows-g"}, model={"name": "text", "options": {"checkpoint": "mallory/lora-2"}}),
        "name nothing on this machine",
        {
            "datasets/mallory/rows-g": dataset(),
            "mallory/lora-2": {"adapter_config.json": json.dumps({"base_model_name_or_path": "models/private"})},
        },
    ),
    Case(
        "vocabulary-of-this-machine",
        recipe(source={"hub": "mallory/rows-h"}, model={"name": "text", "options": {"checkpoint": "mallory/words"}}),
        "name nothing on this machine",
        {
            "datasets/mallory/rows-h": dataset(),
            "mallory/words": {
                "config.json": json.dumps(BERT),
                "tokenizer_config.json": json.dumps({"tokenizer_class": "BertTokenizer", "vocab": "private.csv"}),
            },
        },
    ),
    Case(
        "pictures-of-this-machine",
        recipe(source={"hub": "mallory/rows-i"}, model={"name": "image", "options": {"checkpoint": "mallory/vit"}}),
        "in its own repo, got the path",
        {
            "datasets/mallory/rows-i": {
                "README.md": PICTURES,
                **{f"{name}.jsonl": PICTURE_ROWS for name in ("train", "test")},
            },
            "mallory/vit": {"config.json": "{}"},
        },
    ),
    # Publishing.
    Case("push-to-attacker", publishing(hub_model_id="mallory/loot", hub_token=OTHER_TOKEN), PUBLISH),
    Case("push-to-user", publishing(hub_model_id="ada/precious"), PUBLISH),
    Case("push-alone", publishing(), PUBLISH),
    Case("push-checkpoints", publishing(push_example_weights=True, hub_strategy="all_checkpoints"), PUBLISH),
    Case("push-private", recipe(arguments={"hub_private_repo": False}), PUBLISH),
    Case("push-weights", recipe(arguments={"push_example_weights": True}), PUBLISH),
    Case(
        "push-in-a-dry-run",
        publishing(hub_model_id="ada/made"),
        "hf-otw recipes show mallory/push-in-a-dry-run",
        argv=("train", "mallory/push-in-a-dry-run", "--dry-run"),
        fresh=True,
    ),
    Case("report-everywhere", recipe(arguments={"report_to": "all"}), PUBLISH),
    Case("report-to-a-space", recipe(arguments={"trackio_space_id": "mallory/space"}), PUBLISH),
    # Files, code and processes.
    Case("output", recipe(arguments={"output_dir": "{here}/elsewhere"}), PUBLISH),
    Case("resume", recipe(arguments={"resume_from_checkpoint": "private"}), PUBLISH),
    Case("deepspeed", recipe(arguments={"deepspeed": "{here}/private.json"}), PUBLISH),
    Case("fsdp", recipe(arguments={"fsdp": True, "fsdp_config": "{here}/private.json"}), PUBLISH),
    Case("accelerator", recipe(arguments={"accelerator_config": "{here}/private.json"}), PUBLISH),
    Case("compile", recipe(arguments={"torch_compile_backend": "mallory"}), PUBLISH),
    Case("processes", recipe(arguments={"dataloader_num_workers": 100_000}), PUBLISH),
    Case("extends", recipe() + "extends: base.yaml\n", "that stands alone"),
    Case("extends-up", recipe() + "extends: ../../../../../../private.yaml\n", "that stands alone"),
    Case("model-is-code", recipe(model={"name": "os.system"}), "Expected a known key in model.name"),
    Case("tag-runs-code", f"!!python/object/apply:exec [{json.dumps(CODE)}]\n", "Expected YAML in"),
    Case(
        "checkpoint-brings-code",
        recipe(source={"hub": "mallory/rows-c"}, model={"name": "text", "options": {"checkpoint": "mallory/code"}}),
        "brings code of its own",
        {
            "datasets/mallory/rows-c": dataset(),
            "mallory/code": {
                "config.json": json.dumps({**BERT, "model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}),
                "tokenizer_config.json": json.dumps({"auto_map": {"AutoTokenizer": [None, "own.Own"]}}),
                "own.py": CODE,
            },
        },
    ),
    Case(
        "catalogue-above",
        recipe(),
        "Expected a known key in model.name",
        argv=("train", "downloads/pack/a/b/c.yaml"),
        local={
            "downloads/pack/catalogue.py": CODE,
            "downloads/pack/a/b/c.yaml": recipe(model={"name": "evil"}),
        },
    ),
    Case(
        "catalogue-above-a-run",
        recipe(),
        "Expected a known key in model.name",
        argv=("train", "pack/a/b"),
        local={"catalogue.py": CODE, "pack/catalogue.py": CODE, "pack/a/b/recipe.yaml": recipe(model={"name": "x"})},
    ),
    # Files that eat their reader.
    Case(
        "bomb",
        "a0: &a0 [x]\n" + "".join(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]\n" for k in range(1, 12)),
        "keys and values in",
    ),
    Case(
        "bomb-of-text",
        f"a: &a {'x' * 50_000}\nb: [{', '.join(['*a'] * 5_000)}]\n",
        "keys and values in",
    ),
    Case("alias-of-itself", "a: &a [*a]\n", "no alias inside of what it names"),
    Case("deep-flow", "a: " + "[" * 10_000 + "]" * 10_000, "at most 20 levels"),
    Case("deep-blocks", "".join(" " * k + "a:\n" for k in range(300)), "at most 20 levels"),
    Case("large", "a: " + "x" * 200_000, "at most 100,000 bytes"),
    Case("many-keys", "".join(f"a{k}: 1\n" for k in range(9_000)), "keys and values in"),
    Case("slow-number", recipe() + "seed: " + "1" * 90_000 + "x\n", "Expected"),
    Case("no-text", b"\xff\xfe\x00shows", "Expected UTF-8"),
    # The terminal, and the card.
    Case("escapes-in-a-key", json.dumps({**GOOD, f"x{ESCAPES}": 1}), "Expected a known key"),
    Case("escapes-in-a-value", json.dumps({**GOOD, "needs": [ESCAPES]}), "Expected"),
    Case("escapes-in-what-is-shown", json.dumps({**GOOD, "shows": ESCAPES}), None, argv=("recipes", "show", "{repo}")),
    Case("escapes-in-a-column", recipe(source={"packaged": "digits", "columns": {f"a{ESCAPES}": "label"}}), None),
    Case(
        "escapes-in-labels",
        recipe(source={"hub": "mallory/rows-d"}, model={"name": "features"}),
        "Expected a column 'features'",
        {"datasets/mallory/rows-d": dataset(rows=ROWS.replace(",a", f",{ESCAPES}"))},
    ),
    Case("license-adds-a-head", recipe(license="mit\ntags: [x]\n---\n"), "id of a licence"),
    Case("never-a-number", recipe(arguments={"learning_rate": float("nan")}), "a finite number"),
    Case("batch-of-nothing", recipe(arguments={"per_device_train_batch_size": 0}), "Expected 1 or more"),
    Case("cap-below-nothing", recipe(data={"max_train": -1}), "Expected 1 or more"),
    # What is fetched to be read may be trained next.
    Case("pull", publishing(hub_model_id="ada/precious"), PUBLISH, argv=("recipes", "pull", "{repo}")),
    Case(
        "push-of-links",
        recipe(),
        "Expected the folder of a run",
        argv=("recipes", "push", "fetched", "ada/fetched"),
        local={"private/recipe.yaml": recipe()},
        links={"fetched/model": "private", "fetched/metrics.json": "private.json"},
    ),
)
