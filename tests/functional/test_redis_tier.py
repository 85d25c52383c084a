"""Several proxies and one Redis: what one stores all have, what one purges none has."""

from __future__ import annotations

import json
import random
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from caching_proxy.cache_manager.compression import compress

from .support.proxy import ProxyProcess
from .support.purging import ETAG, Validated, post
from .support.redis_server import RedisServer
from .support.scripted_origin import Exchange, ScriptedOrigin, answer, fresh
from .support.sharing import FRESH, PATIENT, Counted, sharing, stored
from .support.stand import StartProxy
from .support.waiting import wait_until


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def empty(redis: RedisServer) -> RedisServer:
    redis.do("FLUSHALL")
    return redis


@pytest.fixture
def pair(start_proxy: StartProxy, empty: RedisServer) -> tuple[ProxyProcess, ProxyProcess]:
    options = (*PATIENT, "--purge-from", "127.0.0.0/8")
    return sharing(start_proxy, empty, *options), sharing(start_proxy, empty, *options)


def keep(proxy: ProxyProcess, redis: RedisServer, target: str, **fields: str) -> bytes:
    """Store what a target answers, and return its body once it is in Redis."""
    response = proxy.get(target, fields)
    wait_until(lambda: stored(redis, response.fields["x-cache-key"]), "the response in Redis")
    return response.body


def hit(proxy: ProxyProcess, target: str, **fields: str) -> bytes | None:
    """The body where the store answers, else None."""
    response = proxy.get(target, fields)
    return response.body if response.cache == "HIT" else None


Pair = tuple[ProxyProcess, ProxyProcess]


@pytest.mark.parametrize("size", [0, 1, 1000, 262_144, 262_145, 3_000_000])
def test_what_one_stores_the_other_has(
    pair: Pair, empty: RedisServer, origin: ScriptedOrigin, size: int
) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    origin.on("/shared", fresh(body))
    keep(pair[0], empty, "/shared")
    assert hit(pair[1], "/shared") == body
    head = pair[1].request("HEAD", "/shared")
    assert (head.cache, head.fields["content-length"]) == ("HIT", str(size))
    assert len(origin.seen("/shared")) == 1


def test_the_whole_head_is_shared(pair: Pair, empty: RedisServer, origin: ScriptedOrigin) -> None:
    fields = {**FRESH, "ETag": ETAG, "Content-Type": "text/x", "X-Other": "a, b"}
    origin.on("/head", answer("200 Fine", fields, b"content"))
    first = pair[0].get("/head")
    keep(pair[0], empty, "/head")
    second = pair[1].get("/head")
    assert (second.status, second.reason) == (200, "Fine")
    for name in (*fields, "Date", "X-Cache-Key"):
        assert second.fields[name.lower()] == first.fields[name.lower()]
    assert pair[1].get("/head", {"If-None-Match": ETAG}).status == 304


def test_a_restarted_proxy_has_it(
    start_proxy: StartProxy, empty: RedisServer, origin: ScriptedOrigin
) -> None:
    origin.on("/kept", fresh(b"kept"))
    first = sharing(start_proxy, empty, *PATIENT)
    keep(first, empty, "/kept")
    first.stop()
    assert hit(sharing(start_proxy, empty, *PATIENT), "/kept") == b"kept"


def test_redis_alone_answers(
    start_proxy: StartProxy, empty: RedisServer, origin: ScriptedOrigin
) -> None:
    origin.on("/alone", Counted(Vary="X-Kind"))
    proxy = sharing(start_proxy, empty, *PATIENT, "--memory", "0")
    first = keep(proxy, empty, "/alone", **{"X-Kind": "a"})
    second = keep(proxy, empty, "/alone", **{"X-Kind": "b"})
    wait_until(lambda: proxy.stats()["redis_stored"] == 2, "both to be stored")
    for _ in range(3):
        assert hit(proxy, "/alone", **{"X-Kind": "a"}) == first
        assert hit(proxy, "/alone", **{"X-Kind": "b"}) == second
    assert proxy.stats()["entries"] == 0


