"""Hashes that every process and every version must agree on."""

from __future__ import annotations

from hashlib import blake2b

import pytest

from caching_proxy.load_balancer.hashing import hash_key, keyed_hash

MASK = (1 << 64) - 1


def reference(key: bytes) -> int:
    """FNV-1a and the finalizer of splitmix64, as they are published."""
    digest = 0xCBF29CE484222325
    for octet in key:
        digest = (digest ^ octet) * 0x100000001B3 & MASK
    digest = (digest ^ digest >> 30) * 0xBF58476D1CE4E5B9 & MASK
    digest = (digest ^ digest >> 27) * 0x94D049BB133111EB & MASK
    return digest ^ digest >> 31


@pytest.mark.parametrize("key", [b"", b"\0", b"\xff", b"10.0.0.1:80", bytes(range(256)) * 40])
def test_hash_is_as_published(key: bytes) -> None:
    assert hash_key(key) == reference(key)


def test_hash_stays_as_it_is() -> None:
    """Another one would send every client elsewhere on the day of an upgrade."""
    assert hash_key(b"10.0.0.1:80") == 0xDBBC907F21531A73
    assert hash_key(b"") == 0xF52A15E9A9B5E89B


def test_keys_that_differ_little_have_hashes_that_differ_much() -> None:
    hashes = [hash_key(b"client-%d" % n) for n in range(1000)]
    assert len(set(hashes)) == 1000
    for bit in range(64):
        assert 400 < sum(digest >> bit & 1 for digest in hashes) < 600


def test_only_octets_have_a_hash() -> None:
    with pytest.raises(TypeError):
        hash_key("text")  # type: ignore[arg-type]


@pytest.mark.parametrize("key", [b"", b"k", b"k" * 64, b"k" * 1000])
def test_a_keyed_hash_is_as_published(key: bytes) -> None:
    """BLAKE2b of 8 octets (RFC 7693), with what it makes of the key for the key."""
    expected = blake2b(b"10.0.0.1:80", digest_size=8, key=blake2b(key).digest()).hexdigest()
    assert f"{keyed_hash(b'10.0.0.1:80', key):016x}" == expected


def test_a_keyed_hash_stays_as_it_is() -> None:
    """Another one would end every session on the day of an upgrade."""
    assert keyed_hash(b"10.0.0.1:80", b"secret") == 0x5C278F364AC9579A
