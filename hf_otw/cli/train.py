"""`hf-otw train`: a recipe in, a model with its card, weights and metrics out."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from hf_otw.cli import data_options as o
from hf_otw.recipe.find import Found, find_recipe
from hf_otw.recipe.reading import check_keys
from hf_otw.recipe.schema import FILE

if TYPE_CHECKING:
    from hf_otw.recipe.run import Job
    from hf_otw.recipe.schema import Recipe
    from hf_otw.recipe.source import Where

#: What is no option of the command is an argument of the run.
ANY_ARGUMENT = {"allow_extra_args": True, "ignore_unknown_options": True}
EPILOG = (
    "Examples: `hf-otw train digits`; `hf-otw train mine.yaml --max_steps 100 --data.label_noise 0.2`; "
    "`hf-otw train user/name --launch ddp --processes 4`."
)
#: Keys of a recipe that need no dot on the command line; others without one are training arguments.
TOP = ("seed", "shows", "license")
OWN = (
    *("output-dir", "seeds", "source", "select", "dry-run", "launch", "processes", "baseline", "push", "private"),
    *(
        "push-weights",
        "revision",
        "catalogue",
        "resume-from-checkpoint",
        "label",
        "text",
        "image",
        "features",
        "model",
        "encoding",
    ),
)

Resume = Annotated[
    Path | None,
    typer.Option(
        *("--resume-from-checkpoint", "--resume_from_checkpoint"),
        help="Folder model/checkpoint-N of a run that was broken off: go on from there.",
    ),
]


def train(
    context: typer.Context,
    config: Annotated[
        str, typer.Argument(help="A YAML file, a recipe's name, user/name on the Hub, or a file or folder of data.")
    ],
    label: Annotated[str | None, typer.Option(help="Of a data file: column of the classes.")] = None,
    text: o.Text = None,
    image: o.Picture = None,
    features: o.Features = None,
    model: Annotated[
        str | None, typer.Option(help="Of a data file: pretrained model; none, for texts: words.")
    ] = None,
    encoding: o.Encoding = None,
    output_dir: Annotated[Path | None, typer.Option(help="Folder of the run; runs/NAME by default.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs, with the recipe's seed and those after it.")] = 1,
    source: Annotated[str | None, typer.Option(help="packaged, files or hub, where the recipe names several.")] = None,
    select: Annotated[bool, typer.Option(help="Test on a fifth of the training rows: for choosing settings.")] = False,
    dry_run: Annotated[
        bool, typer.Option(help="Show classes, meta set, steps and memory, and train nothing.")
    ] = False,
    launch: Annotated[
        str | None, typer.Option(help="cpu_ddp, ddp, fsdp2, zero2, zero3 or a file: accelerate.")
    ] = None,
    processes: Annotated[int | None, typer.Option(min=1, help="Processes, with --launch.")] = None,
    baseline: Annotated[Path | None, typer.Option(help="Folder of a plain run to compare with in the card.")] = None,
    push: Annotated[str | None, typer.Option(metavar="USER/NAME", help="Publish the run on the Hub.")] = None,
    private: Annotated[bool | None, typer.Option(help="Whether a new repo is private.")] = None,
    push_weights: Annotated[bool, typer.Option(help="Publish the weight of every training example too.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a recipe on the Hub.")] = None,
    catalogue: Annotated[
        str | None, typer.Option(help="Module with more sources and models, such as recipes.catalogue.")
    ] = None,  # fmt: skip # noqa: E501
    resume: Resume = None,
) -> None:
    """Train a recipe, or a classifier of your own rows: `hf-otw train tickets.csv --label Queue`.

    Of a data file, a recipe and the usable rows are written into the folder of the run, and a fifth is held out.

    CONFIG comes first. Every key of the recipe can be set after it: --data.label_noise 0.2, or, for training
    arguments, by the name alone: --max_steps 100 --weighting closed_form. The command line wins over the file.
    A recipe from the Hub may say how to learn, and nothing else; --dry-run connects to nothing.
    """
    if launch is not None:
        from hf_otw.cli.launch import run_launched

        raise typer.Exit(run_launched(launch, processes, context.obj))
    check_options(processes, push, output_dir, resume, seeds)
    changes = overrides(context.args)
    config, output_dir = of_data(config, output_dir, label, text, image, features, model, encoding)
    if dry_run:
        from hf_otw.cli.offline import without_network

        with without_network():
            found = find_recipe(config, revision)
            return show_plan(found, read(found, changes), source, select, catalogue)
    found = find_recipe(config, revision)
    recipe = read(found, changes)
    if found.stranger is not None:
        from hf_otw.recipe.hub import check_public

        check_public(found.path, found.stranger, changes)
    if push is not None:
        from hf_otw.recipe.hub import check_push

        check_push(push)
    job = prepared(found, recipe, output_dir, source, select, catalogue)
    return finish(job, found.name, seeds, baseline, push, private, push_weights, resume)


def check_options(
    processes: int | None, push: str | None, output_dir: Path | None, resume: Path | None, seeds: int
) -> None:
    """Refuse before anything is loaded.

    Raises:
        typer.BadParameter: an option that does not fit the others, or names what cannot be used.
    """
    if processes is not None:
        raise typer.BadParameter("Expected --launch with --processes, such as --launch ddp.")
    if push is not None:
        check_repo(push)
    if output_dir is not None and output_dir.exists() and not output_dir.is_dir():
        raise typer.BadParameter(f"Expected a folder for --output-dir, got the file {output_dir}. Name another.")
    if resume is not None and seeds > 1:
        raise typer.BadParameter("Expected --resume-from-checkpoint with one seed, as a checkpoint is of one.")
    if resume is not None and not (resume / "trainer_state.json").is_file():
        raise typer.BadParameter(
            f"Expected a folder with trainer_state.json for --resume-from-checkpoint, got {str(resume)!r}. "
            "Checkpoints lie in RUN/model where the run has --save_strategy steps."
        )


def of_data(config: str, output: Path | None, label: str | None, *options: Any) -> tuple[str, Path | None]:
    """Recipe and folder of the run: of a data file, a recipe is written for it; else they stay as they are."""
    if is_data(config):
        output = output or Path("runs") / Path(config).stem
        return data_recipe(config, output, label, *options), output
    if any(value is not None for value in (label, *options)):
        raise typer.BadParameter(f"Expected a data file with --label, --text and the like, got {config!r}.")
    return config, output


def is_data(config: str) -> bool:
    """Whether a word names rows and not a recipe."""
    path = Path(config).expanduser()
    if path.suffix.lower() in o.FILES:
        return True
    return path.is_dir() and not (path / FILE).is_file()


def data_recipe(
    data: str,
    output: Path,
    label: str | None,
    text: list[str] | None,
    image: str | None,
    features: list[str] | None,
    model: str | None,
    encoding: str | None,
) -> str:
    """Write a recipe for a file of rows; the path of the recipe."""
    o.check_place(data)
    from hf_otw.cli.progress import silence
    from hf_otw.recipe.from_data import write_recipe
    from hf_otw.recipe.predict import columns_of

    silence()
    columns = columns_of(label or "label", text, image, features)
    path = write_recipe(data, output, columns, model, encoding=encoding, tell=o.tell)
    o.tell(f"Recipe: {path}")
    return str(path)


def overrides(tokens: Sequence[str]) -> list[str]:
    """`--max_steps 10 --data.label_noise=0.2` -> `arguments.max_steps=10`, `data.label_noise=0.2`.

    Raises:
        typer.BadParameter: a word without an option before it, or an option without a value.
    """
    found, rest = [], list(tokens)
    while rest:
        token = rest.pop(0)
        if not token.startswith("--") or len(token) < 3:
            raise typer.BadParameter(f"Expected an option like --max_steps 100, got {token!r}.")
        name, equals, value = token[2:].partition("=")
        if not equals:
            if not rest or rest[0].startswith("--"):
                near = difflib.get_close_matches(name, OWN, n=1)
                remedy = f"Did you mean --{near[0]}?" if near else "Add it."
                raise typer.BadParameter(f"Expected a value after --{name}, such as --{name} true. {remedy}")
            value = rest.pop(0)
        name = name.replace("-", "_")
        found.append(f"{name if '.' in name or name in TOP else f'arguments.{name}'}={value}")
    return found


def read(found: Found, changes: Sequence[str]) -> Recipe:
    """Read the recipe with the changes of the command line.

    Raises:
        ValueError: an option that is neither an argument of the run nor one of the command.
    """
    from dataclasses import fields

    from hf_otw.config.args import OTWeightedTrainingArguments
    from hf_otw.recipe.reading import load_recipe

    names = [field.name for field in fields(OTWeightedTrainingArguments) if field.init]
    given = [change.partition("=")[0] for change in changes]
    unknown = [name.removeprefix("arguments.") for name in given if name.startswith("arguments.")]
    check_keys(unknown, [*names, *OWN], "the options")
    return load_recipe(found.path, changes, stranger=found.stranger)


def prepared(
    found: Found,
    recipe: Recipe,
    output_dir: Path | None,
    source: str | None,
    select: bool,
    catalogue: str | None,
    quiet: bool = False,
) -> Job:
    """Load data and model inputs, with everything that talks switched off."""
    from hf_otw.cli.progress import RichProgress, silence
    from hf_otw.recipe.built_in import catalogue_for
    from hf_otw.recipe.run import prepare

    silence()
    if source not in (None, "packaged", "files", "hub"):
        raise typer.BadParameter(f"Expected --source packaged, files or hub, got {source!r}.")
    names = catalogue_for(found.path if found.is_local else None, catalogue)
    output = output_dir or Path("runs") / found.name
    callbacks = [] if quiet else [RichProgress()]
    where = cast("Where | None", source)
    return prepare(recipe, output, names, where=where, select=select, callbacks=callbacks)


def finish(
    job: Job,
    name: str,
    seeds: int,
    baseline: Path | None,
    push: str | None,
    private: bool | None,
    push_weights: bool,
    resume: Path | None,
) -> None:
    """Train, write, publish, print."""
    from hf_otw.cli.tables import metric_table, say
    from hf_otw.recipe.publish import save_run
    from hf_otw.recipe.run import collect, train_all
    from hf_otw.recipe.run_report import read_run

    plain = read_run(baseline) if baseline else None
    trainer, runs = train_all(job, seeds, resume)
    results = collect(job, name, runs)
    save_run(job, trainer, results, repo=push, plain=plain)
    if is_of_data(job.output):
        from hf_otw.recipe.predict import calibrate

        held = trainer.predict(job.prepared.splits.test)
        if runs[0].is_main:
            calibrate(cast(Any, held.predictions), cast(Any, held.label_ids), job.output)
    if not runs[0].is_main:
        return
    say(metric_table(results, plain))
    say(f"Model, card and recipe: {job.output / 'model'}\nMetrics: {job.output / 'metrics.json'}")
    if push:
        from hf_otw.recipe.hub import push_run

        say(f"Published: {push_run(job.output, push, private=private, weights=push_weights)}")


def is_of_data(run: Path) -> bool:
    """Whether a run trains on a file of the user's, whose new rows can be predicted."""
    return (run / "inputs.json").is_file()


def check_repo(repo: str) -> None:
    """Refuse a name before the training, not after it."""
    if repo.count("/") != 1 or repo.startswith("/") or repo.endswith("/"):
        raise typer.BadParameter(f"Expected --push user/name, got {repo!r}.")


def show_plan(found: Found, recipe: Recipe, source: str | None, select: bool, catalogue: str | None) -> None:
    """Print the recipe, then what its run would do, which takes its data and model."""
    from hf_otw.cli.tables import plan_tables, say
    from hf_otw.recipe.plan import plan_of
    from hf_otw.recipe.publish import recipe_text
    from hf_otw.recipe.run import build_trainer

    if os.environ.get("RANK", "0") == "0":
        say(recipe_text(recipe))
    # Some trackers look for their server as soon as there is a trainer.
    silent = replace(recipe, arguments={**recipe.arguments, "report_to": "none"})
    with TemporaryDirectory() as folder:  # the Trainer makes its folder at once
        job = prepared(found, silent, Path(folder), source, select, catalogue, quiet=True)
        trainer = build_trainer(job, recipe.seed)
        plan = plan_of(job, trainer)
    if trainer.is_world_process_zero():
        for table in plan_tables(plan):
            say(table)
