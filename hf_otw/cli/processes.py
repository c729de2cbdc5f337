"""The end of a run of several processes."""

from __future__ import annotations

import sys


def leave_processes(*, together: bool) -> None:
    """Leave the process group of a launched run, if there is one, or torch warns of it.

    Args:
        together: wait for the other processes first. One that goes while its threads still talk to the others can
            abort after all its work is done. After an error the others may never come.
    """
    distributed = getattr(sys.modules.get("torch"), "distributed", None)
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return
    if together:
        distributed.barrier()
    distributed.destroy_process_group()
