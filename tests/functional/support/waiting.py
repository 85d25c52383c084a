"""Waiting for conditions, always with a bound and a name for what was waited for."""

from __future__ import annotations

import time
from collections.abc import Callable

DEADLINE = 30.0
"""Seconds after which anything that has not happened counts as hung."""

_PAUSE = 0.01


class HungError(AssertionError):
    """What was waited for did not happen within the bound."""


def wait_until(condition: Callable[[], object], what: str, *, seconds: float = DEADLINE) -> None:
    """Return once the condition is true; raise `HungError`, naming `what`, after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise HungError(f"waited {seconds:g} s in vain for: {what}")
        time.sleep(_PAUSE)
