"""`hf-otw report`: one page about a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hf_otw.cli.terminal import tell

EPILOG = "Example: `hf-otw report runs/digits --baseline runs/digits-plain`"


def report(
    run: Annotated[Path, typer.Argument(help="Folder of a run of `hf-otw train`.")],
    baseline: Annotated[Path | None, typer.Option(help="Folder of a plain run to compare with.")] = None,
    output: Annotated[Path | None, typer.Option(help="RUN/report.html by default.")] = None,
    texts: Annotated[bool, typer.Option(help="Show texts of training examples: loads the run's data again.")] = False,
    png: Annotated[Path | None, typer.Option(help="Folder for the figures as PNG files too.")] = None,
    title: Annotated[str | None, typer.Option(help="Heading; the recipe's name by default.")] = None,
) -> None:
    """Write a self-contained page: what the weights are, and what they changed."""
    from hf_otw.cli.progress import silence
    from hf_otw.recipe.run_report import report_data
    from hf_otw.report.page import write_report

    silence()
    data = report_data(run, baseline, texts=texts, title=title)
    tell(f"Written: {write_report(output or run / 'report.html', data)}")
    if png is not None:
        from hf_otw.report.figures import save_figures

        tell(f"Written: {', '.join(map(str, save_figures(png, data)))}")
