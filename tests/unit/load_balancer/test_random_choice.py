"""Choosing at random: how often, and which of two."""

from __future__ import annotations

import math

import pytest

from caching_proxy.load_balancer.balance_strategy import BalanceStrategy
from caching_proxy.load_balancer.random_choice import (
    LeastLatency,
    PowerOfTwoChoices,
    RandomChoice,
)
from caching_proxy.load_balancer.randomness import Random
from caching_proxy.load_balancer.server import Server
from caching_proxy.load_balancer.trial import Trial

from .servers import make_servers

NUMBER = 100_000
NOW = 1000.0  # monotonic seconds


def chi_square(counts: list[int], weights: list[int]) -> float:
    number = sum(counts)
    expected = [number * weight / sum(weights) for weight in weights]
    return sum((count - of) ** 2 / of for count, of in zip(counts, expected, strict=True))


def critical(freedom: int) -> float:
    """What chi square exceeds once in a thousand (Wilson and Hilferty 1931)."""
    part = 2 / (9 * freedom)
    return freedom * (1 - part + 3.0902 * math.sqrt(part)) ** 3


def test_critical_values_are_those_of_the_tables() -> None:
    tables = {1: 10.828, 2: 13.816, 9: 27.877, 100: 149.449}
    assert all(critical(freedom) == pytest.approx(at, 0.04) for freedom, at in tables.items())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "weights",
    [[1, 1, 1], [1] * 50, [5, 1, 1], [1, 2, 3, 4], [1000, 1], [7, 7, 7, 1, 1, 30], [*range(1, 99)]],
    ids=str,
)
def test_each_comes_as_often_as_its_share_says(weights: list[int], seed: int) -> None:
    counts = Trial(RandomChoice(Random(seed)), make_servers(*weights)).draw(NUMBER)
    assert sum(counts) == NUMBER
    assert chi_square(counts, weights) < critical(len(weights) - 1)


def test_what_came_before_says_nothing_of_what_comes() -> None:
    """All pairs in a row are equally likely."""
    servers = make_servers(1, 1, 1)
    trial = Trial(RandomChoice(Random(1)), servers)
    chosen = [servers.index(trial.pick()) for _ in range(NUMBER)]
    pairs = [0] * 9
    for first, second in zip(chosen[::2], chosen[1::2], strict=True):
        pairs[3 * first + second] += 1
    assert chi_square(pairs, [1] * 9) < critical(8)


def test_other_shares_count_at_once() -> None:
    servers = make_servers(1, 1, 1)
    trial = Trial(RandomChoice(Random(1)), servers)
    trial.build(servers[1:], [3, 1])
    assert chi_square(trial.draw(NUMBER), [3, 1]) < critical(1)


@pytest.mark.parametrize("kind", [RandomChoice, PowerOfTwoChoices, LeastLatency])
def test_a_single_server_is_chosen(kind: type[BalanceStrategy]) -> None:
    assert Trial(kind(), make_servers(3)).draw(10) == [10]


# -- the better one of two


def test_of_two_the_one_with_less_to_do_is_chosen() -> None:
    servers = make_servers(3, 1)
    trial = Trial(PowerOfTwoChoices(Random(1)), servers)
    for _ in range(1000):
        loads = [(server.in_flight + 1) / server.weight for server in servers]
        server = trial.pick()
        assert loads[servers.index(server)] == min(loads)
        while server.in_flight > 9:
            trial.release(server)


def test_the_busiest_of_all_is_never_chosen() -> None:
    servers = make_servers(1, 1, 1, 1, 1)
    trial = Trial(PowerOfTwoChoices(Random(1)), servers[:1])
    trial.pick()
    trial.build(servers)
    assert trial.draw(NUMBER)[0] == 0


def test_pairs_are_equally_likely() -> None:
    """Without any load it is the first of each that is chosen."""
    servers = make_servers(*[1] * 7)
    counts = Trial(PowerOfTwoChoices(Random(1)), servers).draw(NUMBER)
    assert chi_square(counts, [1] * 7) < critical(6)


def test_load_follows_the_shares() -> None:
    counts = Trial(PowerOfTwoChoices(Random(1)), make_servers(1, 2, 4)).draw(NUMBER, held=699)
    assert counts == [pytest.approx(NUMBER * weight / 7, rel=0.05) for weight in (1, 2, 4)]


# -- the faster one of two


def answered(*latencies: float) -> list[Server]:
    """Servers that took so long just now; 0: that did not answer yet."""
    servers = make_servers(*[1] * len(latencies))
    for server, seconds in zip(servers, latencies, strict=True):
        if seconds:
            server.latency.add(seconds, NOW)
    return servers


def by_latency(servers: list[Server], shares: list[int] | None = None) -> Trial:
    trial = Trial(LeastLatency(Random(1)), servers, shares)
    trial.strategy.clock = NOW
    return trial


def test_the_faster_one_is_chosen_and_the_slowest_never() -> None:
    first, second, third = by_latency(answered(0.01, 0.02, 0.03)).draw(NUMBER)
    assert third == 0
    assert chi_square([first, second], [2, 1]) < critical(1)


@pytest.mark.parametrize(
    "latencies, shares", [([0.01, 0.03], [1, 1]), ([0.02, 0.02], [3, 1])], ids=["faster", "larger"]
)
def test_requests_in_flight_count(latencies: list[float], shares: list[int]) -> None:
    """A server that is three times as fast, or as large, has three times as many at once."""
    servers = answered(*latencies)
    trial = by_latency(servers, shares)
    for _ in range(400):
        trial.pick()
    assert [server.in_flight for server in servers] == [300, 100]


def test_what_has_not_answered_yet_is_tried_first_with_one_request() -> None:
    servers = answered(0.01, 0)
    trial = by_latency(servers)
    assert trial.pick() is servers[1]
    assert {trial.pick() for _ in range(100)} == {servers[0]}
    trial.release(servers[1])
    assert trial.pick() is servers[1]


def test_a_slow_server_is_tried_again_after_a_while() -> None:
    servers = answered(0.01, 1.0)
    trial = by_latency(servers)
    assert trial.draw(100) == [100, 0]
    servers[0].latency.add(0.01, NOW + 60)
    trial.strategy.clock = NOW + 60
    assert trial.draw(100) == [0, 100]
