"""Random numbers: the published sequence, and no value favoured."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

import pytest

from caching_proxy.load_balancer.randomness import Random

MASK = (1 << 64) - 1


def splitmix64(seed: int) -> Iterator[int]:
    for step in itertools.count(1):
        number = (seed + step * 0x9E3779B97F4A7C15) & MASK
        number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 & MASK
        number = (number ^ number >> 27) * 0x94D049BB133111EB & MASK
        yield number ^ number >> 31


def rotated(number: int, by: int) -> int:
    return (number << by | number >> (64 - by)) & MASK


def xoshiro256(seed: int) -> Iterator[int]:
    """Xoshiro256**, as its authors give it."""
    state = list(itertools.islice(splitmix64(seed), 4))
    while True:
        yield rotated(state[1] * 5 & MASK, 7) * 9 & MASK
        shifted = state[1] << 17 & MASK
        state[2] ^= state[0]
        state[3] ^= state[1]
        state[1] ^= state[2]
        state[0] ^= state[3]
        state[2] ^= shifted
        state[3] = rotated(state[3], 45)


def test_the_reference_begins_as_published() -> None:
    assert list(itertools.islice(splitmix64(0), 2)) == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]


@pytest.mark.parametrize("seed", [0, 1, 4711, MASK, MASK + 2, -1])
def test_sequence_is_as_published(seed: int) -> None:
    random = Random(seed)
    expected = list(itertools.islice(xoshiro256(seed & MASK), 1000))
    assert [random.next() for _ in range(1000)] == expected


def test_without_a_seed_every_sequence_is_another() -> None:
    assert len({Random().next() for _ in range(100)}) == 100


@pytest.mark.parametrize("bound", [1, 2, 3, 7, 1000])
def test_below_reaches_every_number_alike(bound: int) -> None:
    random = Random(1)
    counts = Counter(random.below(bound) for _ in range(1000 * bound))
    assert set(counts) == set(range(bound))
    assert all(800 < count < 1200 for count in counts.values())


def test_below_favours_no_number() -> None:
    """Without care a third of the numbers below 3/4 of 2^32 would come twice as often."""
    random = Random(1)
    counts = Counter(random.below(3 << 30) % 3 for _ in range(30_000))
    assert all(9_600 < counts[rest] < 10_400 for rest in range(3))


def test_unit() -> None:
    random = Random(1)
    drawn = [random.unit() for _ in range(100_000)]
    assert 0 <= min(drawn) < 0.001
    assert 0.999 < max(drawn) < 1
    assert abs(sum(drawn) / len(drawn) - 0.5) < 0.005
