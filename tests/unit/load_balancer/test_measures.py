"""Outcomes of the last seconds, and how long responses took."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caching_proxy.load_balancer.measures import Latency, Window, quantiles

SPAN = 10
START = 1000.0
STEPS = st.floats(0, 14) | st.floats(0, 0.5)
FLAGS = st.tuples(st.booleans(), st.booleans(), st.booleans())


# -- outcomes


@given(st.lists(st.tuples(STEPS, FLAGS), max_size=60))
def test_window_has_the_last_seconds_exactly(events: list[tuple[float, tuple[bool, ...]]]) -> None:
    window, now = Window(), START
    seen: list[tuple[float, tuple[bool, ...]]] = []
    for step, (error, failure, slow) in events:
        now += step
        window.count(now, error, failure, slow)
        seen.append((now, (True, error, failure, slow)))
        current = [flags for at, flags in seen if int(at) > int(now) - SPAN]
        assert window.totals(now) == tuple(map(sum, zip(*current, strict=True)))


def test_window_empties_without_anything_new() -> None:
    window = Window()
    window.count(START + 0.9, True, False, True)
    window.count(START + 1, True, True, False)
    assert window.totals(START + 9.99) == (2, 2, 1, 1)
    assert window.totals(START + 10) == (1, 1, 1, 0)
    assert window.totals(START + 11) == (0, 0, 0, 0)


def test_window_takes_what_comes_late_for_present() -> None:
    window = Window()
    window.count(START + 5, False, False, False)
    window.count(START, True, False, False)
    assert window.totals(START + 14.9) == (2, 1, 0, 0)


def test_window_forgets() -> None:
    window = Window()
    window.count(START, True, True, True)
    window.clear()
    assert window.totals(START) == (0, 0, 0, 0)
    window.count(START, True, False, False)
    assert window.totals(START) == (1, 1, 0, 0)


# -- quantiles


def measured(samples: list[float], now: float = START) -> list[int]:
    latency = Latency()
    for seconds in samples:
        latency.add(seconds, now)
    return latency.buckets(now)


@pytest.mark.parametrize("spread", [0.01, 0.4, 1.2])
@pytest.mark.parametrize("median", [20e-6, 0.003, 1])
def test_quantiles_are_within_ten_percent(median: float, spread: float) -> None:
    source = random.Random(1)
    samples = [median * math.exp(source.gauss(0, spread)) for _ in range(9999)]
    fractions = [0.5, 0.9, 0.99, 0.999]
    found = quantiles(measured(samples), fractions)
    assert found is not None
    for fraction, seconds in zip(fractions, found, strict=True):
        exact = sorted(samples)[math.ceil(fraction * len(samples)) - 1]
        assert seconds == pytest.approx(exact, rel=0.1)


@given(st.floats(1e-6, 134))
def test_any_latency_is_within_ten_percent(seconds: float) -> None:
    assert quantiles(measured([seconds]), [0, 0.5, 1]) == [pytest.approx(seconds, rel=0.1)] * 3


def test_the_shortest_and_the_longest_have_a_bucket_each() -> None:
    buckets = measured([0, 1e-9, 1e-6, 134, 3600, math.inf])
    assert (buckets[0], buckets[-1], sum(buckets)) == (3, 3, 6)


def test_quantiles_of_nothing() -> None:
    assert quantiles(Latency().buckets(START), [0.5]) is None


def test_buckets_of_several_processes_are_added() -> None:
    source = random.Random(1)
    samples = [source.expovariate(100) for _ in range(2000)]
    halves = zip(measured(samples[::2]), measured(samples[1::2]), strict=True)
    assert [sum(pair) for pair in halves] == measured(samples)


def test_latencies_are_of_the_last_one_to_two_minutes() -> None:
    latency = Latency()
    for second in range(1000):
        latency.add(0.001, START + second)
        assert min(second + 1, 60) <= sum(latency.buckets(START + second)) <= 120
    assert sum(latency.buckets(START + 999 + 60)) > 0
    assert sum(latency.buckets(START + 999 + 120)) == 0


def test_latencies_are_dropped_in_time_where_few_come() -> None:
    latency = Latency()
    latency.add(0.001, START)
    latency.add(0.001, START + 30)
    assert sum(latency.buckets(START + 119)) == 2
    assert sum(latency.buckets(START + 120)) == 0


# -- the average


def test_a_peak_counts_at_once_and_is_forgotten_slowly() -> None:
    latency = Latency()
    latency.add(0.01, START)
    latency.add(1.0, START)
    assert latency.average(START) == 1.0
    latency.add(0.01, START + 10)
    after = 1 / math.e + 0.01 * (1 - 1 / math.e)
    assert latency.average(START + 10) == pytest.approx(after)
    latency.add(after + 1e-9, START + 10)
    assert latency.average(START + 10) == after + 1e-9


def test_the_average_fades_while_nothing_comes() -> None:
    latency = Latency()
    latency.add(2.0, START)
    assert latency.average(START - 1) == 2.0
    assert latency.average(START + 10) == pytest.approx(2 / math.e)
    assert latency.average(START + 20) == pytest.approx(2 / math.e**2)


def test_an_average_of_zero_is_that_of_none() -> None:
    latency = Latency()
    assert latency.average(START) == 0
    latency.add(0.0, START)
    assert latency.average(START) == 1e-6