def test_vary_selects(pair: Pair, empty: RedisServer, origin: ScriptedOrigin) -> None:
    origin.on("/vary", Counted(Vary="X-Kind"))
    bodies = {kind: keep(pair[0], empty, "/vary", **{"X-Kind": kind}) for kind in "abc"}
    for kind, body in bodies.items():
        assert hit(pair[1], "/vary", **{"X-Kind": kind}) == body
    assert hit(pair[1], "/vary", **{"X-Kind": "d"}) is None


def test_accept_encoding_is_in_the_key(
    pair: Pair, empty: RedisServer, origin: ScriptedOrigin
) -> None:
    origin.on("/coded", Counted())
    one = keep(pair[0], empty, "/coded", **{"Accept-Encoding": "gzip"})
    two = keep(pair[0], empty, "/coded", **{"Accept-Encoding": "br"})
    assert hit(pair[1], "/coded", **{"Accept-Encoding": "gzip"}) == one
    assert hit(pair[1], "/coded", **{"Accept-Encoding": "br"}) == two


def test_what_is_stored_stays_in_memory(
    pair: Pair, empty: RedisServer, origin: ScriptedOrigin
) -> None:
    origin.on("/own", fresh())
    keep(pair[0], empty, "/own")
    before = pair[0].stats()
    for _ in range(5):
        assert hit(pair[0], "/own")
    after = pair[0].stats()
    assert after["redis_hits"] == before["redis_hits"]
    assert after["entries"] == 1


def test_lifetimes_have_room_for_stale_use(
    start_proxy: StartProxy, empty: RedisServer, origin: ScriptedOrigin
) -> None:
    origin.on("/life", fresh(seconds=100))
    proxy = sharing(start_proxy, empty, *PATIENT, "--stale-if-error", "1000s")
    keep(proxy, empty, "/life")
    key = proxy.get("/life").fields["x-cache-key"]
    assert 1_090_000 < empty.do("PTTL", key) <= 1_100_000
    for name in empty.do("KEYS", "cache:url:*"):
        assert empty.do("PTTL", name) > 1_100_000
    assert all(empty.do("PTTL", name) > 0 for name in empty.do("KEYS", "cache:[0-9a-f]*"))


# -- purges

PURGES = {
    "url": {"url": "/purged"},
    "prefix": {"prefix": "/pur"},
    "tag": {"tag": "shop"},
    "group": {"group": "news"},
}


@pytest.mark.parametrize("by", [*PURGES, "method", "clear"])
def test_a_purge_at_one_is_heeded_by_the_other(
    pair: Pair, empty: RedisServer, origin: ScriptedOrigin, by: str
) -> None:
    origin.on("/purged", Counted(Cache_Tag="shop, other", Cache_Groups='"news"'))
    keep(pair[0], empty, "/purged")
    assert hit(pair[1], "/purged") == b"answer 1"
    if by == "method":
        assert pair[0].request("PURGE", "/purged").status == 200
    elif by == "clear":
        assert pair[0].clear().status == 200
    else:
        assert post(pair[0], **PURGES[by]).status == 200
    wait_until(lambda: pair[1].get("/purged").body != b"answer 1", "the purge to be heeded")
    wait_until(lambda: pair[0].get("/purged").body != b"answer 1", "both to have a new one")
    # A purge by tag is told twice: what is fetched between the two may not be stored.
    assert len(origin.seen("/purged")) <= (3 if by in ("tag", "group") else 2)


def test_what_was_purged_does_not_come_back_from_redis(
    pair: Pair, empty: RedisServer, origin: ScriptedOrigin
) -> None:
    origin.on("/gone", Counted(Cache_Tag="shop"))
    keep(pair[0], empty, "/gone")
    assert post(pair[1], tag="shop").status == 200
    assert pair[1].get("/gone").body == b"answer 2"


def test_others_are_left_alone(pair: Pair, empty: RedisServer, origin: ScriptedOrigin) -> None:
    origin.on("/a", Counted(Cache_Tag="one"))
    origin.on("/ab", Counted(Cache_Tag="two"))
    keep(pair[0], empty, "/a")
    keep(pair[0], empty, "/ab")
    post(pair[0], url="/a")
    post(pair[0], tag="one")
    post(pair[0], prefix="/abc")
    assert hit(pair[1], "/ab") == b"answer 1"
    assert hit(pair[0], "/ab") == b"answer 1"


