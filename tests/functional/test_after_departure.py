"""Changes whose clients have left, and purges by those who came through a gateway."""

from __future__ import annotations

import threading

import pytest

from .support.cache_status import ours
from .support.scripted_origin import Exchange, ScriptedOrigin, answer, fresh
from .support.stand import Stand, StartProxy
from .support.waiting import DEADLINE, wait_until

# --- a client that leaves before it has its answer ------------------------------------------------

SETTINGS = {
    "default": ("--query-sort",),
    "cached": ("--cache-method", "POST", "--cache-method", "PUT"),
    "host-keyed": ("--host-header", "client"),
    "sliced": ("--slice", "64KB"),
}


class Done:
    """A script that does what a change asks for, and answers only when the client has gone."""

    def __init__(self) -> None:
        self.asked, self.gone = threading.Event(), threading.Event()

    def __call__(self, exchange: Exchange) -> None:
        exchange.read_body()
        self.asked.set()
        exchange.wait(self.gone, "the client to go")
        exchange.send(answer("200 OK", {}, b"done"))


@pytest.mark.parametrize("setting", SETTINGS)
def test_what_a_client_changed_before_it_left_is_fetched_anew(
    start_proxy: StartProxy, origin: ScriptedOrigin, setting: str
) -> None:
    """RFC 9111 4.4: the origin may have done it all the same; its answer is not waited for."""
    proxy = start_proxy(*SETTINGS[setting])
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        target, done = f"/page/{method}?a=1", Done()
        origin.on(target, fresh(b"before"), done, fresh(b"after"))
        assert proxy.get(target).body == b"before"
        assert proxy.get(target).cache == "HIT"
        with proxy.client() as client:
            client.send(client.head(method, target, {"Content-Length": "6"}), b"change")
            assert done.asked.wait(DEADLINE)
            client.reset()
        wait_until(lambda: proxy.stats()["connections"] == 0, "the proxy to see it go")
        done.gone.set()
        response = proxy.get(target)
        assert (response.cache, response.body) == ("MISS", b"after"), method
        assert proxy.get(target).cache == "HIT"
        assert [request.method for request in origin.seen(target)] == ["GET", method, "GET"]


def test_a_fetch_under_way_when_the_client_left_does_not_stay(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    """What was asked for before may be the old state; who asked gets it, nobody after."""
    asked = threading.Semaphore(0)
    gone = threading.Event()

    def old(exchange: Exchange) -> None:
        asked.release()
        exchange.wait(gone, "the client to go")
        exchange.send(fresh(b"before"))

    def change(exchange: Exchange) -> None:
        exchange.read_body()
        asked.release()
        exchange.wait_for_close()

    proxy = start_proxy()
    origin.on("/page", old, change, fresh(b"after"))
    with proxy.client() as reader, proxy.client() as writer:
        reader.send(reader.head("GET", "/page"))
        assert asked.acquire(timeout=DEADLINE)
        writer.send(writer.head("POST", "/page", {"Content-Length": "6"}), b"change")
        assert asked.acquire(timeout=DEADLINE)
        writer.reset()
        wait_until(lambda: proxy.stats()["connections"] == 1, "the proxy to see it go")
        gone.set()
        assert reader.response().body == b"before"
    response = proxy.get("/page")
    assert (response.cache, response.body) == ("MISS", b"after")


# --- purges through a gateway ---------------------------------------------------------------------

WORDS = (
    *("X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Anything"),
    *("CF-Connecting-IP", "True-Client-IP", "X-Client-IP", "Client-IP", "Fastly-Client-IP"),
    *("X-Cluster-Client-IP", "X-Original-Forwarded-For", "X-Envoy-External-Address"),
    *("X-Original-URL", "X-Rewrite-URL", "X-Host", "X-Original-Host", "X-Scheme"),
    *("X_Forwarded_For", "X_Forwarded-For", "x_real_ip", "CF_Connecting_IP", "x-forwarded_proto"),
)


@pytest.mark.parametrize("name", WORDS)
def test_purge_is_refused_with_any_word_of_a_gateway(stand: Stand, name: str) -> None:
    """Who comes through one on this machine would seem to be of loopback, whoever it is."""
    target = f"/purge/{name}"
    stand.origin.on(target, answer("200 OK", {"Cache-Control": "max-age=600", "Cache-Tag": "t"}))
    stand.proxy.get(target)
    for more in ({}, {"Cache-Tag": "t"}, {"Soft-Purge": "1"}):
        assert stand.proxy.request("PURGE", target, {name: "127.0.0.1", **more}).status == 403
    assert "hit" in ours(stand.proxy.get(target))
    assert stand.proxy.request("PURGE", target, {"X-Other": "127.0.0.1"}).status == 200
    assert stand.proxy.get(target).cache == "MISS"
    assert {request.method for request in stand.origin.requests} == {"GET"}
