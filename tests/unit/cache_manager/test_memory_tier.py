"""The memory tier: bounds, eviction, variants."""

from __future__ import annotations

import itertools
import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from caching_proxy.cache_manager.cache_key import Variant, Variants
from caching_proxy.cache_manager.entry import Entry
from caching_proxy.cache_manager.memory_tier import MemoryTier
from caching_proxy.cache_manager.rfc9111.freshness import LifetimeSource
from caching_proxy.cache_manager.rfc9111.storable import Storable
from caching_proxy.http.fields import Fields

VARIANTS = Variants()
MINUTE = Storable(60, LifetimeSource.MAX_AGE, 0, 0, False, False, 0, -1, frozenset())


def variant(number: int) -> Variant:
    return VARIANTS.of(b"text/%d" % number, None, None) if number else VARIANTS.plain


def entry(
    url: bytes,
    number: int = 0,
    size: int = 1000,
    date: int = 0,
    selecting: tuple[tuple[bytes, bytes | None], ...] | None = None,
) -> Entry:
    body = b"x" * size
    return Entry(
        *(url, variant(number), selecting, 200, b"head", 0),
        *(body, None, size, None, None, MINUTE._replace(date=date), 0, None),
    )


def test_equal_variants_are_one_object() -> None:
    first = VARIANTS.of(b"text/html, text/plain", b"gzip,br", None)
    assert VARIANTS.of(b"Text/plain,text/HTML", b"br;q=1.0, gzip", None) is first
    assert VARIANTS.of(None, b"", None).text != VARIANTS.plain.text


def test_replaces_what_has_the_same_key() -> None:
    tier = MemoryTier(100_000)
    tier.store(entry(b"/a"))
    later = entry(b"/a", size=10)
    tier.store(later)
    assert tier.find(b"/a", VARIANTS.plain) is later
    assert tier.entries == 1


def test_discards_all_variants_of_a_url() -> None:
    tier = MemoryTier(1_000_000)
    for number in range(5):
        tier.store(entry(b"/a", number))
    tier.store(entry(b"/b"))
    assert tier.discard_url(b"/a") == 5
    assert tier.discard_url(b"/a") == 0
    assert tier.find(b"/a", variant(3)) is None
    assert tier.find(b"/b", VARIANTS.plain) is not None


def test_variants_of_a_url_are_bounded() -> None:
    """The 64 latest stay."""
    tier = MemoryTier(10_000_000)
    for number in range(100):
        tier.store(entry(b"/a", number))
    kept = [number for number in range(100) if tier.find(b"/a", variant(number)) is not None]
    assert kept == list(range(36, 100))
    assert tier.entries == 64


def test_of_several_the_most_recent_by_date_is_selected() -> None:
    """RFC 9111 4: whatever the order in which they came."""
    request = Fields.of([(b"A", b"1"), (b"B", b"1")])
    dates = (5, 9, 7)
    names = ((b"a", b"1"), (b"b", b"1"), (b"c", None))
    for order in itertools.permutations(range(3)):
        tier = MemoryTier(100_000)
        for number in order:
            tier.store(entry(b"/a", date=dates[number], selecting=(names[number],)))
        selected = tier.select(b"/a", VARIANTS.plain, request)
        assert selected is not None and selected.date == 9
        assert tier.discard_url(b"/a") == 3


def test_what_omits_vary_is_not_selected_after_what_has_it() -> None:
    """RFC 9111 4.1: the most recent Vary decides."""
    for early, late in ((1, 2), (2, 1)):
        tier = MemoryTier(100_000)
        tier.store(entry(b"/a", date=early))
        tier.store(entry(b"/a", date=late, selecting=((b"x", b"salt"),)))
        found = tier.select(b"/a", VARIANTS.plain, Fields.of([(b"X", b"sweet")]))
        assert (found is None) == (early < late)


def test_too_large_is_not_taken() -> None:
    tier = MemoryTier(1000)
    tier.store(entry(b"/a", size=1000))
    assert tier.entries == 0
    assert tier.used() == 0


def test_a_scan_does_not_evict_what_is_asked_for() -> None:
    """S3-FIFO: objects used again survive ten times as many that are not."""
    tier = MemoryTier(200 * 1400)
    hot = [entry(b"/hot/%d" % n) for n in range(50)]
    for one in hot:
        tier.store(one)
    for _ in range(3):
        for one in hot:
            tier.touch(one)
    for number in range(2000):
        tier.store(entry(b"/scan/%d" % number))
    assert sum(tier.find(one.url, VARIANTS.plain) is not None for one in hot) == 50


