"""Whatever becomes of requests: none that is over is counted as in flight, and no place is lost."""

from __future__ import annotations

import contextlib
import select
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from random import Random

import pytest

from .support.backend_process import Behaviour
from .support.balancing import DELAY, WELL, Balanced, balanced
from .support.crowd import crowd
from .support.messages import IncompleteError
from .support.raw_client import RawClient
from .support.waiting import wait_until

CLIENTS = 8
TURNS = 40  # of each client
CHANGES = 32  # of what a backend does, meanwhile
TARGETS = ("/{}", "/{}?size=100000", "/{}?size=60000&age=60", "/shared?age=1", "/shared?size=70000")
BEHAVIOURS = (
    WELL,
    Behaviour(0.1),
    Behaviour(0.7),  # longer than the head may take
    Behaviour(DELAY, share=0.4, status=500),
    Behaviour(DELAY, share=0.5, status=503),
    Behaviour(DELAY, share=0.5, reset="head"),
    Behaviour(DELAY, share=0.5, reset="body", after=50),
    Behaviour(DELAY, share=0.5, reset="body", after=69_999),
    Behaviour(reset="accept"),
)
SHORT = ("--origin-head-timeout", "300ms", "--eject-time-max", "500ms")
LIMITED = ("--queue-size", "4", "--queue-timeout", "200ms", "--origin-deadline", "600ms")


class Unruly(threading.Thread):
    """A client that waits for some answers, and leaves at any moment before others."""

    def __init__(self, stand: Balanced, seed: int) -> None:
        super().__init__(name="unruly client")
        self.turns = 0
        self._proxy = stand.proxy
        self._seed = seed
        self._random = Random(seed)

    def run(self) -> None:
        for self.turns in range(1, TURNS + 1):
            with self._proxy.client() as client:
                self._turn(client)

    def _turn(self, client: RawClient) -> None:
        method = self._random.choice(["GET", "GET", "GET", "HEAD", "POST", "PUT"])
        target = self._random.choice(TARGETS).format(f"{self._seed}-{self.turns}")
        fields, body = {"X-Id": target}, b""
        if method in ("POST", "PUT"):
            fields["Content-Length"], body = "4", self._random.choice([b"body", b"body", b"bo"])
        client.send(client.head(method, target, fields) + body)
        if len(body) == 2 or self._random.random() < 0.6:
            self._leave(client)
            return
        with contextlib.suppress(IncompleteError):
            client.response(method)

    def _leave(self, client: RawClient) -> None:
        """At once, or when something has come, or nothing for a while."""
        for _ in range(self._random.randrange(3)):
            if select.select([client.sock], [], [], self._random.uniform(0, 0.05))[0]:
                with contextlib.suppress(ConnectionResetError):
                    client.sock.recv(self._random.choice([1, 500, 65536]))
        self._random.choice([client.close, client.reset, client.half_close])()


def wait_turns(clients: Sequence[Unruly], number: int) -> None:
    wait_until(lambda: sum(client.turns for client in clients) >= number, f"{number} turns")


def misbehave(stand: Balanced, seed: int) -> None:
    """Clients and backends do what they should not; in the end backends are in order again."""
    random = Random(seed)
    clients = [Unruly(stand, seed + number) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    for change in range(CHANGES):
        wait_turns(clients, change * TURNS * CLIENTS // CHANGES)
        random.choice(stand.servers).behave(random.choice(BEHAVIOURS))
    for client in clients:
        client.join()
    for backend in stand.servers:
        backend.behave(WELL)


@pytest.mark.parametrize(
    ("strategy", "each", "more"),
    [
        ("weighted-round-robin", "1", ()),
        ("least-connections", "1 max_connections=2", LIMITED),
        ("power-of-two-choices", "1", ("--circuit-min-requests", "5")),
        ("consistent-hash", "1 max_connections=1", LIMITED),
        ("random", "1", ("--workers", "2")),
    ],
)
def test_any_mix(strategy: str, each: str, more: tuple[str, ...]) -> None:
    with balanced("--strategy", strategy, *SHORT, *more, each=each) as stand:
        misbehave(stand, 1)
        stand.wait_idle()
        for server in stand.origin()["servers"]:
            assert 0 < server["errors"] <= server["requests"], server
        for backend in stand.servers:
            stand.wait_state(backend, "up", "circuit half-open")
        with crowd(stand.proxy.address, 3) as gets:
            for backend in stand.servers:
                gets.wait_for(backend.name)
        assert not gets.wrong, gets.wrong[:3]


# --- the queue ---


def test_places_in_the_queue() -> None:
    """Those who wait get their turn, those who leave make room, and who finds none is told."""
    limits = ("--queue-size", "4", "--queue-timeout", "20s", "--origin-head-timeout", "20s")
    with balanced(*limits, each="1 max_connections=1") as stand, ExitStack() as stack:
        for backend in stand.servers:
            backend.hang()

        def sent(number: int) -> list[RawClient]:
            clients = [stack.enter_context(stand.proxy.client()) for _ in range(number)]
            for client in clients:
                client.send(client.head("GET", f"/{id(client)}"))
            stand.proxy.barrier()
            return clients

        served = sent(3)
        waiting = sent(4)
        assert stand.origin()["waiting"] == 4
        (refused,) = sent(1)
        response = refused.response()
        assert (response.status, int(response.fields["retry-after"]) > 0) == (503, True)
        waiting.pop().reset()
        wait_until(lambda: stand.origin()["waiting"] == 3, "one to have left the queue")
        waiting += sent(1)
        served.pop().reset()
        wait_until(lambda: stand.origin()["waiting"] == 3, "one to have got its place")
        waiting[0].half_close()  # that is not to leave: it may wait for its answer
        for backend in stand.servers:
            backend.go_on()
        for client in served + waiting:
            assert client.response().status == 200
        assert stand.origin()["turned_away"] == 1


def test_who_waits_too_long_is_told() -> None:
    limits = ("--queue-timeout", "300ms", "--origin-head-timeout", "20s")
    with balanced(*limits, number=1, each="1 max_connections=1") as stand:
        (backend,) = stand.servers
        backend.hang()
        with stand.proxy.client() as served, stand.proxy.client() as waiting:
            served.send(served.head("GET", "/served"))
            stand.proxy.barrier()
            begun = time.monotonic()
            response = waiting.get("/waiting")
            assert time.monotonic() - begun >= 0.3
            assert (response.status, int(response.fields["retry-after"]) > 0) == (503, True)
            backend.go_on()
            assert served.response().status == 200
            assert waiting.get("/again").status == 200
