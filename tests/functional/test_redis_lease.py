"""One fetch for the whole fleet: who waits for whom, and that nobody waits in vain."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from .support.cache_status import ours
from .support.herd import Held, Together, crowd
from .support.proxy import ProxyProcess
from .support.raw_client import RawClient
from .support.redis_server import RedisClusterNodes, RedisServer
from .support.scripted_origin import ScriptedOrigin, answer, fresh
from .support.sharing import FRESH, PATIENT, Counted, connected, sharing, stored
from .support.stand import StartProxy
from .support.waiting import wait_until

COUNTERS = ("redis_waits", "redis_spared", "origin_requests")
SOON = 1.5
"""Seconds: less than what is left of a lease that is renewed every second."""
Pair = tuple[ProxyProcess, ProxyProcess]


@dataclass
class Fleet:
    """Two proxies that share a Redis, in front of one origin."""

    origin: ScriptedOrigin
    redis: RedisServer
    pair: Pair


def two(start: StartProxy, redis: RedisServer, *options: str) -> Pair:
    """Two proxies that know of each other."""
    options = (*PATIENT, "--purge-from", "127.0.0.0/8", *options)
    pair = sharing(start, redis, *options), sharing(start, redis, *options)
    wait_until(lambda: all(one.stats()["redis_processes"] == 2 for one in pair), "both to be seen")
    return pair


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One for the tests of this file; targets must be the test's own."""
    redis = RedisServer(tmp_path_factory.mktemp("redis"))
    redis.start()
    origin = ScriptedOrigin()
    with ExitStack() as stack:
        stack.callback(redis.kill)
        stack.callback(origin.close)

        def start(*options: str) -> ProxyProcess:
            proxy = ProxyProcess(origin.url, *options)
            stack.callback(proxy.stop)
            return proxy

        yield Fleet(origin, redis, two(start, redis))
        assert not origin.faults


@contextmanager
def led(pair: Pair, target: str, script: Held, followers: int) -> Iterator[list[RawClient]]:
    """A client of the first, whose request the origin holds; clients of the second that wait."""
    with ExitStack() as stack:
        first = stack.enter_context(pair[0].client())
        first.send(first.head("GET", target, {}))
        script.wait_asked()
        waits = pair[1].stats()["redis_waits"]
        others = stack.enter_context(crowd(pair[1], followers, target))
        wait_until(lambda: pair[1].stats()["redis_waits"] > waits, "the second to wait")
        yield [first, *others]


def test_a_herd_over_two_proxies_is_one_fetch(fleet: Fleet) -> None:
    pair, origin = fleet.pair, fleet.origin
    script = Held(fresh(b"for all"))
    origin.on("/herd", script)
    before = pair[1].stats()
    with led(pair, "/herd", script, 20) as clients:
        released = time.monotonic()
        script.release()
        replies = [client.response() for client in clients]
    assert time.monotonic() - released < SOON, "they were not woken, but asked again in the end"
    assert {reply.body for reply in replies} == {b"for all"}
    assert [reply.cache for reply in replies] == ["MISS", *["HIT"] * 20]
    assert ours(replies[1])["detail"] == "fetched-elsewhere"
    assert len(origin.seen("/herd")) == 1
    after = pair[1].stats()
    counted = [after[name] - before[name] for name in COUNTERS]
    assert counted == [1, 1, 0]
    assert pair[1].get("/herd").cache == "HIT"


def test_with_tags_and_variants(fleet: Fleet) -> None:
    pair, origin = fleet.pair, fleet.origin
    fields = {**FRESH, "Vary": "X-Kind", "Cache-Tag": "one, two"}
    script = Held(answer("200 OK", fields, b"for all"))
    origin.on("/vary", script)
    with led(pair, "/vary", script, 3) as clients:
        script.release()
        assert {client.response().body for client in clients} == {b"for all"}
    assert len(origin.seen("/vary")) == 1


def test_a_large_body(fleet: Fleet) -> None:
    pair, origin = fleet.pair, fleet.origin
    script = Held(fresh(bytes(3_000_000)))
    origin.on("/large", script)
    with led(pair, "/large", script, 3) as clients:
        script.release()
        assert {len(client.response().body) for client in clients} == {3_000_000}
    assert len(origin.seen("/large")) == 1


