"""Addresses of Redis as people write them."""

from __future__ import annotations

import pytest

from caching_proxy.cache_manager.redis_address import RedisAddress


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://one.example", RedisAddress("one.example")),
        ("redis://one.example:7001/", RedisAddress("one.example", 7001)),
        ("redis://one.example/3", RedisAddress("one.example", database=3)),
        ("redis://one.example?db=3", RedisAddress("one.example", database=3)),
        ("redis://[::1]:7001", RedisAddress("::1", 7001)),
        ("redis://:a%40b@one.example", RedisAddress("one.example", password="a@b")),
        (
            "redis://me:secret@one.example",
            RedisAddress("one.example", user="me", password="secret"),
        ),
        ("redis://me:@one.example", RedisAddress("one.example", user="me", password="")),
        ("unix:///run/redis.sock", RedisAddress(path="/run/redis.sock")),
        (
            "unix://:pw@/run/redis.sock?db=2",
            RedisAddress(path="/run/redis.sock", password="pw", database=2),
        ),
        (
            "redis+sentinel://one.example/main",
            RedisAddress(service="main", sentinels=(RedisAddress("one.example", 26379),)),
        ),
        (
            "redis+sentinel://me:pw@one.example:1,[::1]:2,two/main/3"
            "?sentinel_username=you&sentinel_password=a%26b",
            RedisAddress(
                user="me",
                password="pw",
                database=3,
                service="main",
                sentinels=tuple(
                    RedisAddress(host, port, user="you", password="a&b")
                    for host, port in (("one.example", 1), ("::1", 2), ("two", 26379))
                ),
            ),
        ),
    ],
)
def test_what_is_read(url: str, address: RedisAddress) -> None:
    assert RedisAddress.parse(url) == address


def test_tls() -> None:
    assert RedisAddress.parse("rediss://one.example").tls is not None
    assert RedisAddress.parse("redis://one.example").tls is None
    watched = RedisAddress.parse("rediss+sentinel://one.example/main")
    assert watched.tls is not None and watched.sentinels[0].tls is not None


@pytest.mark.parametrize(
    "url",
    [
        *("one.example", "http://one.example", "redis://", "redis://:secret@", "redis://a:0"),
        *("redis://a:x", "redis://a:70000", "redis://a/b", "redis://a/1/2", "redis://a?x=1"),
        *("redis://a#b", "unix://run/redis.sock", "unix://", "redis://a/-1", "redis://a?db="),
        *("redis://[secret]", "redis://:secret@[a", "redis://a,b", "redis+sentinel://:secret@a"),
        *("redis+sentinel://a,:1/main", "redis+sentinel://a/main/x", "redis+sentinel:///main"),
        *("redis+sentinel://a/main?sentinel_secret=x", "sentinel://a/main"),
    ],
)
def test_what_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r".*: write redis://") as refused:
        RedisAddress.parse(url)
    assert "secret" not in str(refused.value)


def test_nobody_is_shown_a_password() -> None:
    address = RedisAddress.parse("redis://me:secret@one.example:7001/2")
    assert "secret" not in str(address) and "secret" not in repr(address)
    assert str(address) == "one.example:7001"
    watched = RedisAddress.parse("redis+sentinel://a,b:1/main?sentinel_password=secret")
    assert "secret" not in repr(watched) and str(watched) == "main (a:26379, b:1)"
    assert address.greeting("name") == [
        ("HELLO", 3, "AUTH", "me", "secret", "SETNAME", "name"),
        ("SELECT", 2),
    ]
