"""Which servers get requests: healthy ones, backups, all; ejected, drained, slowly started ones."""

from __future__ import annotations

from time import monotonic

import pytest

from caching_proxy.load_balancer.load_balancer import LoadBalancer

from .balanced import ask, balancer, fail, settings, states, tell, who


def test_every_server_gets_its_share() -> None:
    found = balancer()
    assert [ask(found) for _ in range(6)] == ["a", "b", "c", "a", "b", "c"]


def test_a_server_that_is_down_gets_nothing_until_it_is_up() -> None:
    found = balancer()
    tell(found, "b", False, "connection refused")
    assert who(found) == {"a", "c"}
    assert states(found) == {"a": "up", "b": "down", "c": "up"}
    assert found.report(monotonic())["servers"][1]["why"] == "connection refused"
    tell(found, "b", True, "")
    assert who(found) == {"a", "b", "c"}


@pytest.mark.parametrize("order", ["drain", "disabled"])
def test_what_operators_want(order: str) -> None:
    found = balancer()
    tell(found, "a", order=order)
    assert who(found) == {"b", "c"}
    assert states(found)["a"] == order
    tell(found, "a", order="ready")
    assert who(found) == {"a", "b", "c"}


# -- backups and panic


def test_backups_only_while_nobody_else_is_healthy() -> None:
    found = balancer(4, backups=2)
    assert who(found) == {"a", "b"}
    tell(found, "a", False, "")
    assert who(found) == {"b"}
    tell(found, "b", False, "")
    assert who(found) == {"c", "d"}
    assert not found.panics
    tell(found, "c", False, "")
    assert who(found) == {"d"}
    tell(found, "a", True, "")
    assert who(found) == {"a"}


def test_when_too_few_are_healthy_all_are_used() -> None:
    found = balancer(10, panic_threshold=30)
    for name in "abcdefg":
        tell(found, name, False, "")
    assert who(found) == {"h", "i", "j"} and not found.panics
    tell(found, "h", False, "")
    assert who(found) == set("abcdefghij") and found.panics
    tell(found, "h", True, "")
    assert who(found) == {"h", "i", "j"} and not found.panics


def test_the_last_healthy_one_of_three_is_used_alone() -> None:
    found = balancer()
    tell(found, "a", False, "")
    tell(found, "b", False, "")
    assert who(found) == {"c"}
    tell(found, "c", False, "")
    assert who(found) == {"a", "b", "c"}


# -- ejection


def test_failures_in_a_row_eject_for_a_growing_time() -> None:
    found = balancer(eject_after=3, eject_time=5, eject_time_max=15, slow_start=0)
    for seconds in (5, 10, 15, 15):
        fail(found, "a", 2)
        assert states(found)["a"] == "up"
        fail(found, "a", 1)
        assert states(found)["a"] == "ejected"
        assert who(found) == {"b", "c"}
        now = monotonic()
        found.look(now + seconds - 0.5)
        assert states(found)["a"] == "ejected"
        found.look(now + seconds)
        assert states(found)["a"] == "up"


def test_an_answer_between_failures_starts_the_count_anew() -> None:
    found = balancer(circuit_error_rate=0, eject_gap=0)
    for _ in range(10):
        fail(found, "a", 2)
        while ask(found) != "a":
            pass
    assert states(found)["a"] == "up"


@pytest.mark.parametrize("status", [502, 503, 504])
def test_gateway_failures_count(status: int) -> None:
    found = balancer()
    fail(found, "a", 3, status)
    assert states(found)["a"] == "ejected"


@pytest.mark.parametrize("status", [200, 404, 500, 501])
def test_other_answers_do_not(status: int) -> None:
    found = balancer()
    fail(found, "a", 10, status)
    assert states(found)["a"] == "up"


def test_a_response_that_breaks_off_counts_as_a_failure() -> None:
    found = balancer()
    for _ in range(9):
        attempt = found.attempt()
        assert attempt is not None
        attempt.hear(200)
        if attempt.server.name == "a":
            attempt.fail()
        attempt.finish()
    assert states(found) == {"a": "ejected", "b": "up", "c": "up"}
    assert found.servers[0].errors == 3


