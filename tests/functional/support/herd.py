"""Many clients at the same time, and origins that hold their answers until a test lets them go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from .proxy import ProxyProcess
from .raw_client import RawClient
from .scripted_origin import Exchange, Script
from .waiting import DEADLINE

Numbered = Callable[[int], Mapping[str, str]]


class Held:
    """A script that tells when it is asked, and goes on when the test lets it."""

    def __init__(self, *pieces: bytes | Script) -> None:
        self.asked = threading.Event()
        self._pieces = pieces
        self._released = [threading.Event() for _ in pieces]

    def __call__(self, exchange: Exchange) -> None:
        self.asked.set()
        for piece, released in zip(self._pieces, self._released, strict=True):
            exchange.wait(released, "the test to release it")
            if isinstance(piece, bytes):
                exchange.send(piece)
            else:
                piece(exchange)

    def release(self, *numbers: int) -> None:
        """Let these pieces go, or all."""
        for number in numbers or range(len(self._released)):
            self._released[number].set()

    def wait_asked(self) -> None:
        assert self.asked.wait(DEADLINE), "the origin was not asked"


class Together:
    """A script that answers only when as many requests are there at the same time."""

    def __init__(self, count: int, reply: Callable[[Exchange], bytes]) -> None:
        self._reply = reply
        self._missing = count
        self._complete = threading.Event()
        self._lock = threading.Lock()

    def __call__(self, exchange: Exchange) -> None:
        with self._lock:
            self._missing -= 1
            if self._missing == 0:
                self._complete.set()
        exchange.wait(self._complete, f"{self._missing} more requests in parallel")
        exchange.send(self._reply(exchange))


@contextmanager
def crowd(
    proxy: ProxyProcess, count: int, target: str, fields: Numbered = lambda n: {}
) -> Iterator[list[RawClient]]:
    """Clients whose requests the proxy has read, one and the same, or with fields by number."""
    with ExitStack() as stack:
        clients = [stack.enter_context(proxy.client()) for _ in range(count)]
        for number, client in enumerate(clients):
            client.send(client.head("GET", target, fields(number)))
        proxy.barrier()
        yield clients
