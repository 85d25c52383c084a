"""Requests all the while, each of which has to be answered rightly and in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .proxy import ProxyProcess
from .scripted_origin import Exchange, ScriptedOrigin, answer
from .waiting import wait_until

TIMEOUT = 0.05  # seconds: the default of --redis-timeout
SLACK = 2.0  # seconds that a busy machine may add
TARGETS = [f"/load/{number}" for number in range(40)]


def echo(exchange: Exchange) -> None:
    """A small response that may be stored for a second, so that Redis is asked again and again."""
    exchange.read_body()
    body = exchange.request.target.encode()
    exchange.send(answer("200 OK", {"Cache-Control": "max-age=1"}, body))


class Load:
    """Requests one after the other, each of which has to be answered in time."""

    def __init__(self, proxy: ProxyProcess) -> None:
        self._proxy = proxy
        self.over = threading.Event()
        self.number = 0
        self.slowest = 0.0
        self.wrong: list[str] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with self._proxy.client() as client:
            while not self.over.is_set():
                target = TARGETS[self.number % len(TARGETS)]
                begun = time.monotonic()
                try:
                    response = client.get(target)
                except Exception as error:  # the test has to hear of it
                    self.wrong.append(repr(error))
                    return
                self.slowest = max(self.slowest, time.monotonic() - begun)
                if (response.status, response.body) != (200, target.encode()):
                    self.wrong.append(f"{target}: {response}")
                self.number += 1

    def wait_for(self, more: int) -> None:
        """Let as many requests be answered."""
        enough = self.number + more
        wait_until(lambda: self.number >= enough or self.wrong, f"{more} answers")

    def end(self) -> None:
        self.over.set()
        self._thread.join()
        assert not self.wrong, self.wrong[:3]
        assert self.slowest < TIMEOUT + SLACK, f"one took {self.slowest:.2f} s"


@contextmanager
def load(proxy: ProxyProcess, origin: ScriptedOrigin) -> Iterator[Load]:
    """Requests all the while."""
    for target in TARGETS:
        origin.on(target, echo)
    found = Load(proxy)
    try:
        found.wait_for(20)
        yield found
        found.wait_for(20)
    finally:
        found.end()
