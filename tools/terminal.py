"""What commands look like in a terminal, as a picture for the pages: `python -m tools.terminal` makes it anew.

The commands run for real; what they print is drawn by rich, without the fonts that it would load from elsewhere.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
import tempfile
from pathlib import Path
from unittest import mock

from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).parents[1] / "docs" / "assets" / "terminal.svg"
COMMANDS = ("hf-otw train digits-plain", "hf-otw train digits --baseline runs/digits-plain")
WIDTH = 84
#: Of rich's drawing: a face that a page would load from elsewhere.
FONT_FACE = re.compile(r"@font-face\s*\{.*?\}", re.DOTALL)


def output(command: str) -> str:
    """What a command prints, with the colours of a terminal.

    Raises:
        RuntimeError: the command failed.
    """
    from hf_otw.cli.main import main

    text = io.StringIO()
    environment = {"COLUMNS": str(WIDTH), "FORCE_COLOR": "1", "TTY_COMPATIBLE": "1"}
    quiet = contextlib.redirect_stderr(io.StringIO())  # the bars
    with mock.patch.dict(os.environ, environment), contextlib.redirect_stdout(text), quiet:
        try:
            main(shlex.split(command)[1:])
        except SystemExit as ended:
            if ended.code:
                raise RuntimeError(f"Expected {command!r} to succeed, got exit code {ended.code}.") from ended
    return text.getvalue().rstrip()


def drawing(commands: tuple[str, ...] = COMMANDS) -> str:
    """Run the commands in an empty folder and draw the terminal."""
    screen = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    start = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for command in commands:
                screen.print(Text(f"$ {command}", style="bold"))
                screen.print(Text.from_ansi(output(command)))
        finally:
            os.chdir(start)
    made = FONT_FACE.sub("", screen.export_svg(title="hf-otw", unique_id="terminal"))
    return re.sub(r"[ \t]+$", "", made.replace("Fira Code", "ui-monospace"), flags=re.MULTILINE)


def main() -> None:
    """Write the picture."""
    PICTURE.write_text(drawing(), encoding="utf-8")
    sys.stdout.write(f"Written: {PICTURE}\n")


if __name__ == "__main__":
    main()
