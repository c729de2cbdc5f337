"""Progress of a training run: a bar in a terminal, a line at each log where the output goes to a file."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback

from hf_otw.cli.terminal import tell


def silence() -> None:
    """Switch off the bars and remarks of the libraries below, which would run across our own."""
    import datasets
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()


class RichProgress(TrainerCallback):
    """One bar for training, one for each evaluation, with the latest loss and effective sample size."""

    def __init__(self) -> None:
        self.progress: Progress | None = None
        self.training: Any = None
        self.evaluation: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the display."""
        if state.is_world_process_zero:
            columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
            console = Console(stderr=True)
            self.progress = Progress(
                TextColumn("{task.description}"), *columns, console=console, disable=not console.is_terminal
            )
            self.progress.start()
            self.training = self.progress.add_task("train", total=state.max_steps, note="")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move the bar."""
        if self.progress is not None:
            self.progress.update(self.training, completed=state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        """Show loss and effective sample size."""
        logs = logs or {}
        if self.progress is not None and self.progress.disable and "loss" in logs:
            print_line(state, logs)
        if self.progress is not None and "loss" in logs:
            ess = f"  ess {logs['otw/ess']:,.0f}" if "otw/ess" in logs else ""
            self.progress.update(self.training, note=f"loss {logs['loss']:.3f}{ess}")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close the display."""
        if self.progress is not None:
            self.progress.stop()
            self.progress = None


def print_line(state: Any, logs: dict[str, float]) -> None:
    """Say how far training is, where there is no terminal for a bar."""
    ess = f", effective sample size {logs['otw/ess']:,.0f}" if "otw/ess" in logs else ""
    tell(f"step {state.global_step:,} of {state.max_steps:,}: loss {logs['loss']:.3f}{ess}", err=True)
