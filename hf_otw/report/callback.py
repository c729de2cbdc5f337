"""Figures of the weights while they are learned: in the tracker that the trainer reports to, and as PNG files."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import Trainer, TrainerCallback

from hf_otw.report import figures
from hf_otw.report.trackers import sender_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PREFIX = "otw"


class FigureCallback(TrainerCallback):
    """Draws each class's share of the weight, and the weights inside each class, at the end of every epoch.

    Figures go to the trackers that the trainer reports to, as far as `hf_otw.report.trackers.TRACKERS` knows how
    (`report_to="tensorboard"`, `"wandb"`, `"mlflow"`, `"dvclive"`), and to files where a folder is given. Nothing is
    drawn before the first weights, for tasks with several weights an example, or on other processes than the first.

    Args:
        trainer: an `OTWeightedTrainer`, weighted.
        folder: for files `<step>_<figure>.png`.

    Example:
        >>> trainer.add_callback(FigureCallback(trainer, folder="out/figures"))
    """

    def __init__(self, trainer: Any, folder: str | Path | None = None) -> None:
        if not trainer.is_weighted:
            raise ValueError("Expected a trainer with weights, got weighting='none'. Leave the callback out.")
        self.trainer, self.folder = trainer, None if folder is None else Path(folder)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Draw what the weights are now."""
        if not state.is_world_process_zero or self.trainer.training_data.unit_counts is not None:
            return
        result, data = self.trainer.weights_result, self.trainer.training_data
        values = result.weights.double().cpu().numpy()
        if values.std() == 0:  # all 1: nothing was learned yet
            return
        labels = data.labels[data.train_units].cpu().numpy()
        counts = data.class_counts
        self._show("class_totals", figures.class_totals(data.class_names, counts, result.class_totals.tolist()), state)
        self._show("weights", figures.weights(data.class_names, counts, values, labels), state)

    def _show(self, name: str, figure: Figure, state: Any) -> None:
        for callback in self.trainer.callback_handler.callbacks:
            send = sender_of(callback)
            if send is not None:
                send(callback, f"{PREFIX}/{name}", figure, state.global_step)
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            figure.savefig(self.folder / f"{state.global_step:06}_{name}.png", dpi=figures.DPI)


def takes_figures(trainer: Trainer) -> bool:
    """Does the trainer report to a tracker that can be sent figures, and is there what draws them?"""
    if importlib.util.find_spec("matplotlib") is None:
        return False
    return any(sender_of(callback) is not None for callback in trainer.callback_handler.callbacks)
