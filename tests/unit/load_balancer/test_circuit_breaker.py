"""The circuit of a server: closed, open, half-open."""

from __future__ import annotations

from time import monotonic

import pytest

from caching_proxy.load_balancer.load_balancer import Attempt, LoadBalancer

from .balanced import ask, balancer, fail, settings, states, who

ALWAYS = {"eject_after": 0, "eject_gap": 0, "slow_start": 0}
"""No ejection: the circuit alone decides."""


def opened(**given: object) -> LoadBalancer:
    """Two servers; the circuit of a is open."""
    found = balancer(2, **{**ALWAYS, "circuit_min_requests": 4, **given})
    fail(found, "a", 4)
    assert found.servers[0].circuit.name == "open"
    return found


def take(found: LoadBalancer) -> Attempt:
    attempt = found.attempt()
    assert attempt is not None
    return attempt


def test_it_opens_when_enough_of_enough_requests_fail() -> None:
    found = balancer(2, **ALWAYS, circuit_error_rate=50, circuit_min_requests=10)
    fail(found, "a", 5)
    for _ in range(8):
        ask(found)
    assert found.servers[0].circuit.name == "closed"  # 5 of 9
    fail(found, "a", 1)
    assert states(found) == {"a": "circuit open", "b": "up"}
    assert who(found) == {"b"}


def test_below_the_rate_it_stays_closed() -> None:
    found = balancer(1, **ALWAYS, circuit_error_rate=50, circuit_min_requests=10)
    for number in range(100):
        ask(found, None if number % 3 == 2 else 200)
    assert found.servers[0].circuit.name == "closed"


def test_500_is_no_failure_of_the_server() -> None:
    found = balancer(1, **ALWAYS)
    for _ in range(100):
        ask(found, 500)
    assert found.servers[0].circuit.name == "closed"


def test_what_is_long_past_does_not_count() -> None:
    found = balancer(1, **ALWAYS, circuit_min_requests=10)
    window = found.servers[0].window
    for _ in range(9):
        ask(found, None)
    window.totals(monotonic() + 30)
    ask(found, None)
    assert found.servers[0].circuit.name == "closed"


def test_half_open_lets_a_few_through_and_closes_when_they_go_well() -> None:
    found = opened(circuit_open_time=5, circuit_trials=3)
    now = monotonic()
    found.look(now + 4.9)
    assert states(found)["a"] == "circuit open"
    found.look(now + 5.1)
    assert states(found)["a"] == "circuit half-open"
    held = [take(found) for _ in range(20)]
    trials = [one for one in held if one.server.name == "a"]
    assert len(trials) == 3
    for one in held:
        one.hear(200)
        one.finish()
    assert states(found)["a"] == "up"


def test_one_trial_that_fails_opens_it_again() -> None:
    found = opened(circuit_open_time=5)
    found.look(monotonic() + 5.1)
    held = [take(found) for _ in range(10)]
    trials = [one for one in held if one.server.name == "a"]
    trials[0].hear(200)
    trials[1].fail()
    assert states(found)["a"] == "circuit open"
    trials[2].hear(200)  # it comes too late to count
    assert states(found)["a"] == "circuit open"
    for one in held:
        one.finish()
    assert found.servers[0].circuit.opened == 2


def test_trials_that_are_broken_off_make_room_for_others() -> None:
    found = opened(circuit_open_time=5)
    found.look(monotonic() + 5.1)
    for _ in range(5):
        held = [take(found) for _ in range(10)]
        assert sum(one.server.name == "a" for one in held) == 3
        for one in held:
            one.finish()
    assert states(found)["a"] == "circuit half-open"


def test_while_all_are_open_nobody_takes_a_request() -> None:
    found = balancer(2, **ALWAYS, circuit_min_requests=4)
    for _ in range(20):
        ask(found, None)
    assert set(states(found).values()) == {"circuit open"}
    assert found.attempt() is None


def test_slow_responses_open_it() -> None:
    found = balancer(1, **ALWAYS, circuit_latency="0.001ms", circuit_min_requests=10)
    for _ in range(12):
        attempt = found.attempt()
        if attempt is None:
            break
        begun = monotonic()
        while monotonic() - begun < 0.00001:
            pass
        attempt.hear(200)
        attempt.finish()
    assert found.servers[0].circuit.name == "open"
    assert "took over" in found.report(monotonic())["servers"][0]["why"]


@pytest.mark.parametrize(("good", "expected"), [(1, "closed"), (0, "open")])
def test_alone_a_server_has_to_fail_always(good: int, expected: str) -> None:
    found = LoadBalancer("x", settings(circuit_min_requests=10))
    found.set_servers([found.server("a")])
    for number in range(20):
        ask(found, 200 if number < good else None)
    assert found.servers[0].circuit.name == expected


def test_it_can_be_turned_off() -> None:
    found = balancer(1, **ALWAYS, circuit_error_rate=0)
    for _ in range(100):
        ask(found, None)
    assert found.servers[0].circuit.name == "closed"