def test_who_comes_back_enters_the_main_queue() -> None:
    """A ghost: evicted, asked for again, then kept through a scan."""
    tier = MemoryTier(100 * 1400)
    tier.store(entry(b"/back"))
    for number in range(150):
        tier.store(entry(b"/scan/%d" % number))
    assert tier.find(b"/back", VARIANTS.plain) is None
    tier.store(entry(b"/back"))
    for number in range(150, 230):
        tier.store(entry(b"/scan/%d" % number))
    assert tier.find(b"/back", VARIANTS.plain) is not None


def test_hit_ratio_beside_lru() -> None:
    """Zipf with scans: well above what LRU reaches."""
    generator = random.Random(7)
    weights = [1 / (rank + 1) ** 0.9 for rank in range(20_000)]
    asked = generator.choices(range(20_000), weights, k=60_000)
    tier = MemoryTier(1000 * 1400)
    recent: dict[bytes, None] = {}
    hits = lru_hits = 0
    for turn, number in enumerate(asked):
        urls = [b"/%d" % number]
        if turn % 2:
            urls.append(b"/scan/%d" % turn)
        for url in urls:
            found = tier.find(url, VARIANTS.plain)
            if found is None:
                tier.store(entry(url))
            else:
                tier.touch(found)
                hits += 1
            lru_hits += url in recent
            recent.pop(url, None)
            recent[url] = None
            if len(recent) > 1000:
                del recent[next(iter(recent))]
    assert hits > 1.2 * lru_hits


def test_many_that_are_dropped_go_bit_by_bit() -> None:
    tier = MemoryTier(100_000_000)
    tier.at_once = 10
    for number in range(35):
        tier.store(entry(b"/%d" % number))
    full = tier.used()
    assert tier.clear() == 35
    assert (tier.entries, tier.used()) == (0, full)
    assert tier.find(b"/3", variant(0)) is None
    again = entry(b"/3")
    tier.store(again)
    assert tier.clear() == 1
    tier.store(again := entry(b"/3"))
    assert tier.find(b"/3", variant(0)) is again
    turns = 1
    while tier.reap():
        turns += 1
    assert turns == 4
    assert (tier.entries, tier.used()) == (1, MemoryTier.cost(again))
    assert tier.find(b"/3", variant(0)) is again


def test_room_is_first_made_of_what_was_dropped() -> None:
    tier = MemoryTier(20_000)
    tier.at_once = 1
    for number in range(10):
        tier.store(entry(b"/old/%d" % number))
    tier.clear()
    kept = []
    while tier.doomed:
        kept.append(entry(b"/new/%d" % len(kept)))
        tier.store(kept[-1])
    assert tier.evictions == 0
    assert all(tier.find(one.url, variant(0)) is one for one in kept)


class Tier(RuleBasedStateMachine):
    """Any sequence of uses keeps the tier's books right, and it never returns what was dropped."""

    urls = st.integers(0, 30).map(lambda n: b"/%d" % n)
    LIMIT = 20_000

    def __init__(self) -> None:
        super().__init__()
        self.tier = MemoryTier(self.LIMIT)
        self.tier.at_once = 2
        self.latest: dict[tuple[bytes, int], Entry] = {}

    @rule(url=urls, number=st.integers(0, 3), size=st.integers(0, 6000))
    def store(self, url: bytes, number: int, size: int) -> None:
        self.latest[url, number] = stored = entry(url, number, size)
        self.tier.store(stored)

    @rule(url=urls, number=st.integers(0, 3))
    def find(self, url: bytes, number: int) -> None:
        found = self.tier.find(url, variant(number))
        assert found is None or found is self.latest.get((url, number))
        if found is not None:
            self.tier.touch(found)

    @rule(url=urls)
    def discard(self, url: bytes) -> None:
        there = sum(self.tier.find(url, variant(number)) is not None for number in range(4))
        assert self.tier.discard_url(url) == there
        for number in range(4):
            self.latest.pop((url, number), None)

    @rule()
    def clear(self) -> None:
        entries = self.tier.entries
        assert self.tier.clear() == entries
        self.latest.clear()

    @rule()
    def reap(self) -> None:
        before = len(self.tier.doomed)
        assert self.tier.reap() == (before > 2)
        assert len(self.tier.doomed) == max(before - 2, 0)

    @invariant()
    def books(self) -> None:
        found = [
            one
            for (url, number), latest in self.latest.items()
            if (one := self.tier.find(url, variant(number))) is not None
        ]
        assert self.tier.entries == len(found)
        stored = sum(MemoryTier.cost(one) for one in found)
        doomed = sum(MemoryTier.cost(one) for one in self.tier.doomed)
        assert stored <= self.tier.used() <= min(stored + doomed, self.LIMIT)


TestTier = Tier.TestCase
TestTier.settings = settings(max_examples=60, stateful_step_count=60)
