"""Connections to the origin: kept, found stale, closed when what came on them is not clean."""

from __future__ import annotations

import threading

import pytest

from .support.cache_status import check_error
from .support.proxy import ProxyProcess
from .support.scripted_origin import Exchange, Script, ScriptedOrigin, answer, fresh
from .support.stand import Stand, StartProxy
from .support.waiting import wait_until


def _stale(stand: Stand, ending: Script) -> None:
    """Leave exactly one pooled connection, which ends when the next request comes on it."""
    stand.origin.on("/stale", ending, answer("200 OK", {"Cache-Control": "no-store"}, b"fresh one"))
    assert stand.proxy.get("/first").status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("ending", [Exchange.close, Exchange.reset], ids=["closed", "reset"])
def test_stale_connection_is_replaced_once(
    proxy: ProxyProcess, origin: ScriptedOrigin, method: str, ending: Script
) -> None:
    _stale(Stand(origin, proxy), ending)
    assert proxy.request(method, "/stale").status == 200
    assert len(origin.seen("/stale")) == 2
    assert len(origin.connections) == 2


@pytest.mark.parametrize("ending", [Exchange.close, Exchange.reset], ids=["closed", "reset"])
def test_post_on_a_stale_connection_is_not_repeated(
    proxy: ProxyProcess, origin: ScriptedOrigin, ending: Script
) -> None:
    """RFC 9112 9.3.1: the origin may have acted on it."""
    _stale(Stand(origin, proxy), ending)
    check_error(proxy.request("POST", "/stale", {}, b"pay"), 502, method="POST")
    assert len(origin.seen("/stale")) == 1


def test_a_retry_is_not_repeated(proxy: ProxyProcess, origin: ScriptedOrigin) -> None:
    origin.on("/stale", Exchange.close)
    proxy.get("/first")
    check_error(proxy.get("/stale"), 502)
    assert len(origin.seen("/stale")) == 2


def test_a_connection_that_ended_while_idle_is_not_used(
    proxy: ProxyProcess, origin: ScriptedOrigin
) -> None:
    """Even for POST: the proxy has seen the end before."""

    def end_later(exchange: Exchange) -> None:
        exchange.send(answer("200 OK", {"Cache-Control": "no-store"}, b"x"))
        exchange.half_close()
        exchange.wait_for_close()

    origin.on("/first", end_later)
    proxy.get("/first")
    origin.connections[0].wait_closed()
    assert proxy.request("POST", "/second", {}, b"pay").status == 200
    assert len(origin.seen("/second")) == 1


def test_connections_are_pooled(proxy: ProxyProcess, origin: ScriptedOrigin) -> None:
    for n in range(5):
        proxy.get(f"/{n}")
        proxy.request("POST", f"/{n}", {}, b"x")
    assert len(origin.connections) == 1


def test_connection_close_from_the_origin_is_heeded(
    proxy: ProxyProcess, origin: ScriptedOrigin
) -> None:
    origin.on("/close", answer("200 OK", {"Connection": "close"}, b"x"))
    assert "close" not in (proxy.get("/close").fields.get("connection") or "")
    origin.connections[0].wait_closed()
    proxy.get("/next")
    assert len(origin.connections) == 2


def test_an_http_1_0_origin(proxy: ProxyProcess, origin: ScriptedOrigin) -> None:
    origin.on("/", fresh(b"old").replace(b"HTTP/1.1", b"HTTP/1.0"))
    with proxy.client() as client:
        response = client.get("/")
        assert (response.version, response.body) == ("HTTP/1.1", b"old")
        assert client.get("/next").status == 200
    origin.connections[0].wait_closed()


# --- bytes that belong to nothing -----------------------------------------------------------------

POISON = answer("200 OK", {"Cache-Control": "max-age=600"}, b"poison")
LENGTH = answer("200 OK", {"Cache-Control": "no-store"}, b"good")
CHUNKED = answer("200 OK", {"Transfer-Encoding": "chunked", "Cache-Control": "no-store"})
BODY_IN_CHUNKS = b"4\r\ngood\r\n0\r\n\r\n"
EXTRA = {
    "response after length": ("GET", LENGTH, POISON),
    "response after chunks": ("GET", CHUNKED + BODY_IN_CHUNKS, POISON),
    "a single byte": ("GET", LENGTH, b"\n"),
    "body of 204": ("GET", answer("204 No Content"), b"poison"),
    "body of 304": ("GET", answer("304 Not Modified"), b"poison"),
    "body of HEAD": ("HEAD", LENGTH.removesuffix(b"good"), b"good"),
    "response after HEAD": ("HEAD", LENGTH.removesuffix(b"good"), POISON),
    "chunks after HEAD": ("HEAD", CHUNKED, BODY_IN_CHUNKS),
}


@pytest.mark.parametrize("case", EXTRA)
@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
def test_extra_bytes_close_the_connection_and_are_never_served(
    proxy: ProxyProcess, origin: ScriptedOrigin, case: str, later: bool
) -> None:
    method, good, extra = EXTRA[case]
    answered = threading.Event()

    def send(exchange: Exchange) -> None:
        if later:
            exchange.send(good)
            exchange.wait(answered, "the client to get its answer")
            exchange.send(extra)
        else:
            exchange.send(good + extra)
        exchange.wait_for_close()

    origin.on("/extra", send)
    fields = {"If-Match": '"a"', "If-None-Match": '"a"'}  # passed on as they are
    with proxy.client() as client:
        assert client.request(method, "/extra", fields).body in (b"good", b"")
        answered.set()
        origin.served_on[0].wait_closed()
        for n in range(5):
            assert client.get(f"/victim/{n}").body == f"/victim/{n}".encode()
            assert client.request("HEAD", f"/victim/{n}").status == 200
    assert len(origin.connections) == 2, "what follows is pooled again"


# --- settings --------------------------------------------------------------------------------


def test_idle_timeout(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    proxy = start_proxy("--origin-idle-timeout", "300ms")
    proxy.get("/")
    origin.connections[0].wait_closed()
    assert proxy.request("POST", "/", {}, b"x").status == 200


def test_number_of_idle_connections_kept(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    released = threading.Event()

    def together(exchange: Exchange) -> None:
        exchange.wait(released, "all requests to be there")
        exchange.send(answer("200 OK", {"Cache-Control": "no-store"}))

    for n in range(5):
        origin.on(f"/{n}", together)
    proxy = start_proxy("--origin-keepalive", "2")
    clients = [proxy.client() for _ in range(5)]
    for n, client in enumerate(clients):
        client.send(client.head("GET", f"/{n}"))
    wait_until(lambda: len(origin.requests) == 5, "five requests at once")
    released.set()
    for client in clients:
        assert client.response().status == 200
        client.close()
    wait_until(
        lambda: sum(connection.closed.is_set() for connection in origin.connections) == 3,
        "all but two connections to be closed",
    )
    assert proxy.get("/next").status == 200
    assert len(origin.connections) == 5


def test_no_idle_connection_kept(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    proxy = start_proxy("--origin-keepalive", "0")
    for _ in range(3):
        proxy.get("/")
    assert len(origin.connections) == 3
    for connection in origin.connections:
        connection.wait_closed()
