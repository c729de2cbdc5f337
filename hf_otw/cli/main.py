"""The entry of `hf-otw`: what goes wrong by the user's doing is told in a sentence, not by a traceback.

Exit codes: 0, it worked; 1, it did not, and the last line says why; 2, the command line was not understood; 130, it
was interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from hf_otw.cli.processes import leave_processes

#: Set it to see where an error comes from.
TRACEBACK = "HF_OTW_TRACEBACK"
#: What the library raises for mistakes that can be put right: in values, files, packages, the network.
EXPECTED = (ValueError, TypeError, ImportError, OSError)


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command and exit."""
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        from hf_otw.cli.app import app
        from hf_otw.cli.terminal import guarded, tell_uncaught
    except ImportError as error:
        sys.stderr.write(f'Error: The command line needs {error.name}. Run `pip install "hf_otw[cli]"`.\n')
        sys.exit(1)
    sys.excepthook = tell_uncaught
    with guarded():
        run(app, given)


def run(app: Callable[..., None], given: list[str]) -> None:
    """Run a command and exit, with what went wrong told."""
    from hf_otw.cli.terminal import fail

    worked = False
    try:
        app(args=given, obj=given)
    except SystemExit as end:
        worked = not end.code
        raise
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted. Files written so far stay, checkpoints of a run in its folder among them.\n")
        sys.exit(130)
    except RecursionError:
        if os.environ.get(TRACEBACK):
            raise
        fail("Expected values of a few levels, got some that are nested too deep. Flatten the file.")
    except EXPECTED as error:
        if os.environ.get(TRACEBACK):
            raise
        fail(str(error) or type(error).__name__)
    finally:
        leave_processes(together=worked)
