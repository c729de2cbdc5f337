"""What of a recipe is nobody else's business."""

from __future__ import annotations

import re
from typing import Any

#: Keys whose values are nobody else's business, at any depth.
SECRET = re.compile(r"(^|_)(token|password|passwd|secret|api_?key|credentials?)$", re.IGNORECASE)


def without_secrets(values: Any) -> Any:
    """The same containers without keys that name a secret, such as `hub_token`."""
    if isinstance(values, dict):
        return {name: without_secrets(value) for name, value in values.items() if not SECRET.search(str(name))}
    return [without_secrets(value) for value in values] if isinstance(values, list) else values
