"""What is counted of a request at a server, whatever comes of it."""

from __future__ import annotations

import time

import pytest

from caching_proxy.configuration import configure
from caching_proxy.load_balancer.load_balancer import LoadBalancer
from caching_proxy.load_balancer.server import Server


def balancing(**more: object) -> tuple[LoadBalancer, list[Server]]:
    given = {"origin": "http://origin.example", "load_balance": True, "servers": ["a:1"], **more}
    balancer = LoadBalancer("default", configure(given, {}).origins["default"], "round-robin")
    servers = [balancer.server("a:1"), balancer.server("b:1")]
    balancer.set_servers(servers)
    return balancer, servers


@pytest.mark.parametrize(
    ("status", "breaks_off", "errors", "failures"),
    [
        (200, False, 0, 0),
        (500, False, 1, 0),
        (503, False, 1, 1),
        (None, True, 1, 1),
        (200, True, 1, 1),
        (500, True, 1, 1),
        (503, True, 1, 1),
    ],
)
def test_each_counts_once(status: int | None, breaks_off: bool, errors: int, failures: int) -> None:
    balancer, servers = balancing()
    for _ in servers:
        attempt = balancer.attempt()
        assert attempt is not None
        if status is not None:
            attempt.hear(status)
        if breaks_off:
            attempt.fail()
        attempt.finish()
    now = time.monotonic()
    for server in servers:
        assert (server.in_flight, server.requests, server.errors) == (0, 1, errors)
        assert server.window.totals(now) == (1, errors, failures, 0)
        for second in range(1, 11):  # each drops a bucket, as with steady traffic
            left = server.window.totals(now + second)
        assert left == (0, 0, 0, 0)


def test_answers_that_break_off_open_the_circuit() -> None:
    balancer, servers = balancing(eject_after=0, eject_gap=0)
    while servers[0].circuit.name == servers[1].circuit.name == "closed":
        attempt = balancer.attempt()
        assert attempt is not None
        attempt.hear(200)
        if attempt.server is servers[0]:
            attempt.fail()
        attempt.finish()
        assert servers[0].requests <= 20, "half of 20 are enough"
    assert servers[0].circuit.name == "open"