def test_many_purges_by_tag_leave_the_rest(
    pair: Pair, empty: RedisServer, origin: ScriptedOrigin
) -> None:
    origin.on("/rest", Counted(Cache_Tag="rest"))
    keep(pair[0], empty, "/rest")
    for first in range(0, 600, 100):
        tags = ", ".join(f"other-{number}" for number in range(first, first + 100))
        fields = {"Cache-Tag": tags}
        assert pair[0].request("PURGE", "/", fields).status == 200
    assert hit(pair[1], "/rest") == hit(pair[0], "/rest") == b"answer 1"
    assert post(pair[1], tag="rest").status == 200
    assert hit(pair[1], "/rest") is None


@pytest.mark.parametrize("by", PURGES)
def test_a_soft_purge_leaves_it_for_validation(
    pair: Pair, empty: RedisServer, origin: ScriptedOrigin, by: str
) -> None:
    tags = {"Cache-Tag": "shop", "Cache-Groups": '"news"'}
    origin.on("/purged", Validated(tags))
    keep(pair[0], empty, "/purged")
    assert hit(pair[1], "/purged") == b"content"
    assert post(pair[0], **PURGES[by], soft=True).status == 200
    wait_until(lambda: (pair[1].get("/purged"), len(origin.seen("/purged")) > 1)[1], "the other")
    assert origin.seen("/purged")[1].fields["if-none-match"] == ETAG


def test_an_unsafe_request_at_one_is_heeded_by_the_other(
    pair: Pair, empty: RedisServer, origin: ScriptedOrigin
) -> None:
    origin.on("/changed", Counted())
    keep(pair[0], empty, "/changed")
    assert hit(pair[1], "/changed") == b"answer 1"
    assert pair[0].request("POST", "/changed", {}, b"new").body == b"answer 2"
    wait_until(lambda: pair[1].get("/changed").body == b"answer 3", "the change to be heeded")


