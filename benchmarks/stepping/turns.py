"""Several trainings in one process that take turns, a step each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from transformers import PrinterCallback, Trainer, TrainerCallback

from benchmarks.timing import synchronise


class Turn(NamedTuple):
    """What a step took: on the clock, of the processor, and in each part, in milliseconds."""

    wall_ms: float
    cpu_ms: float
    parts: dict[str, float]


class Turns(TrainerCallback):
    """Runs `trainer.train()` in a thread of its own that stops after every step until it is its turn again.

    A turn is all that the Trainer does from the end of one step to the end of the next.

    Args:
        trainer: to run.
        device: `cpu` or `cuda`.
    """

    def __init__(self, trainer: Trainer, device: str) -> None:
        self.trainer, self.device = trainer, device
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._threads = torch.get_num_threads()
        self._error: BaseException | None = None
        self._ending = False
        self._parts: dict[str, float] = {}
        trainer.add_callback(self)
        trainer.remove_callback(PrinterCallback)
        self._watch("forward and loss", trainer, "compute_loss")
        self._thread = threading.Thread(target=self._train, daemon=True)
        self._thread.start()

    def step(self) -> Turn:
        """One step."""
        self._parts.clear()
        synchronise(self.device)
        started, cpu = time.perf_counter(), time.process_time()
        self._go.release()
        self._done.acquire()
        synchronise(self.device)
        turn = Turn(1000 * (time.perf_counter() - started), 1000 * (time.process_time() - cpu), dict(self._parts))
        if self._error is not None:
            raise self._error
        return turn

    def end(self) -> None:
        """Let the training come to its end."""
        self._ending = True
        self._go.release()
        self._thread.join()

    def on_train_begin(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        """Watch what exists only now."""
        session = self._session()
        if session is not None:
            self._watch("weighting, before the forward pass", session, "before_forward")
            self._watch("weighting, after it", session, "weights")
            self._watch("meta term", self.trainer, "_meta_loss")

    def on_step_end(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        """Wait for the next turn."""
        self._done.release()
        self._go.acquire()
        control.should_training_stop = self._ending

    def _session(self) -> Any:
        return self.trainer._session if hasattr(self.trainer, "_session") else None

    def _train(self) -> None:
        torch.set_num_threads(self._threads)
        self._go.acquire()
        try:
            self.trainer.train()
        except BaseException as error:  # noqa: BLE001 - raised again where the turn was given
            self._error = error
        self._done.release()

    def _watch(self, part: str, owner: Any, name: str) -> None:
        work: Callable[..., Any] = getattr(owner, name)

        def watched(*args: Any, **keywords: Any) -> Any:
            started = time.perf_counter()
            found = work(*args, **keywords)
            self._parts[part] = self._parts.get(part, 0.0) + 1000 * (time.perf_counter() - started)
            return found

        setattr(owner, name, watched)
