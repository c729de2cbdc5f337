"""The commands of `hf-otw`, put together."""

from __future__ import annotations

import typer

from hf_otw._version import __version__
from hf_otw.cli import audit, compare, doctor, predict, recipes, report, train, weights
from hf_otw.cli.terminal import tell

app = typer.Typer(
    name="hf-otw",
    help="Fine-tuning with example weights that optimal transport learns: train, weigh, audit, compare.",
    epilog="Start here: hf-otw train digits --dry-run",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        tell(f"hf-otw {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=show_version, is_eager=True, help="Show the version."),
) -> None:
    """Fine-tuning with example weights that optimal transport learns: train, weigh, audit, compare."""


app.command(epilog=train.EPILOG, context_settings=train.ANY_ARGUMENT)(train.train)
app.command(epilog=predict.EPILOG)(predict.predict)
app.command(epilog=weights.EPILOG)(weights.weights)
app.command(epilog=audit.EPILOG)(audit.audit)
app.command(epilog=compare.EPILOG)(compare.compare)
app.command(epilog=report.EPILOG)(report.report)
app.add_typer(recipes.app, name="recipes")
app.command(epilog=doctor.EPILOG)(doctor.doctor)
