"""`hf-otw doctor`: environment, versions, devices, and what is wrong."""

from __future__ import annotations

from typing import Annotated

import typer

EPILOG = "Example: `hf-otw doctor`. Exit code 1 where something is wrong."


def doctor(
    quick: Annotated[bool, typer.Option(help="Skip the trial run, which imports torch and trains a toy.")] = False,
) -> None:
    """Check this machine: versions against what hf_otw needs, devices, the Hub, and a trial run."""
    from hf_otw.cli.checkup import checks
    from hf_otw.cli.tables import say, table
    from hf_otw.cli.terminal import tell

    found = checks(trial=not quick)
    marks = {"ok": "ok", "note": "note", "wrong": "WRONG"}
    say(table("hf-otw doctor", ["", "what", "found"], [[marks[c.state], c.name, c.text] for c in found], texts=3))
    wrong = [check for check in found if check.state == "wrong"]
    for check in wrong:
        tell(f"{check.name}: {check.text}. {check.remedy}", err=True)
    if wrong:
        raise typer.Exit(1)
