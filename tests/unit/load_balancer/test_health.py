"""What is made of the ends of checks, and when the next one is due."""

from __future__ import annotations

import json
import time
from random import Random

import pytest

from caching_proxy.load_balancer.health import (
    AT_ONCE,
    Health,
    HealthCheck,
    first_delay,
    next_delay,
)

# --- verdicts -------------------------------------------------------------------------------------


def recorded(*whys: str, rise: int = 2, fall: int = 3) -> str:
    """What a server is after each of these ends of checks; ! where that is news."""
    health, check = Health(), HealthCheck("tcp", rise=rise, fall=fall)
    words = []
    for why in whys:
        news = health.record(why, 0.1, check)
        words.append(("up" if health.up else "down") + ("!" if news else ""))
    return " ".join(words)


@pytest.mark.parametrize(
    ("whys", "verdicts"),
    [
        (["", ""], "up! up"),
        (["a"], "down!"),
        (["", "a", "a", "a", "a"], "up! up up down! down"),
        (["", "a", "a", "", "a", "a", "", "a"], "up! up up up up up up up"),
        (["a", "", "", ""], "down! down up! up"),
        (["a", "", "a", "", "a"], "down! down down down down"),
        (["a", "b", "b", "a"], "down! down! down down!"),
        (["", "a", "b", "c", "d"], "up! up up down! down!"),
    ],
)
def test_verdicts(whys: list[str], verdicts: str) -> None:
    assert recorded(*whys) == verdicts


def test_one_may_be_enough() -> None:
    assert recorded("", "a", "", rise=1, fall=1) == "up! down! up!"


def test_a_server_that_is_down_has_a_cause_until_it_is_up() -> None:
    health, causes = Health(), []
    for why in ("a", "", "b", "", ""):
        health.record(why, 0.1, HealthCheck("tcp"))
        causes.append(health.why)
    assert causes == ["a", "a", "b", "b", ""]


def test_health_in_json() -> None:
    health, before = Health(), time.time()
    assert json.loads(json.dumps(health.as_json()))["known"] is False
    health.record("refused", 0.25, HealthCheck("tcp"))
    told = json.loads(json.dumps(health.as_json()))
    assert before <= told.pop("checked_at") <= time.time()
    assert told == {
        "up": False,
        "known": True,
        "why": "refused",
        "took": 0.25,
        "successes": 0,
        "failures": 1,
    }


# --- when -----------------------------------------------------------------------------------------

SLOW = HealthCheck("tcp", interval=10.0, fast_interval=1.0)


@pytest.mark.parametrize(
    ("health", "interval"),
    [
        (Health(up=True, known=True, successes=5), 10.0),
        (Health(up=True, known=True, failures=1), 1.0),
        (Health(up=False, known=True, failures=9), 1.0),
        (Health(up=False, known=True, successes=1), 1.0),
    ],
)
def test_checks_are_frequent_while_something_is_wrong(health: Health, interval: float) -> None:
    random = Random(1)
    delays = [next_delay(health, SLOW, random) for _ in range(1000)]
    assert 0.9 * interval <= min(delays) < 0.91 * interval
    assert 1.09 * interval < max(delays) <= 1.1 * interval


def test_many_first_checks_are_spread() -> None:
    random = Random(1)
    assert {first_delay(AT_ONCE, SLOW, random) for _ in range(10)} == {0.0}
    delays = [first_delay(1000, SLOW, random) for _ in range(1000)]
    assert 0.0 <= min(delays) < 0.01
    assert 0.99 < max(delays) <= 1.0