def test_one_revalidates_for_all(fleet: Fleet) -> None:
    pair, origin = fleet.pair, fleet.origin
    etag = {**FRESH, "ETag": '"1"'}
    script = Held(answer("304 Not Modified", etag))
    origin.on("/stale", answer("200 OK", etag, b"the same"), script)
    first = pair[0].get("/stale")
    wait_until(lambda: stored(fleet.redis, first.fields["x-cache-key"]), "the response in Redis")
    assert pair[1].get("/stale").cache == "HIT"
    pair[0].request("PURGE", "/stale", {"Soft-Purge": "1"})
    with led(pair, "/stale", script, 5) as clients:
        script.release()
        assert {client.response().body for client in clients} == {b"the same"}
    assert len(origin.seen("/stale")) == 2


def test_behind_a_stale_answer_one_fetches(fleet: Fleet) -> None:
    pair, origin = fleet.pair, fleet.origin
    fields = {"Cache-Control": "max-age=600, stale-while-revalidate=600"}
    script = Held(answer("200 OK", fields, b"new"))
    origin.on("/behind", answer("200 OK", fields, b"old"), script)
    first = pair[0].get("/behind")
    wait_until(lambda: stored(fleet.redis, first.fields["x-cache-key"]), "the response in Redis")
    assert pair[1].get("/behind").cache == "HIT"
    waits = pair[1].stats()["redis_waits"]
    pair[0].request("PURGE", "/behind", {"Soft-Purge": "1"})
    assert pair[0].get("/behind").body == b"old"
    script.wait_asked()
    assert pair[1].get("/behind").body == b"old"
    wait_until(lambda: pair[1].stats()["redis_waits"] > waits, "the second to wait")
    script.release()
    wait_until(lambda: pair[1].get("/behind").body == b"new", "the second to have the new one")
    assert len(origin.seen("/behind")) == 2


def test_what_is_for_one_alone_releases_all_at_once(fleet: Fleet) -> None:
    pair, origin = fleet.pair, fleet.origin
    private = answer("200 OK", {"Cache-Control": "private"}, b"alone")
    script = Held(private)
    together = Together(4, lambda exchange: private)
    origin.on("/private", script, together)
    with led(pair, "/private", script, 4) as clients:
        script.release()
        assert [client.response().cache for client in clients] == ["MISS"] * 5
    assert len(origin.seen("/private")) == 5


def test_the_others_do_not_wait_for_a_body_that_is_not_stored(fleet: Fleet) -> None:
    pair, origin = fleet.pair, fleet.origin
    head = b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 3\r\n\r\n"
    script = Held(head, b"end")
    origin.on("/slow", script, answer("200 OK", {"Cache-Control": "no-store"}, b"own"))
    with led(pair, "/slow", script, 1) as clients:
        script.release(0)
        assert clients[1].response().body == b"own"
        script.release(1)
        assert clients[0].response().body == b"end"


def test_a_failure_is_not_everybodys(fleet: Fleet) -> None:
    pair, origin = fleet.pair, fleet.origin
    script = Held(b"no HTTP at all\r\n\r\n")
    origin.on("/broken", script, fresh(b"whole"))
    with led(pair, "/broken", script, 3) as clients:
        script.release()
        statuses = [client.response().status for client in clients]
    assert statuses == [502, 200, 200, 200]


def test_who_dies_is_replaced(
    start_proxy: StartProxy, redis: RedisServer, origin: ScriptedOrigin
) -> None:
    pair = two(start_proxy, redis)
    script = Held(fresh(b"too late"))
    origin.on("/dead", script, fresh(b"the next"))
    with led(pair, "/dead", script, 3) as clients:
        pair[0].kill()
        assert {client.response().body for client in clients[1:]} == {b"the next"}
    assert len(origin.seen("/dead")) == 2
    script.release()


def test_who_has_lost_its_turn_stores_nothing(fleet: Fleet) -> None:
    pair, origin = fleet.pair, fleet.origin
    script = Held(fresh(b"old"))
    origin.on("/lost", script, fresh(b"new"))
    with led(pair, "/lost", script, 1) as clients:
        for lease in fleet.redis.do("KEYS", "caching-proxy:lease:*"):
            fleet.redis.do("DEL", lease)
        assert clients[1].response().body == b"new"
        script.release()
        assert clients[0].response().body == b"old"
    wait_until(lambda: pair[0].get("/lost").body == b"new", "the first to have what its rival has")
    assert pair[1].get("/lost").body == b"new"
    assert len(origin.seen("/lost")) == 2