@pytest.mark.parametrize("by", [*PURGES, "clear"])
def test_a_purge_wins_over_a_fetch_under_way_elsewhere(
    pair: Pair, empty: RedisServer, origin: ScriptedOrigin, by: str
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(exchange: Exchange) -> None:
        if begun.is_set():
            exchange.send(fresh(b"new"))
            return
        begun.set()
        exchange.wait(go_on, "the purge")
        fields = {**FRESH, "Cache-Tag": "shop", "Cache-Groups": '"news"'}
        exchange.send(answer("200 OK", fields, b"old"))

    origin.on("/purged", slow)
    with pair[1].client() as client:
        client.send(b"GET /purged HTTP/1.1\r\nHost: a\r\n\r\n")
        assert begun.wait(10)
        if by == "clear":
            pair[0].clear()
        else:
            post(pair[0], **PURGES[by])
        # The news of it is there once that of a later change is.
        origin.on("/later", Counted())
        keep(pair[0], empty, "/later")
        assert hit(pair[1], "/later")
        post(pair[0], url="/later")
        wait_until(lambda: hit(pair[1], "/later") is None, "the news")
        go_on.set()
        assert client.response().body == b"old"
    assert pair[1].get("/purged").body == b"new"
    assert pair[0].get("/purged").body == b"new"


# -- by hand


def test_what_is_deleted_by_hand_is_gone(
    pair: Pair, empty: RedisServer, origin: ScriptedOrigin
) -> None:
    origin.on("/deleted", Counted(Cache_Tag="shop"))
    keep(pair[0], empty, "/deleted")
    key = pair[0].get("/deleted").fields["x-cache-key"]
    for number, name in enumerate([key, "cache:tag:shop", f"cache:url:{origin.url}/deleted"], 2):
        assert empty.do("DEL", name) == 1, name
        wait_until(
            lambda number=number: pair[0].get("/deleted").body == b"answer %d" % number,
            f"{name} to be missed",
        )
        wait_until(lambda: stored(empty, key), "the new one in Redis")
        wait_until(lambda: hit(pair[0], "/deleted") is not None, "the new one to stay")


def test_after_a_flush_nothing_is_left_and_all_goes_on(
    pair: Pair, empty: RedisServer, origin: ScriptedOrigin
) -> None:
    origin.on("/flushed", Counted())
    keep(pair[0], empty, "/flushed")
    assert hit(pair[1], "/flushed")
    empty.do("FLUSHALL")
    wait_until(lambda: pair[0].get("/flushed").body == b"answer 2", "the flush to be heeded")
    wait_until(lambda: pair[1].get("/flushed").body != b"answer 1", "the flush to be heeded")
    origin.on("/after", fresh(b"after"))
    wait_until(lambda: keep(pair[0], empty, "/after") == b"after", "responses to be stored again")
    assert hit(pair[1], "/after") == b"after"


@pytest.mark.parametrize("octets", [b"", b"garbage", b"\xc4\xca\x01" + bytes(200)])
def test_what_is_no_response_is_a_miss(
    pair: Pair, empty: RedisServer, origin: ScriptedOrigin, octets: bytes
) -> None:
    origin.on("/hostile", Counted())
    keep(pair[0], empty, "/hostile")
    key = pair[0].get("/hostile").fields["x-cache-key"]
    empty.do("SET", key, octets)
    assert pair[1].get("/hostile").body == b"answer 2"
    wait_until(lambda: empty.do("GET", key) != octets, "it to be replaced")
    # Both may have seen what was there, and removed it after the other's new one had come.
    wait_until(lambda: hit(pair[0], "/hostile") not in (None, b"answer 1"), "it to be stored anew")


def test_a_chunk_that_is_missing_is_a_miss(
    pair: Pair, empty: RedisServer, origin: ScriptedOrigin
) -> None:
    origin.on("/big", fresh(b"x" * 600_000))
    keep(pair[0], empty, "/big")
    key = pair[0].get("/big").fields["x-cache-key"]
    assert empty.do("DEL", f"{key}/1") == 1
    assert pair[1].get("/big").body == b"x" * 600_000
    assert len(origin.seen("/big")) == 2


def test_another_prefix_is_another_cache(
    start_proxy: StartProxy, empty: RedisServer, origin: ScriptedOrigin
) -> None:
    origin.on("/apart", Counted())
    one = sharing(start_proxy, empty, *PATIENT)
    two = sharing(start_proxy, empty, *PATIENT, "--redis-prefix", "other:")
    keep(one, empty, "/apart")
    assert two.get("/apart").body == b"answer 2"
    key = two.get("/apart").fields["x-cache-key"]
    wait_until(lambda: empty.do("EXISTS", key.replace("cache:", "other:")), "it in Redis")
    post(two, prefix="/")
    assert hit(one, "/apart") == b"answer 1"


def test_slices_are_purged_with_their_whole(
    start_proxy: StartProxy, empty: RedisServer, origin: ScriptedOrigin
) -> None:
    content = bytes(range(256)) * 1024

    def ranged(exchange: Exchange) -> None:
        first, last = map(int, exchange.request.fields["range"][6:].split("-"))
        part = content[first : last + 1]
        told = f"bytes {first}-{first + len(part) - 1}/{len(content)}"
        fields = {**FRESH, "ETag": ETAG, "Content-Range": told}
        exchange.send(answer("206 Partial Content", fields, part))

    origin.on("/sliced", ranged)
    one, two = (sharing(start_proxy, empty, *PATIENT, "--slice", "64KB") for _ in range(2))
    assert one.get("/sliced").body == two.get("/sliced").body == content
    asked = len(origin.seen("/sliced"))
    assert post(one, url="/sliced").status == 200
    wait_until(lambda: not two.stats()["entries"], "the other to have dropped its slices")
    assert two.get("/sliced").body == content
    assert len(origin.seen("/sliced")) == asked + 4


def test_a_unix_socket_with_a_password_and_a_database(
    start_proxy: StartProxy, origin: ScriptedOrigin, tmp_path: Path, socket_path: Path
) -> None:
    server = RedisServer(tmp_path, "--unixsocket", str(socket_path), "--requirepass", "pass word/@")
    server.start()
    try:
        origin.on("/at", fresh(b"at"))
        url = f"unix://:pass%20word%2F%40@{socket_path}?db=3"
        proxy = start_proxy("--redis-url", url, *PATIENT)
        wait_until(lambda: proxy.stats()["redis_connected"], "the proxy to use Redis")
        proxy.get("/at")
        wait_until(lambda: proxy.stats()["redis_stored"] == 1, "it to be stored")
        assert "pass word" not in proxy.errors()
    finally:
        server.kill()


def test_the_receipt_says_whom_a_purge_has_reached(
    pair: Pair, empty: RedisServer, origin: ScriptedOrigin
) -> None:
    wait_until(lambda: all(one.stats()["redis_processes"] == 2 for one in pair), "both to be seen")
    receipt = json.loads(pair[0].request("PURGE", "/nothing").body)
    assert receipt == {"purged": 0, "soft": False, "processes": 2}
    assert json.loads(pair[0].clear().body) == {"removed": 0, "processes": 2}


def test_the_receipt_of_several_workers(
    start_proxy: StartProxy, empty: RedisServer, origin: ScriptedOrigin
) -> None:
    proxy = sharing(start_proxy, empty, *PATIENT, "--workers", "2")
    wait_until(lambda: proxy.stats()["redis_processes"] == 2, "both workers to be seen")
    receipt = json.loads(proxy.request("PURGE", "/nothing").body)
    assert receipt == {"purged": 0, "soft": False, "workers": 2, "processes": 2}


TEXT = b"the same again and again, " * 200_000


@pytest.mark.parametrize("size", [1000, 5000, 300_000, 5_000_000])
def test_compressed_bodies_are_shared(
    start_proxy: StartProxy, empty: RedisServer, origin: ScriptedOrigin, size: int
) -> None:
    origin.on("/text", fresh(TEXT[:size]))
    first = sharing(start_proxy, empty, *PATIENT, "--redis-compress", "zstd")
    second = sharing(start_proxy, empty, *PATIENT)
    keep(first, empty, "/text")
    assert hit(second, "/text") == TEXT[:size]
    key = second.get("/text").fields["x-cache-key"]
    assert (empty.do("STRLEN", key) < min(size, 3000)) == (size > 1000)


def test_a_large_body_that_compresses_little(
    start_proxy: StartProxy, empty: RedisServer, origin: ScriptedOrigin
) -> None:
    body = random.Random(1).randbytes(700_000) + bytes(500_000)
    origin.on("/mixed", fresh(body))
    first = sharing(start_proxy, empty, *PATIENT, "--redis-compress", "zstd")
    second = sharing(start_proxy, empty, *PATIENT)
    keep(first, empty, "/mixed")
    assert hit(second, "/mixed") == body


@pytest.mark.parametrize(
    "octets", [b"", b"no Zstandard", "a bomb", "another length"], ids=["", "none", "bomb", "length"]
)
def test_hostile_compressed_bodies_are_a_miss(
    start_proxy: StartProxy, empty: RedisServer, origin: ScriptedOrigin, octets: bytes | str
) -> None:
    proxy = sharing(start_proxy, empty, *PATIENT, "--redis-compress", "zstd", "--memory", "0")
    origin.on("/hostile", fresh(TEXT[:5000]), fresh(b"a new one"))
    keep(proxy, empty, "/hostile")
    key = proxy.get("/hostile").fields["x-cache-key"]
    whole: bytes = empty.do("GET", key)
    packed = compress(TEXT[:5000]) or b""
    assert whole.endswith(packed)
    if octets == "a bomb":
        octets = compress(bytes(50_000_000)) or b""
    elif octets == "another length":
        octets = compress(TEXT[:4999]) or b""
    assert isinstance(octets, bytes)
    head = whole[: -len(packed) - 4] + struct.pack("=I", len(octets))
    empty.do("SET", key, head + octets)
    assert proxy.get("/hostile").body == b"a new one"
