"""Slots of keys, as the specification of Redis Cluster has them."""

from __future__ import annotations

import pytest

from caching_proxy.cache_manager.redis_cluster import slot_of


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        (b"", 0),
        (b"123456789", 12739),  # CRC16 0x31C3
        (b"foo", 12182),
        (b"bar", 5061),
    ],
)
def test_known_slots(key: bytes, slot: int) -> None:
    assert slot_of(key) == slot


@pytest.mark.parametrize("key", [b"{foo}", b"a{foo}b", b"{foo}{bar}", b"a{foo}}"])
def test_what_stands_in_braces_decides(key: bytes) -> None:
    assert slot_of(key) == slot_of(b"foo")


@pytest.mark.parametrize("key", [b"{}foo", b"{foo", b"foo}", b"a{}{foo}"])
def test_braces_that_hold_nothing_do_not(key: bytes) -> None:
    assert slot_of(key) != slot_of(b"foo")
