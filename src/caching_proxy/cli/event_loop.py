"""The event loop and the signals that end it."""

from __future__ import annotations

import asyncio
import importlib
import signal
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any

_END = (signal.SIGTERM, signal.SIGINT)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run to the end on uvloop, on Windows winloop; without either, on asyncio's own loop."""
    _runner()(main)


def end_requested() -> asyncio.Event:
    """An event that the first SIGTERM or SIGINT sets; a second one ends the process at once."""
    loop = asyncio.get_running_loop()
    requested = asyncio.Event()

    def request(signum: int, frame: FrameType | None) -> None:
        for number in _END:
            signal.signal(number, signal.SIG_DFL)
        loop.call_soon_threadsafe(requested.set)

    for number in _END:
        signal.signal(number, request)
    return requested


def _runner() -> Callable[[Coroutine[Any, Any, None]], None]:
    for name in ("uvloop", "winloop"):
        try:
            runner: Callable[[Coroutine[Any, Any, None]], None] = importlib.import_module(name).run
        except ImportError:
            continue
        return runner
    return asyncio.run
