"""Many clients at a time, each of which asks for something new again and again."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from .backend_process import body_of
from .messages import IncompleteError, Response
from .raw_client import Address, RawClient
from .waiting import HungError, wait_until


class Answer(NamedTuple):
    """How one request went."""

    id: str
    """Of no other request; of a POST its X-Id."""
    took: float
    """Seconds."""
    status: int
    """0: it broke off, or there is none."""
    backend: str
    why: str
    """What is wrong with it, if anything."""


class Client(threading.Thread):
    """One client with one connection at a time. It sends nothing twice."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        super().__init__(name="client of a crowd")
        self.answers: list[Answer] = []
        self._crowd = crowd
        self._number = number
        self._connection: RawClient | None = None

    def run(self) -> None:
        while not self._crowd.ending.is_set():
            own = f"{self._crowd.name}-{self._number}-{len(self.answers)}"
            target = f"/{own}?size={self._crowd.size}"
            begun = time.monotonic()
            status, backend, why = self._ask(target, own)
            self.answers.append(Answer(own, time.monotonic() - begun, status, backend, why))
        self._drop()

    def _ask(self, target: str, own: str) -> tuple[int, str, str]:
        try:
            response = self._exchange(target, own)
        except (OSError, IncompleteError, HungError) as error:
            self._drop()
            return 0, "", f"{type(error).__name__}: {error}"
        if response.fields.get("connection") == "close":
            self._drop()
        right = response.status == 200 and response.body == body_of(target)
        why = "" if right else f"{target}: {response}"
        return response.status, response.fields.get("x-backend") or "", why

    def _exchange(self, target: str, own: str) -> Response:
        if self._connection is None:
            self._connection = RawClient(self._crowd.address)
        if self._crowd.method == "GET":
            return self._connection.get(target)
        return self._connection.request(self._crowd.method, target, {"X-Id": own}, b"body")

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Crowd:
    """The clients, and what they were answered."""

    def __init__(self, address: Address, clients: int, method: str, size: int) -> None:
        self.name = uuid.uuid4().hex[:8]
        self.address = address
        self.method = method
        self.size = size
        self.ending = threading.Event()
        self.clients = [Client(self, number) for number in range(clients)]

    @property
    def answers(self) -> list[Answer]:
        """All so far."""
        return [answer for client in self.clients for answer in client.answers]

    @property
    def wrong(self) -> list[Answer]:
        """Those that are not what was asked for."""
        return [answer for answer in self.answers if answer.why]

    @property
    def slowest(self) -> float:
        """Seconds."""
        return max(answer.took for answer in self.answers)

    def go_on(self, more: int) -> None:
        """Return when every client has had so many more answers."""
        wanted = [len(client.answers) + more for client in self.clients]
        wait_until(
            lambda: all(
                len(client.answers) >= number
                for client, number in zip(self.clients, wanted, strict=True)
            ),
            f"{more} more answers for every client",
        )

    def count(self, backend: str) -> int:
        """How many answers it has given so far."""
        return sum(answer.backend == backend for answer in self.answers)

    def wait_for(self, backend: str, more: int = 5) -> None:
        """Return when it has given so many more answers."""
        wanted = self.count(backend) + more
        wait_until(lambda: self.count(backend) >= wanted, f"{more} answers of {backend}")


@contextmanager
def crowd(
    address: Address, clients: int = 8, method: str = "GET", size: int = 200
) -> Iterator[Crowd]:
    """They have begun when the block does, and have all ended after it."""
    started = Crowd(address, clients, method, size)
    for client in started.clients:
        client.start()
    try:
        started.go_on(1)
        yield started
    finally:
        started.ending.set()
        for client in started.clients:
            client.join()
