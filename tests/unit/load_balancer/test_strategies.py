"""What all strategies have in common."""

from __future__ import annotations

import random

import pytest

from caching_proxy.load_balancer.randomness import Random
from caching_proxy.load_balancer.strategies import STRATEGIES, WITHOUT_WEIGHTS
from caching_proxy.load_balancer.trial import Trial

from .servers import make_servers


def test_names_without_weights_are_names() -> None:
    assert set(STRATEGIES) > WITHOUT_WEIGHTS


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_choice_is_one_of_those_there_are(name: str) -> None:
    """While servers come, go and get other shares, and requests end whenever they do."""
    source = random.Random(1)
    everyone = make_servers(*[source.randint(1, 9) for _ in range(30)])
    trial = Trial(STRATEGIES[name](Random(1)), everyone)
    under_way = []
    for _ in range(300):
        healthy = source.sample(everyone, source.randint(1, len(everyone)))
        trial.build(healthy, [source.randint(0, 300) for _ in healthy])
        for _ in range(source.randint(0, 40)):
            server = trial.pick(source.getrandbits(64))
            assert server in healthy
            under_way.append(server)
            if source.random() < 0.6:
                trial.release(under_way.pop(source.randrange(len(under_way))))
    for server in under_way:
        trial.release(server)
    assert all(server.in_flight == 0 for server in everyone)


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_same_seed_gives_the_same_choices(name: str) -> None:
    def choices() -> list[str]:
        trial = Trial(STRATEGIES[name](Random(7)), make_servers(5, 3, 1, 1))
        return [trial.pick(key).name for key in range(200)]

    assert choices() == choices()


@pytest.mark.parametrize("name", STRATEGIES)
def test_equal_servers_have_about_equal_loads(name: str) -> None:
    counts = Trial(STRATEGIES[name](Random(1)), make_servers(*[1] * 10)).draw(100_000, held=99)
    assert min(counts) > 7_500
    assert max(counts) < 12_500
