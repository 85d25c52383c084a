"""Steady load by clients that do what HTTP clients do.

A request is sent once more only when it went out on a connection that was used before and that
closed before an octet of the answer came (RFC 9112 9.3.1); everything else counts as a failure.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .messages import IncompleteError, PeerResetError, Response
from .raw_client import Address, RawClient
from .waiting import wait_until


class Client(threading.Thread):
    """One client with one connection at a time."""

    def __init__(self, address: Address, target: str, ending: threading.Event) -> None:
        super().__init__(name="steady client")
        self.answered = 0
        self.failures: list[str] = []
        self._address = address
        self._target = target
        self._ending = ending
        self._connection: RawClient | None = None
        self._used = False

    def run(self) -> None:
        while not self._ending.is_set():
            try:
                response = self._once() or self._once()
                if response is None or response.status != 200:
                    self.failures.append(f"{response}")
                self.answered += 1
            except (OSError, IncompleteError) as error:
                self.failures.append(f"{type(error).__name__}: {error}")
                self._drop()
        self._drop()

    def _once(self) -> Response | None:
        """The answer; None where the connection turned out to be closed already."""
        if self._connection is None:
            self._connection = RawClient(self._address)
            self._used = False
        connection = self._connection
        try:
            response = connection.get(self._target)
        except (OSError, IncompleteError, PeerResetError):
            stale = self._used and not connection.stream.buffer
            self._drop()
            if stale:
                return None
            raise
        self._used = True
        if response.fields.get("connection") == "close":
            self._drop()
        return response

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@contextmanager
def steady(address: Address, target: str, clients: int) -> Iterator[list[Client]]:
    """So many clients, which ask all the time; they have begun when the block does."""
    ending = threading.Event()
    started = [Client(address, target, ending) for _ in range(clients)]
    for client in started:
        client.start()
    wait_until(lambda: all(client.answered for client in started), "every client's first answer")
    try:
        yield started
    finally:
        ending.set()
        for client in started:
            client.join()


def failures(clients: list[Client]) -> list[str]:
    """What went wrong for any of them."""
    return [failure for client in clients for failure in client.failures]


def go_on(clients: list[Client], more: int) -> None:
    """Return when every client has had so many more answers."""
    before = [client.answered for client in clients]
    wait_until(
        lambda: all(
            client.answered >= count + more for client, count in zip(clients, before, strict=True)
        ),
        f"{more} more answers for every client",
    )
