"""The event loop and the signals that a proxy heeds."""

from __future__ import annotations

import asyncio
import importlib
import os
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


class Orders:
    """What is asked for and not heeded yet: each once, END before all others."""

    def __init__(self) -> None:
        self.ending = asyncio.Event()
        """END has been asked for; it stays so."""
        self._asked: list[str] = []
        self._given = asyncio.Event()

    def give(self, order: str) -> None:
        """Ask for END, RELOAD or UPGRADE."""
        if order == END:
            self.ending.set()
        elif order not in self._asked:
            self._asked.append(order)
        self._given.set()

    async def next(self) -> str:
        """The next one to heed."""
        while not self.ending.is_set() and not self._asked:
            self._given.clear()
            await self._given.wait()
        return END if self.ending.is_set() else self._asked.pop(0)


def heed_signals(orders: Orders, at_once: Callable[[], None]) -> None:
    """Have signals give orders. Of a second SIGTERM or SIGINT the process dies, after `at_once`."""
    loop = asyncio.get_running_loop()

    def end(signum: int, frame: FrameType | None) -> None:
        if orders.ending.is_set():  # by the control API
            exit_now(signum, frame)
        for number in _END:
            signal.signal(number, exit_now)
        loop.call_soon_threadsafe(orders.give, END)

    def exit_now(signum: int, frame: FrameType | None) -> None:
        at_once()
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)
        os._exit(128 + signum)  # process 1 of a container does not die of it

    def other(signum: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(orders.give, _OTHERS[signal.Signals(signum)])

    for number in _END:
        signal.signal(number, end)
    for number in _OTHERS:
        signal.signal(number, other)


def ignore_signals() -> None:
    """All is done: no signal changes how the process ends, but that of a terminal cuts it short."""
    for number in (signal.SIGTERM, *_OTHERS):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _runner() -> Callable[[Coroutine[Any, Any, None]], None]:
    for name in ("uvloop", "winloop"):
        try:
            runner: Callable[[Coroutine[Any, Any, None]], None] = importlib.import_module(name).run
        except ImportError:
            continue
        return runner
    return asyncio.run
