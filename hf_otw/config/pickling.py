"""Arguments that can be stored without the user's token."""

from __future__ import annotations

import copy
from typing import Any


class PickledWithoutToken:
    """Leave `hub_token` out of every pickle.

    The Trainer pickles its arguments into `training_args.bin`, beside the model, and uploads that file with it. Copies
    inside the process keep the token: they are not stored.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "hub_token": None}

    def __copy__(self) -> Any:
        return self._with({**self.__dict__})

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self._with(copy.deepcopy(self.__dict__, memo))

    def _with(self, state: dict[str, Any]) -> Any:
        made = type(self).__new__(type(self))
        made.__dict__.update(state)
        return made
