"""How many requests may be sent again."""

from __future__ import annotations

import pytest

from caching_proxy.load_balancer.retry import RetryBudget


def granted(budget: RetryBudget, now: float, asked: int) -> int:
    return sum(budget.take(now) for _ in range(asked))


@pytest.mark.parametrize(("requests", "expected"), [(0, 100), (400, 100), (500, 100), (5000, 1000)])
def test_a_share_of_the_requests_but_at_least_the_floor(requests: int, expected: int) -> None:
    budget = RetryBudget(0.2, 10)
    for _ in range(requests):
        budget.ask(1000.5)
    assert granted(budget, 1000.9, 10_000) == expected


def test_both_are_forgotten_after_ten_seconds() -> None:
    budget = RetryBudget(0.2, 1)
    for _ in range(1000):
        budget.ask(1000.0)
    assert granted(budget, 1009.9, 500) == 200
    assert granted(budget, 1009.9, 10) == 0
    assert granted(budget, 1010.0, 500) == 0  # the requests are gone, their retries are not
    assert granted(budget, 1019.0, 500) == 10


def test_it_goes_on_after_any_pause() -> None:
    budget = RetryBudget(0.2, 1)
    for pause in (0.0, 1.0, 9.0, 10.0, 11.0, 1e6):
        assert granted(budget, 2e9 + 20 * pause, 100) in (0, 10)
    assert granted(budget, 4e9, 100) == 10


def test_nothing_without_budget_and_floor() -> None:
    budget = RetryBudget(0, 0)
    budget.ask(1.0)
    assert not budget.take(1.0)
