"""Requests that set out at a fixed rate."""

from __future__ import annotations

import pytest

from bench.errors import BenchError
from bench.open_loop import SESSIONS, URLS, Outcome, load, plan, read_outcomes


def test_a_seed_gives_the_same_plan_again() -> None:
    assert plan(100, 1000, 1) == plan(100, 1000, 1)
    assert plan(100, 1000, 1) != plan(100, 1000, 2)


def test_requests_are_due_in_order_and_at_the_rate() -> None:
    requests = plan(10_000, 2_000, 1)
    due = [request.due_us for request in requests]
    assert due == sorted(due)
    assert due[-1] == pytest.approx(5e6, rel=0.05)


def test_every_url_and_session_is_asked_for() -> None:
    requests = plan(20_000, 2_000, 1)
    assert {request.url for request in requests} == set(range(URLS))
    assert {request.session for request in requests} == set(range(SESSIONS))


def test_outcomes_are_in_milliseconds() -> None:
    assert read_outcomes("2 1500\n0 20\n") == [Outcome(2, 1.5), Outcome(0, 0.02)]


def test_a_client_that_fails_is_no_figure() -> None:
    with pytest.raises(BenchError, match="the client ended with 1"):
        load("false", 1, plan(1, 1000, 1))
