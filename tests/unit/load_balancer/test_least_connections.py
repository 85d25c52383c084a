"""The server with the fewest requests in flight, and turns among equals."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caching_proxy.load_balancer.least_connections import LeastConnections
from caching_proxy.load_balancer.server import Server
from caching_proxy.load_balancer.trial import Trial

from .servers import make_servers

SHARES = st.lists(st.integers(1, 12), min_size=1, max_size=20)


class Reference:
    """The same by looking at all of them."""

    def __init__(self) -> None:
        self.choices = 0
        self.chosen: dict[Server, int] = {}

    def pick(self, servers: list[Server], shares: list[int]) -> Server:
        def rank(slot: int) -> tuple[float, int, int]:
            server = servers[slot]
            return server.in_flight / shares[slot], self.chosen.get(server, 0), slot

        server = servers[min(range(len(servers)), key=rank)]
        self.choices += 1
        self.chosen[server] = self.choices
        return server


@settings(deadline=None, max_examples=40)
@given(SHARES, st.randoms(use_true_random=False))
def test_choices_are_those_of_a_search(shares: list[int], source: random.Random) -> None:
    servers = make_servers(*shares)
    trial, reference = Trial(LeastConnections(), servers), Reference()
    under_way: list[Server] = []
    for _ in range(400):
        if under_way and source.random() < 0.45:
            trial.release(under_way.pop(source.randrange(len(under_way))))
        else:
            expected = reference.pick(servers, shares)
            assert trial.pick() is expected
            under_way.append(expected)


@settings(deadline=None, max_examples=40)
@given(SHARES, st.randoms(use_true_random=False))
def test_the_least_is_chosen_through_changes(shares: list[int], source: random.Random) -> None:
    """Servers come and go, with other shares, while requests of theirs are in flight."""
    everyone = make_servers(*shares)
    trial = Trial(LeastConnections(), everyone)
    under_way: list[Server] = []
    for _ in range(20):
        servers = source.sample(everyone, source.randint(1, len(everyone)))
        shares = [source.randint(1, 5) for _ in servers]
        trial.build(servers, shares)
        for _ in range(20):
            if under_way and source.random() < 0.45:
                trial.release(under_way.pop(source.randrange(len(under_way))))
                continue
            loads = [
                server.in_flight / share for server, share in zip(servers, shares, strict=True)
            ]
            server = trial.pick()
            assert loads[servers.index(server)] == min(loads)
            under_way.append(server)


@pytest.mark.parametrize("size", [1, 2, 3, 8, 100])
def test_equals_take_turns(size: int) -> None:
    servers = make_servers(*[1] * size)
    trial = Trial(LeastConnections(), servers)
    for _ in range(3):
        for server in servers:
            assert trial.pick() is server
            trial.release(server)


def test_turns_go_on_through_changes() -> None:
    servers = make_servers(1, 1, 1)
    trial = Trial(LeastConnections(), servers[:2])
    chosen = []
    for healthy in (servers[:2], servers[:2], servers, servers[::-1], servers[::-1]):
        trial.build(healthy)
        server = trial.pick()
        trial.release(server)
        chosen.append(servers.index(server))
    assert chosen == [0, 1, 2, 0, 1]


def test_requests_follow_the_shares() -> None:
    servers = make_servers(1, 2, 5)
    trial = Trial(LeastConnections(), servers)
    for _ in range(80):
        trial.pick()
    assert [server.in_flight for server in servers] == [10, 20, 50]
