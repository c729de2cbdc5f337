"""Send figures to the trackers that the trainer reports to: one function per callback of transformers."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback
from transformers.integrations import DVCLiveCallback, MLflowCallback, TensorBoardCallback, WandbCallback

from hf_otw.report.figures import DPI

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

#: `(callback of the host, name such as "otw/weights", figure, optimizer step)`: sends the figure to its run.
Send = Callable[[Any, str, "Figure", int], None]


def to_tensorboard(callback: Any, name: str, figure: Figure, step: int) -> None:
    """As an image of the event file that the callback writes."""
    if callback.tb_writer is not None:
        callback.tb_writer.add_figure(name, figure, global_step=step)


def to_wandb(callback: Any, name: str, figure: Figure, step: int) -> None:
    """As media of the current run, on the step axis of the callback's numbers."""
    if callback._wandb is not None and callback._wandb.run is not None:
        callback._wandb.log({name: callback._wandb.Image(picture(figure)), "train/global_step": step})


def to_mlflow(callback: Any, name: str, figure: Figure, step: int) -> None:
    """As an artifact of the active run, `otw/weights/000120.png`."""
    if callback._ml_flow.active_run() is not None:
        callback._ml_flow.log_figure(figure, f"{name}/{step:06}.png", save_kwargs={"dpi": DPI})


def to_dvclive(callback: Any, name: str, figure: Figure, step: int) -> None:
    """As a picture of the experiment, `plots/images/otw/weights/120.png`: DVC shows those of a folder in turn."""
    if callback.live is not None:
        callback.live.log_image(f"{name}/{step}.png", picture(figure))


#: Callbacks of transformers whose tracker gets figures. Of the others' (`report_to="comet_ml"` and so on) none was
#: tried with its client: they get the numbers alone.
TRACKERS: dict[type[TrainerCallback], Send] = {
    TensorBoardCallback: to_tensorboard,
    WandbCallback: to_wandb,
    MLflowCallback: to_mlflow,
    DVCLiveCallback: to_dvclive,
}


def sender_of(callback: TrainerCallback) -> Send | None:
    """Return the function that sends a figure to this callback's tracker, or None; a subclass uses its parent's."""
    return next((send for kind, send in TRACKERS.items() if isinstance(callback, kind)), None)


def picture(figure: Figure) -> Image:
    """A figure as pixels, for clients that would draw it in a window otherwise."""
    from PIL import Image as images

    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI)
    return images.open(file)