def test_who_ends_gives_its_turn_back(
    start_proxy: StartProxy, redis: RedisServer, origin: ScriptedOrigin
) -> None:
    pair = two(start_proxy, redis, "--grace", "0")
    script = Held(fresh(b"never"))
    origin.on("/ends", script, fresh(b"the next"))
    with led(pair, "/ends", script, 2) as clients:
        ended = time.monotonic()
        pair[0].terminate()
        assert {client.response().body for client in clients[1:]} == {b"the next"}
        assert time.monotonic() - ended < SOON
    assert pair[0].wait() == 0
    script.release()


def test_who_is_taken_for_dead_is_replaced(fleet: Fleet) -> None:
    pair, origin = fleet.pair, fleet.origin
    script = Held(fresh(b"old"))
    origin.on("/frozen", script, fresh(b"new"))
    with led(pair, "/frozen", script, 1) as clients:
        pair[0].process.send_signal(signal.SIGSTOP)
        assert clients[1].response().body == b"new"
        pair[0].process.send_signal(signal.SIGCONT)
        script.release()
        assert clients[0].response().body == b"old"
    wait_until(lambda: pair[0].get("/frozen").body == b"new", "the first to have it too")
    assert pair[1].get("/frozen").body == b"new"
    wait_until(lambda: connected(pair[0]), "the first to use Redis again")


def test_a_purge_while_others_wait(fleet: Fleet) -> None:
    pair, origin = fleet.pair, fleet.origin
    script = Held(fresh(b"old"))
    origin.on("/purged", script, fresh(b"new"))
    with led(pair, "/purged", script, 2) as clients:
        assert pair[1].request("PURGE", "/purged").status == 200
        script.release()
        assert [client.response().body for client in clients] == [b"old", b"new", b"new"]
    assert pair[0].get("/purged").body == b"new"


def test_nobody_waits_for_what_was_purged(fleet: Fleet) -> None:
    pair, origin = fleet.pair, fleet.origin
    script = Held(fresh(b"old"))
    origin.on("/void", script, fresh(b"new"))
    with pair[0].client() as first:
        first.send(first.head("GET", "/void", {}))
        script.wait_asked()
        pair[0].request("PURGE", "/void")
        purged = time.monotonic()
        assert pair[0].get("/void").body == b"new"
        assert time.monotonic() - purged < SOON
        script.release()
        assert first.response().body == b"old"
    assert pair[1].get("/void").body == b"new"


def test_nobody_waits_for_a_body_that_becomes_too_large(
    start_proxy: StartProxy, redis: RedisServer, origin: ScriptedOrigin
) -> None:
    pair = two(start_proxy, redis, "--max-object", "1KB")
    head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nTransfer-Encoding: chunked\r\n\r\n"
    script = Held(head + b"800\r\n" + bytes(2048) + b"\r\n", b"0\r\n\r\n")
    origin.on("/long", script, fresh(b"short"))
    with led(pair, "/long", script, 2) as clients:
        released = time.monotonic()
        script.release(0)
        assert {client.response().body for client in clients[1:]} == {b"short"}
        assert pair[0].get("/long").body == b"short"
        assert time.monotonic() - released < SOON
        script.release(1)
        assert clients[0].response().body == bytes(2048)


def test_no_lease_for_what_is_never_in_redis(fleet: Fleet) -> None:
    pair, origin = fleet.pair, fleet.origin
    script = Held(fresh())
    target = "/" + "long" * 300
    origin.on(target, script)
    with pair[0].client() as client:
        client.send(client.head("GET", target, {}))
        script.wait_asked()
        assert not fleet.redis.do("KEYS", "caching-proxy:lease:*")
        script.release()
        assert client.response().status == 200


def test_a_lease_that_redis_has_lost_is_had_again(fleet: Fleet) -> None:
    """As by eviction: nobody else has fetched meanwhile."""
    pair, origin = fleet.pair, fleet.origin
    script = Held(fresh(b"kept"))
    origin.on("/evicted", script)
    with pair[0].client() as client:
        client.send(client.head("GET", "/evicted", {}))
        script.wait_asked()
        for lease in fleet.redis.do("KEYS", "caching-proxy:lease:*"):
            fleet.redis.do("DEL", lease)
        script.release()
        key = client.response().fields["x-cache-key"]
    wait_until(lambda: stored(fleet.redis, key), "it in Redis all the same")
    assert pair[0].get("/evicted").cache == "HIT"


