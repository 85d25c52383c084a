"""The event loop and the signals that a proxy heeds."""

from __future__ import annotations

import asyncio
import importlib
import signal
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any

END, RELOAD, UPGRADE = "end", "reload", "upgrade"

_END = (signal.SIGTERM, signal.SIGINT)
# Those that the system has.
_OTHERS = {
    getattr(signal, name): order
    for name, order in (("SIGHUP", RELOAD), ("SIGUSR2", UPGRADE))
    if hasattr(signal, name)
}


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run to the end on uvloop, on Windows winloop; without either, on asyncio's own loop."""
    _runner()(main)


def orders() -> asyncio.Queue[str]:
    """What signals ask for: END, RELOAD, UPGRADE. A second SIGTERM or SIGINT ends the process."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[str] = asyncio.Queue()

    def end(signum: int, frame: FrameType | None) -> None:
        for number in _END:
            signal.signal(number, signal.SIG_DFL)
        loop.call_soon_threadsafe(queue.put_nowait, END)

    def other(signum: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, _OTHERS[signal.Signals(signum)])

    for number in _END:
        signal.signal(number, end)
    for number in _OTHERS:
        signal.signal(number, other)
    return queue


def _runner() -> Callable[[Coroutine[Any, Any, None]], None]:
    for name in ("uvloop", "winloop"):
        try:
            runner: Callable[[Coroutine[Any, Any, None]], None] = importlib.import_module(name).run
        except ImportError:
            continue
        return runner
    return asyncio.run
