"""Sizes and crowds: objects too large, a tier that is full, many clients at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from .support import bodies
from .support.messages import Response
from .support.raw_client import RawClient, chunked
from .support.scripted_origin import Exchange, ScriptedOrigin, answer, fresh
from .support.site import Site
from .support.stand import Stand, StartProxy
from .support.waiting import DEADLINE

KB = 1024


def _fetch(address: tuple[str, int], target: str) -> Response:
    with RawClient(address) as client:
        return client.get(target)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_objects_over_max_object_stream_through_unstored(
    start_proxy: StartProxy, site: Site, framing: str
) -> None:
    proxy = start_proxy("--max-object", "100KB", origin=site.url)
    for size, caches in ((100 * KB, ["MISS", "HIT"]), (100 * KB + 1, ["MISS", "MISS"])):
        target = f"/bytes/{size}?framing={framing}"
        responses = [proxy.get(target) for _ in range(2)]
        assert [response.cache for response in responses] == caches
        assert {response.sha256 for response in responses} == {bodies.digest(target, size)}


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_max_object_holds_for_a_body_that_comes_with_its_head(
    start_proxy: StartProxy, origin: ScriptedOrigin, framing: str
) -> None:
    """All of the response is in the first packet, before it was decided what to do with it."""

    def at_once(exchange: Exchange) -> None:
        size = int(exchange.request.target[1:])
        head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n"
        if framing == "length":
            exchange.send(head + b"Content-Length: %d\r\n\r\n" % size + bytes(size))
        elif framing == "chunked":
            head += b"Transfer-Encoding: chunked\r\n\r\n"
            exchange.send(head + b"".join(chunked([bytes(size)])))
        else:
            exchange.send(head + b"Connection: close\r\n\r\n" + bytes(size))
            exchange.close()

    proxy = start_proxy("--max-object", "1KB")
    for size, second in ((KB, "HIT"), (KB + 1, "MISS"), (10 * KB, "MISS")):
        origin.on(f"/{size}", at_once)
        responses = [proxy.get(f"/{size}") for _ in range(2)]
        assert [response.size for response in responses] == [size, size]
        assert responses[1].cache == second, size
    assert proxy.stats()["entries"] == 1


def test_an_object_too_large_does_not_drop_the_stored_smaller_one_of_another_url(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    proxy = start_proxy("--max-object", "1KB")
    origin.on("/small", fresh(b"s"))
    origin.on("/large", fresh(b"l" * 2000))
    proxy.get("/small")
    proxy.get("/large")
    assert (proxy.get("/small").cache, proxy.get("/large").cache) == ("HIT", "MISS")


def test_memory_zero_turns_the_tier_off(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    proxy = start_proxy("--memory", "0")
    origin.on("/", fresh())
    assert [proxy.get("/").cache for _ in range(3)] == ["MISS"] * 3
    assert len(origin.requests) == 3
    assert proxy.stats()["entries"] == 0


def test_the_memory_tier_is_bounded_by_bytes(start_proxy: StartProxy, site: Site) -> None:
    limit, size, count = 2 * KB * KB, 100 * KB, 60
    proxy = start_proxy("--memory", "2MB", origin=site.url)
    with proxy.client() as client:
        for n in range(count):
            target = f"/bytes/{size}?bound={n}"
            assert client.get(target).sha256 == bodies.digest(target, size)
            assert proxy.stats()["memory_bytes"] <= limit
        stats = proxy.stats()
        assert 0 < stats["entries"] <= limit // size
        caches = [client.get(f"/bytes/{size}?bound={n}").cache for n in reversed(range(count))]
    assert 0 < caches.count("HIT") <= limit // size


def test_what_is_asked_for_often_stays_when_others_pass_by(
    start_proxy: StartProxy, site: Site
) -> None:
    proxy = start_proxy("--memory", "2MB", origin=site.url)
    popular = "/bytes/10240?popular"
    with proxy.client() as client:
        for _ in range(10):
            client.get(popular)
        for n in range(100):
            client.get(f"/bytes/51200?passing={n}")
        assert client.get(popular).cache == "HIT"


def test_many_small_objects_are_accounted_for(start_proxy: StartProxy, site: Site) -> None:
    proxy = start_proxy("--memory", "1MB", origin=site.url)
    with proxy.client() as client:
        for n in range(3000):
            client.get(f"/bytes/10?many={n}")
    stats = proxy.stats()
    assert 0 < stats["memory_bytes"] <= KB * KB
    assert stats["entries"] < 3000, "heads, keys and records cost memory too"


def test_stats_count_hits_and_misses(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    proxy = start_proxy()
    origin.on("/", fresh())
    for _ in range(4):
        proxy.get("/")
    stats = proxy.stats()
    assert (stats["hits"], stats["misses"], stats["entries"]) == (3, 1, 1)
    assert stats["hit_ratio"] == pytest.approx(0.75)


def test_many_clients_ask_for_the_same_new_object(stand: Stand) -> None:
    """All get the whole body, however many fetches the proxy makes of it."""
    body = bodies.body("crowd", 300_000)
    stand.origin.on("/crowd", fresh(body))
    with ThreadPoolExecutor(64) as pool:
        waiting = [pool.submit(_fetch, stand.proxy.address, "/crowd") for _ in range(64)]
        responses = [future.result(DEADLINE) for future in waiting]
    assert {response.body == body for response in responses} == {True}
    assert len({response.fields["x-cache-key"] for response in responses}) == 1
    assert stand.proxy.get("/crowd").cache == "HIT"


def test_many_clients_ask_for_the_same_private_object(stand: Stand) -> None:
    """What may not be shared is fetched for each of them."""
    lock, count = threading.Lock(), iter(range(1000))

    def private(exchange: Exchange) -> None:
        with lock:
            number = next(count)
        exchange.send(answer("200 OK", {"Cache-Control": "private"}, b"%d" % number))

    stand.origin.on("/private", private)
    with ThreadPoolExecutor(32) as pool:
        waiting = [pool.submit(_fetch, stand.proxy.address, "/private") for _ in range(32)]
        answers = [future.result(DEADLINE).body for future in waiting]
    assert len(set(answers)) == 32


def test_readers_of_a_growing_object_each_get_all_of_it(
    site: Site, start_proxy: StartProxy
) -> None:
    proxy = start_proxy(origin=site.url)
    clients = [proxy.client() for _ in range(8)]
    for client in clients:
        client.send(client.head("GET", "/held/growing"))
    first = clients[0].response_head()
    site.release("growing")
    responses = [clients[0].finish(first)] + [client.response() for client in clients[1:]]
    for client in clients:
        client.close()
    assert [response.body for response in responses] == [b"first half, second half"] * 8
    assert proxy.get("/held/growing").cache == "HIT"


def test_a_hit_while_the_origin_is_gone(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    proxy = start_proxy()
    origin.on("/", fresh())
    proxy.get("/")
    origin.close()
    assert proxy.get("/").cache == "HIT"
    response = proxy.get("/other")
    assert (response.status, response.cache) == (502, "MISS")