def test_who_gives_up_lets_the_next_have_its_turn(fleet: Fleet) -> None:
    pair, origin = fleet.pair, fleet.origin
    script = Held(fresh(b"never"))
    origin.on("/left", script, fresh(b"the next"))
    with led(pair, "/left", script, 1) as clients:
        clients[0].reset()
        assert clients[1].response().body == b"the next"


def test_a_client_that_asks_for_a_new_answer_does_not_wait(fleet: Fleet) -> None:
    pair, origin = fleet.pair, fleet.origin
    script = Held(fresh(b"held"))
    origin.on("/reload", script, fresh(b"its own"))
    with led(pair, "/reload", script, 1) as clients:
        assert pair[1].get("/reload", {"Cache-Control": "no-cache"}).body == b"its own"
        script.release()
        assert clients[0].response().body == b"held"
        assert clients[1].response().status == 200


@pytest.mark.parametrize(("coalesce", "fetches"), [("local", 2), ("off", 6)])
def test_coalesce(
    start_proxy: StartProxy,
    redis: RedisServer,
    origin: ScriptedOrigin,
    coalesce: str,
    fetches: int,
) -> None:
    together = Together(fetches, lambda exchange: fresh())
    origin.on("/each", together)
    pair = two(start_proxy, redis, "--coalesce", coalesce)
    with crowd(pair[0], 3, "/each") as some, crowd(pair[1], 3, "/each") as others:
        assert {client.response().status for client in (*some, *others)} == {200}
    assert len(origin.seen("/each")) == fetches


def test_a_lone_proxy_takes_no_lease(
    start_proxy: StartProxy, redis: RedisServer, origin: ScriptedOrigin
) -> None:
    proxy = sharing(start_proxy, redis, *PATIENT)
    wait_until(lambda: proxy.stats()["redis_processes"] == 1, "it to be seen")
    script = Held(fresh())
    origin.on("/lone", script)
    with proxy.client() as client:
        client.send(client.head("GET", "/lone", {}))
        script.wait_asked()
        assert redis.do("KEYS", "caching-proxy:lease:*") == []
        script.release()
        assert client.response().status == 200


def test_nothing_is_left_in_redis(fleet: Fleet) -> None:
    pair, origin = fleet.pair, fleet.origin
    script = Held(fresh())
    origin.on("/held", script)
    origin.on("/counted", Counted())
    with led(pair, "/held", script, 1) as clients:
        assert fleet.redis.do("KEYS", "caching-proxy:lease:*")
        script.release()
        for client in clients:
            client.response()
    pair[0].get("/counted")
    wait_until(lambda: not fleet.redis.do("KEYS", "*lease*"), "the leases to be given back")
    assert not fleet.redis.do("KEYS", "*returned*")


def test_redis_that_is_killed_releases_who_waits(
    start_proxy: StartProxy, redis: RedisServer, origin: ScriptedOrigin
) -> None:
    pair = two(start_proxy, redis)
    script = Held(fresh(b"first"))
    origin.on("/outage", script, fresh(b"second"))
    with led(pair, "/outage", script, 3) as clients:
        redis.kill()
        assert {client.response().body for client in clients[1:]} == {b"second"}
        script.release()
        assert clients[0].response().body == b"first"


def test_redis_that_hangs_releases_who_waits(
    start_proxy: StartProxy, redis: RedisServer, origin: ScriptedOrigin
) -> None:
    pair = two(start_proxy, redis, "--redis-timeout", "500ms")
    script = Held(fresh(b"first"))
    origin.on("/hangs", script, fresh(b"second"))
    origin.on("/after", Counted())
    with led(pair, "/hangs", script, 3) as clients:
        redis.pause()
        assert {client.response().body for client in clients[1:]} == {b"second"}
        script.release()
        assert clients[0].response().body == b"first"
        assert pair[0].get("/hangs").cache == "HIT"
    redis.resume()
    wait_until(lambda: all(map(connected, pair)), "Redis to be used again")
    wait_until(lambda: not redis.do("KEYS", "caching-proxy:lease:*"), "no lease to be left")


def test_over_a_cluster(
    start_proxy: StartProxy, cluster: RedisClusterNodes, origin: ScriptedOrigin
) -> None:
    pair = two(start_proxy, cluster.nodes[0], "--use-cluster")
    for number in range(12):
        script = Held(answer("200 OK", {**FRESH, "Vary": "X-Kind"}, b"for all"))
        origin.on(f"/{number}", script)
        with led(pair, f"/{number}", script, 3) as clients:
            script.release()
            assert {client.response().body for client in clients} == {b"for all"}
        assert len(origin.seen(f"/{number}")) == 1