def test_no_more_are_ejected_than_the_threshold_leaves() -> None:
    found = balancer(10, eject_max=40, panic_threshold=0, circuit_error_rate=0)
    for name in "abcdefghij":
        if states(found)[name] == "up":
            for _ in range(50):
                ask(found, 503)
    assert sorted(states(found).values()).count("ejected") == 4
    alone = balancer(1, circuit_error_rate=0)
    for _ in range(50):
        ask(alone, None)
    assert states(alone) == {"a": "up"}


def test_one_that_fails_far_more_often_than_the_others_is_ejected() -> None:
    found = balancer(eject_gap=20)
    for number in range(90):
        attempt = found.attempt()
        assert attempt is not None
        attempt.hear(500 if attempt.server.name == "b" and number % 3 == 1 and number % 2 else 200)
        attempt.finish()
    found.look(monotonic() + 1)
    assert states(found) == {"a": "up", "b": "ejected", "c": "up"}
    assert "requests failed" in found.report(monotonic())["servers"][1]["why"]


def test_all_that_fail_alike_stay() -> None:
    found = balancer(eject_gap=20)
    for number in range(300):
        ask(found, 500 if number % 2 else 200)
    found.look(monotonic() + 1)
    assert set(states(found).values()) == {"up"}


# -- slow start


def test_a_server_that_comes_back_gets_more_and_more() -> None:
    found = balancer(2, strategy="weighted-round-robin", slow_start=10)
    tell(found, "a", False, "")
    now = monotonic()
    found.look(now)
    tell(found, "a", True, "")
    shares = []
    for seconds in (0, 2.5, 5, 7.5, 10.5):
        found.look(now + seconds)
        shares.append([ask(found) for _ in range(220)].count("a") / 220)
    assert shares == sorted(shares) and shares[0] < 0.12 and shares[-1] == 0.5
    assert shares[2] == pytest.approx(1 / 3, abs=0.01)
    assert states(found)["a"] == "up"


# -- limits and who is tried


def test_a_server_at_its_limit_is_passed_over() -> None:
    found = balancer(2, limit=2)
    held = [found.attempt() for _ in range(4)]
    assert sorted(one.server.name for one in held if one) == ["a", "a", "b", "b"]
    assert found.attempt() is None
    assert held[1] is not None
    held[1].finish()
    again = found.attempt()
    assert again is not None and again.server.name == "b"


def test_a_retry_goes_to_another_server_each_time() -> None:
    found = balancer(3, backups=1)
    a, b, c = found.servers
    assert {getattr(found.attempt(0, [a]), "server", None) for _ in range(10)} == {b}
    assert getattr(found.attempt(0, [a, b]), "server", None) is c
    assert found.attempt(0, [a, b, c]) is None


def test_servers_come_and_go() -> None:
    found = balancer(2)
    held = found.attempt()
    assert held is not None and held.server.name == "a"
    b, c = found.servers[1], found.server("c")
    found.set_servers([b, c])
    assert who(found) == {"b", "c"}
    told = {one["server"]: one for one in found.report(monotonic())["servers"]}
    assert told["a"]["state"] == "leaving" and told["a"]["in_flight"] == 1
    held.hear(200)
    held.finish()
    found.look(monotonic())
    assert [one["server"] for one in found.report(monotonic())["servers"]] == ["b", "c"]


def test_what_is_ended_twice_counts_once() -> None:
    found = balancer(1)
    attempt = found.attempt()
    assert attempt is not None
    attempt.fail()
    attempt.fail()
    attempt.finish()
    attempt.finish()
    server = found.servers[0]
    assert (server.requests, server.errors, server.in_flight) == (1, 1, 0)


def test_without_servers_nobody_takes_a_request() -> None:
    assert LoadBalancer("x", settings()).attempt() is None
