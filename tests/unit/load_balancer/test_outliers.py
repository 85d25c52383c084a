"""Servers whose share of errors is far above that of others are left out."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from caching_proxy.configuration import configure
from caching_proxy.load_balancer.load_balancer import LoadBalancer


def states(errors: Sequence[int], requests: Sequence[int], looks: int = 4) -> list[str]:
    """What becomes of servers of which so many requests were answered with 500."""
    given = {"origin": "http://origin.example", "load_balance": True, "servers": ["a:1"]}
    settings = configure({**given, "eject_time": 60}, {}).origins["default"]
    balancer = LoadBalancer("default", settings, "round-robin")
    servers = [balancer.server(f"{number}:1") for number in range(len(errors))]
    balancer.set_servers(servers)
    for server, failing, asked in zip(servers, errors, requests, strict=True):
        others = [other for other in servers if other is not server]
        for number in range(asked):
            attempt = balancer.attempt(tried=others)
            assert attempt is not None and attempt.server is server
            attempt.hear(500 if number < failing else 200)
            attempt.finish()
    now = time.monotonic()
    for second in range(1, looks + 1):
        balancer.look(now + second)
    return [server.state for server in servers]


@pytest.mark.parametrize(
    ("errors", "requests", "expected"),
    [
        ((30, 0, 0), (100, 100, 100), ("ejected", "up", "up")),
        ((19, 0, 0), (100, 100, 100), ("up", "up", "up")),  # the gap is 20%
        ((30, 30, 0), (100, 100, 100), ("ejected", "ejected", "up")),
        ((30, 30, 30), (100, 100, 100), ("up", "up", "up")),  # somebody else's fault
        ((30, 20, 15), (100, 100, 100), ("up", "up", "up")),
        ((15, 0, 0), (15, 100, 100), ("up", "up", "up")),  # too few to tell
        ((1, 30, 0), (1, 100, 100), ("up", "ejected", "up")),
        ((50, 0, 0), (50, 5, 5), ("up", "up", "up")),  # too few others
        ((50, 0, 0), (50, 10, 10), ("ejected", "up", "up")),
        ((60, 55, 50, 45, 10, 10, 10), (100,) * 7, ("ejected",) * 4 + ("up",) * 3),
        ((50,), (50,), ("up",)),
    ],
)
def test_outliers(errors: Sequence[int], requests: Sequence[int], expected: Sequence[str]) -> None:
    assert states(errors, requests) == list(expected)


def test_some_stay_whatever_they_do() -> None:
    """The last 30% are needed."""
    assert states((100, 100, 100, 0), (100,) * 4).count("ejected") == 2
