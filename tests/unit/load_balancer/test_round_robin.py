"""Taking turns: the exact sequence of nginx, whatever the weights, and through changes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caching_proxy.load_balancer.round_robin import RoundRobin, StickyCookie
from caching_proxy.load_balancer.server import Server
from caching_proxy.load_balancer.trial import Trial

from .servers import make_servers

WEIGHTS = st.lists(st.integers(1, 40), min_size=1, max_size=12)


def nginx(weights: list[int], number: int) -> list[int]:
    """Smooth weighted round robin, as plainly as can be."""
    currents = [0] * len(weights)
    chosen = []
    for _ in range(number):
        currents = [current + weight for current, weight in zip(currents, weights, strict=True)]
        best = currents.index(max(currents))
        currents[best] -= sum(weights)
        chosen.append(best)
    return chosen


def picks(trial: Trial, servers: list[Server], number: int) -> list[int]:
    return [servers.index(trial.pick()) for _ in range(number)]


@pytest.mark.parametrize(
    "weights, sequence",
    [
        ([5, 1, 1], "aabacaa"),
        ([5, 3], "abaababa"),
        ([1, 1, 1], "abc"),
        ([7, 7], "ab"),
        ([1, 2, 1], "bacb"),
        ([3], "a"),
    ],
)
def test_sequences(weights: list[int], sequence: str) -> None:
    servers = make_servers(*weights)
    chosen = picks(Trial(RoundRobin(), servers), servers, 3 * len(sequence))
    assert "".join("abc"[slot] for slot in chosen) == 3 * sequence


@given(WEIGHTS)
def test_sequence_is_that_of_nginx_also_when_replayed(weights: list[int]) -> None:
    servers = make_servers(*weights)
    number = 3 * sum(weights) + 5
    assert picks(Trial(RoundRobin(), servers), servers, number) == nginx(weights, number)


def test_a_sequence_too_long_to_remember_is_right_too() -> None:
    shares = [1_000_003, 999_983, 1]
    servers = make_servers(1, 1, 1)
    trial = Trial(RoundRobin(), servers, shares)
    assert picks(trial, servers, 10_000) == nginx(shares, 10_000)
    counts = trial.draw(sum(shares))
    assert all(abs(count - share) <= 1 for count, share in zip(counts, shares, strict=True))


def test_no_share_at_all_counts_as_the_least() -> None:
    servers = make_servers(1, 1)
    assert Trial(RoundRobin(), servers, [0, 3]).draw(8) == [2, 6]


def test_rotation_goes_on_through_changes() -> None:
    servers = make_servers(1, 1, 1, 1, 1)
    trial = Trial(RoundRobin(), servers)
    assert picks(trial, servers, 7) == [0, 1, 2, 3, 4, 0, 1]
    trial.build([server for server in servers if server is not servers[3]])
    assert picks(trial, servers, 6) == [2, 4, 0, 1, 2, 4]
    trial.build(servers[::-1])
    assert sorted(picks(trial, servers, 5)) == [0, 1, 2, 3, 4]


@settings(deadline=None, max_examples=30)
@given(WEIGHTS, st.integers(1, 60), st.randoms(use_true_random=False))
def test_changes_favour_nobody(weights: list[int], between: int, source: random.Random) -> None:
    """However often something else changes, each server has its share, give or take a few."""
    servers = make_servers(*weights)
    trial = Trial(RoundRobin(), servers)
    counts = [0] * len(weights)
    number = 0
    for _ in range(100):
        order = source.sample(servers, len(servers))
        trial.build(order)
        for slot in picks(trial, servers, between):
            counts[slot] += 1
            number += 1
    for count, weight in zip(counts, weights, strict=True):
        assert abs(count - number * weight / sum(weights)) < 3


def test_a_sequence_is_found_again_after_a_change() -> None:
    """The rounds after it are alike, with each server as often as its weight says."""
    weights = [5, 3, 1, 7]
    servers = make_servers(*weights)
    trial = Trial(RoundRobin(), servers, [1, 1, 1, 1])
    trial.draw(6)
    trial.build(servers)
    rounds = [picks(trial, servers, sum(weights)) for _ in range(6)]
    assert rounds[2] == rounds[3] == rounds[5]
    assert [rounds[2].count(slot) for slot in range(4)] == weights


def test_a_new_server_has_its_first_turn_within_a_round() -> None:
    servers = make_servers(1, 1, 1, 1)
    trial = Trial(RoundRobin(), servers[:3])
    for n in range(20):
        trial.build(servers[:3])
        picks(trial, servers, n)
        trial.build(servers)
        assert 3 in picks(trial, servers, 4)


def test_none_left_and_some_again() -> None:
    servers = make_servers(2, 1)
    trial = Trial(RoundRobin(), servers)
    trial.build([])
    trial.build(servers)
    assert trial.draw(300) == [200, 100]


# -- cookies


def test_a_cookie_leads_to_its_server() -> None:
    servers = make_servers(5, 1, 1)
    trial = Trial(StickyCookie(), servers)
    for server in servers * 3:
        assert trial.pick(server.session_id) is server


def test_without_a_cookie_or_with_an_unknown_one_servers_take_turns() -> None:
    servers = make_servers(5, 1, 1)
    for key in (0, 4711):
        trial = Trial(StickyCookie(), servers)
        assert [servers.index(trial.pick(key)) for _ in range(7)] == [0, 0, 1, 0, 2, 0, 0]


def test_a_drained_server_keeps_its_sessions() -> None:
    servers = make_servers(1, 1, 1)
    gone = servers[2]
    trial = Trial(StickyCookie(), servers)
    trial.mark(gone, drained=True)
    trial.build(servers[:2])
    assert trial.pick(gone.session_id) is gone
    assert picks(trial, servers, 4) == [0, 1, 0, 1]
    trial.release(gone)
    assert gone.in_flight == 0


@pytest.mark.parametrize(
    "troubles",
    [
        {"drained": False},
        {"drained": True, "down": True},
        {"drained": True, "leaving": True},
        {"drained": True, "ejected_until": 1e9},
    ],
    ids=str,
)
def test_a_server_that_fails_keeps_no_sessions(troubles: dict[str, bool]) -> None:
    servers = make_servers(1, 1, 1)
    trial = Trial(StickyCookie(), servers)
    trial.mark(servers[2], **troubles)
    trial.build(servers[:2])
    assert [servers.index(trial.pick(servers[2].session_id)) for _ in range(4)] == [0, 1, 0, 1]


def test_a_server_that_is_not_there_any_more_keeps_no_sessions() -> None:
    servers = make_servers(1, 1, 1)
    trial = Trial(StickyCookie(), servers)
    trial.mark(servers[2], drained=True)
    trial.enroll(servers[:2])
    assert trial.pick(servers[2].session_id) is servers[0]
