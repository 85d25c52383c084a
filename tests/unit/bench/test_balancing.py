"""What is told of the balancers, and that backends and client play their parts."""

from __future__ import annotations

from collections import Counter

import pytest

from bench.balancers import (
    HAPROXY_LINES,
    NGINX_LINES,
    STRATEGIES,
    WITHOUT_WEIGHTS,
    Balancer,
    balancers,
    like,
)
from bench.balancing import (
    SCENARIOS,
    SEED,
    Backends,
    Round,
    Scenario,
    calmer,
    quantile,
    summed_up,
)
from bench.open_loop import Outcome, plan
from bench.results import OURS
from caching_proxy.load_balancer import strategies
from tests.functional.support.programs import requires_program


def waits(*milliseconds: float, backend: int = 0) -> list[Outcome]:
    return [Outcome(backend, wait) for wait in milliseconds]


def test_every_strategy_is_measured() -> None:
    assert STRATEGIES.keys() == strategies.STRATEGIES.keys()
    assert set(WITHOUT_WEIGHTS) == strategies.WITHOUT_WEIGHTS


def test_peers_have_the_methods_that_strategies_name() -> None:
    haproxy, nginx = (set(methods) - {None} for methods in zip(*STRATEGIES.values(), strict=True))
    assert haproxy == HAPROXY_LINES.keys()
    assert nginx == NGINX_LINES.keys()


def test_strategies_without_weights_are_not_given_any() -> None:
    methods = {each.method for each in balancers(weighted=False)}
    assert methods - {each.method for each in balancers(weighted=True)} == {"round-robin"}
    ours = {each.method for each in balancers(weighted=True) if each.proxy == OURS}
    assert ours == STRATEGIES.keys() - set(WITHOUT_WEIGHTS)


def test_a_strategy_stands_beside_what_is_like_it() -> None:
    assert [each.name for each in like("least-connections")] == [
        "caching-proxy least-connections",
        "HAProxy leastconn",
        "nginx least_conn",
    ]
    assert Balancer("nginx", "round robin") not in like("sticky-cookie")


def test_scenarios_are_whole() -> None:
    for scenario in SCENARIOS:
        assert len(scenario.means_ms) == len(scenario.workers) == len(scenario.weights)
        assert scenario.requests % sum(scenario.weights) == 0, "round robin could not be exact"
        capacity = sum(
            1e3 * workers / mean
            for mean, workers in zip(scenario.means_ms, scenario.workers, strict=True)
        )
        assert scenario.rate < 0.8 * capacity


@pytest.mark.parametrize(("fraction", "expected"), [(0.5, 50), (0.99, 99), (0.999, 100)])
def test_quantile(fraction: float, expected: float) -> None:
    assert quantile(range(1, 101), fraction) == expected


def test_the_calmer_half_counts() -> None:
    one, two, three = (Round([], stalled) for stalled in (0.3, 0.1, 0.2))
    assert calmer([one, two, three]) == [two, three]
    assert calmer([one]) == [one]


def test_figures_of_rounds_together() -> None:
    rounds = [
        Round(waits(100) + waits(1, 2, backend=1), 0.001),
        Round(waits(100) + waits(3, 4, backend=1), 0.002),
    ]
    assert summed_up(rounds, backends=3, warming=1) == {
        "requests": [2, 4, 0],
        "shares": [0.3333, 0.6667, 0.0],
        "latency_ms": {"p50": 2, "p95": 4, "p99": 4, "p99.9": 4},
        "stalled_ms": [1, 2],
    }


def test_backends_answer_the_client() -> None:
    requires_program("gcc")
    scenario = Scenario("test", (1, 1), (3, 64), (1, 1), 500, 0, 2_500)
    requests = plan(scenario.requests, scenario.rate, SEED)
    with Backends() as backends:
        backends.start(scenario)
        found = [backends.load(server, requests).outcomes for server in backends.servers]
    counts = [Counter(outcome.backend for outcome in outcomes) for outcomes in found]
    assert counts == [{0: 500}, {1: 500}]
    assert all(outcome.wait_ms > 0 for outcomes in found for outcome in outcomes)
