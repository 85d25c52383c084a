"""The same server for the same key, and not too much for any."""

from __future__ import annotations

import math
import random
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caching_proxy.load_balancer.consistent_hash import ConsistentHash
from caching_proxy.load_balancer.hashing import hash_key
from caching_proxy.load_balancer.server import Server
from caching_proxy.load_balancer.trial import Trial

from .servers import make_servers

KEYS = [hash_key(b"client-%d" % n) for n in range(100_000)]
FEW = KEYS[:20_000]


def owners(trial: Trial, keys: list[int]) -> list[str]:
    """Who gets each, when nothing else is in flight."""
    names = []
    for key in keys:
        server = trial.pick(key)
        trial.release(server)
        names.append(server.name)
    return names


@pytest.mark.parametrize("weights", [[1] * 3, [5, 1, 1], [1] * 100, [*range(1, 20)]], ids=str)
def test_keys_are_spread_by_weight(weights: list[int]) -> None:
    """A server of average weight has 80 points at least: within 11% in two cases of three."""
    counts = Trial(ConsistentHash(), make_servers(*weights)).draw(len(KEYS))
    for count, weight in zip(counts, weights, strict=True):
        part = weight / sum(weights)
        points = 80 * len(weights) * part
        assert count == pytest.approx(len(KEYS) * part, rel=4 / math.sqrt(points))


def test_every_instance_has_the_same_owners() -> None:
    """Whatever the order in which the servers are named."""
    first = Trial(ConsistentHash(), make_servers(5, 1, 2))
    second = Trial(ConsistentHash(), make_servers(5, 1, 2)[::-1])
    assert owners(first, FEW) == owners(second, FEW)


def test_owners_stay_as_they_are() -> None:
    """Another way to place the points would send clients elsewhere on the day of an upgrade."""
    names = owners(Trial(ConsistentHash(), make_servers(1, 1, 1, 1)), KEYS[:16])
    assert "".join(name[7] for name in names) == "3212222100202023"


@pytest.mark.parametrize("gone", range(5))
@pytest.mark.parametrize("removed", [False, True], ids=["unhealthy", "removed"])
@pytest.mark.parametrize("weights", [[1] * 5, [3, 2, 3, 2, 3]], ids=str)
def test_only_the_keys_of_a_server_that_goes_move(
    gone: int, removed: bool, weights: list[int]
) -> None:
    servers = make_servers(*weights)
    trial = Trial(ConsistentHash(), servers)
    before = owners(trial, FEW)
    left = [server for server in servers if server is not servers[gone]]
    change = trial.enroll if removed else trial.build
    change(left)
    after = owners(trial, FEW)
    for old, new in zip(before, after, strict=True):
        assert new != servers[gone].name
        assert new == old or old == servers[gone].name
    heirs = Counter(new for old, new in zip(before, after, strict=True) if new != old)
    assert len(heirs) == 4, "one server inherits all"
    change(servers)
    assert owners(trial, FEW) == before


def test_weights_do_not_matter_to_who_moves_when_one_fails() -> None:
    servers = make_servers(7, 1, 3, 2)
    trial = Trial(ConsistentHash(), servers)
    before = owners(trial, FEW)
    trial.build(servers[1:], [1, 3, 2])
    for old, new in zip(before, owners(trial, FEW), strict=True):
        assert new == old or old == servers[0].name


def test_the_ring_has_no_end() -> None:
    """What comes after its last point belongs to the first, or to the next that is healthy."""
    servers = make_servers(*[1] * 100)
    trial = Trial(ConsistentHash(), servers)
    first, late, last = 0, (1 << 64) - (1 << 52), (1 << 64) - 1
    for _ in range(20):
        names = owners(trial, [first, late, last])
        assert names[0] == names[2]
        servers = [server for server in servers if server.name != names[1]]
        trial.build(servers)
    assert len(set(owners(trial, [first, late, last]))) == 1


def test_one_of_many_left() -> None:
    servers = make_servers(*[1] * 300)
    trial = Trial(ConsistentHash(), servers)
    trial.build(servers[7:8])
    assert set(owners(trial, FEW)) == {servers[7].name}
    trial.build(servers[7:9])
    assert set(owners(trial, FEW)) == {servers[7].name, servers[8].name}


def test_any_number_of_servers_has_a_bounded_ring() -> None:
    """Each has a point, however small its weight."""
    servers = [Server(f"server-{n}:80", 1000 if n else 1) for n in range(3000)]
    trial = Trial(ConsistentHash(), servers)
    counts = trial.draw(len(KEYS))
    assert sum(count > 0 for count in counts) > 2900
    trial.build(servers[:2])
    assert trial.draw(len(KEYS))[0] > 0


# -- bounded loads


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=12),
    st.sampled_from([1.0, 1.25, 2.0]),
    st.randoms(use_true_random=False),
)
def test_no_server_takes_more_than_it_may(
    shares: list[int], factor: float, source: random.Random
) -> None:
    """Even when all ask for a few keys."""
    servers = make_servers(*shares)
    trial = Trial(ConsistentHash(factor=factor), servers)
    under_way: list[Server] = []
    for _ in range(300):
        if under_way and source.random() < 0.4:
            trial.release(under_way.pop(source.randrange(len(under_way))))
            continue
        server = trial.pick(source.choice(KEYS[:3]))
        under_way.append(server)
        part = Fraction(server.weight, sum(shares))
        assert server.in_flight <= math.ceil(Fraction(factor) * len(under_way) * part)


def test_what_is_too_much_for_one_goes_on_to_the_same_next_one() -> None:
    servers = make_servers(1, 1, 1, 1)
    trial = Trial(ConsistentHash(), servers)
    owner = owners(trial, KEYS[:1])[0]
    names = [trial.pick(KEYS[0]).name for _ in range(12)]
    assert names[0] == owner
    assert names == 4 * names[:3], "with a quarter more than its part each, three are enough"
    assert len(set(names)) == 3
    again = Trial(ConsistentHash(), make_servers(1, 1, 1, 1))
    assert [again.pick(KEYS[0]).name for _ in range(12)] == names


def test_without_a_bound_the_owner_takes_all() -> None:
    trial = Trial(ConsistentHash(factor=math.inf), make_servers(1, 1, 1, 1))
    assert len({trial.pick(KEYS[0]).name for _ in range(100)}) == 1


@pytest.mark.parametrize("back", [False, True], ids=["gone", "back"])
def test_only_the_load_of_those_that_are_there_counts(back: bool) -> None:
    servers = make_servers(1, 1, 1)
    trial = Trial(ConsistentHash(), servers)
    under_way = [trial.pick(key) for key in KEYS[:90]]
    trial.build(servers[:2])
    for server in under_way[:45]:
        trial.release(server)
    if back:
        trial.build(servers)
    for server in under_way[45:]:
        trial.release(server)
    chosen = [trial.pick(KEYS[0]) for _ in range(20)]
    like_new = make_servers(1, 1, 1)
    other = Trial(ConsistentHash(), like_new)
    if not back:
        other.build(like_new[:2])
    assert [server.name for server in chosen] == [other.pick(KEYS[0]).name for _ in range(20)]


@pytest.mark.parametrize("factor", [0.99, 0, -1, math.nan])
def test_factor_must_leave_room_for_all(factor: float) -> None:
    with pytest.raises(ValueError, match=r"leaves requests without a server: use 1 or more"):
        ConsistentHash(factor=factor)
