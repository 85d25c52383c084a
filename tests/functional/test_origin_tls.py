"""Origins behind TLS: verified, named by SNI, and complete only after a close_notify."""

from __future__ import annotations

import contextlib
import ssl
from datetime import datetime, timedelta, timezone

import pytest

from .support.cache_status import ours
from .support.messages import IncompleteError
from .support.scripted_origin import Exchange, ScriptedOrigin, answer, fresh
from .support.stand import StartOrigin, StartProxy
from .support.tls import Authority


def _origin(start_origin: StartOrigin, context: ssl.SSLContext) -> ScriptedOrigin:
    return start_origin(tls=context, name="localhost")


def test_https_origin(
    start_origin: StartOrigin, start_proxy: StartProxy, authority: Authority
) -> None:
    names: list[str | None] = []
    context = authority.server("localhost")
    context.sni_callback = lambda sock, name, context: names.append(name)
    origin = _origin(start_origin, context)
    proxy = start_proxy("--origin-ca", str(authority.path), origin=origin.url)
    origin.on("/", fresh(b"secret"))
    assert [proxy.get("/").cache for _ in range(2)] == ["MISS", "HIT"]
    assert proxy.request("POST", "/post", {}, b"x" * 100_000).body == b"/post"
    assert origin.seen("/post")[0].body == b"x" * 100_000
    assert names == ["localhost"], "one connection, pooled, with its name in the handshake"
    assert origin.requests[0].fields["host"] == origin.authority


def test_large_bodies_over_tls(
    start_origin: StartOrigin, start_proxy: StartProxy, authority: Authority
) -> None:
    origin = _origin(start_origin, authority.server("localhost"))
    proxy = start_proxy("--origin-ca", str(authority.path), origin=origin.url)
    body = bytes(range(256)) * 40_000
    origin.on("/large", fresh(body))
    assert [proxy.get("/large").body == body for _ in range(2)] == [True, True]


def _check_unverified(start_proxy: StartProxy, origin: ScriptedOrigin, *options: str) -> None:
    proxy = start_proxy(*options, origin=origin.url)
    response = proxy.get("/")
    assert response.status == 502
    assert "detail" in ours(response)
    assert not origin.requests, "nothing is sent to a server that is not verified"


def test_unknown_authority(
    start_origin: StartOrigin, start_proxy: StartProxy, authority: Authority
) -> None:
    _check_unverified(start_proxy, _origin(start_origin, authority.server("localhost")))


def test_another_name(
    start_origin: StartOrigin, start_proxy: StartProxy, authority: Authority
) -> None:
    origin = _origin(start_origin, authority.server("other.example"))
    _check_unverified(start_proxy, origin, "--origin-ca", str(authority.path))


def test_expired(start_origin: StartOrigin, start_proxy: StartProxy, authority: Authority) -> None:
    yesterday = datetime.now(timezone.utc) - timedelta(days=1)
    origin = _origin(start_origin, authority.server("localhost", expires=yesterday))
    _check_unverified(start_proxy, origin, "--origin-ca", str(authority.path))


def test_no_tls_at_all(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    """A plain server behind an https origin: it sees a handshake, which is no request."""
    proxy = start_proxy(origin=origin.url.replace("http:", "https:"))
    response = proxy.get("/")
    assert response.status == 502 and "detail" in ours(response)
    assert not origin.requests
    for connection in origin.connections:
        connection.wait_closed()
    origin.faults.clear()


@pytest.mark.parametrize("name", ["localhost", "other.example"])
def test_origin_insecure(
    start_origin: StartOrigin, start_proxy: StartProxy, authority: Authority, name: str
) -> None:
    origin = _origin(start_origin, authority.server(name))
    proxy = start_proxy("--origin-insecure", origin=origin.url)
    assert proxy.get("/").body == b"/"


@pytest.mark.parametrize("notify", [True, False], ids=["close_notify", "plain close"])
def test_a_body_that_ends_with_the_connection(
    start_origin: StartOrigin, start_proxy: StartProxy, authority: Authority, notify: bool
) -> None:
    """RFC 9112 9.8: without a close_notify anybody could have cut it short."""

    def until_close(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n\r\nall of it")
        sock = exchange.connection.sock
        assert isinstance(sock, ssl.SSLSocket)
        if notify:
            sock.settimeout(5)
            with contextlib.suppress(OSError):
                sock.unwrap()
        exchange.close()

    origin = _origin(start_origin, authority.server("localhost"))
    proxy = start_proxy("--origin-ca", str(authority.path), origin=origin.url)
    origin.on("/", until_close, fresh(b"again"))
    if notify:
        assert [proxy.get("/").body for _ in range(2)] == [b"all of it"] * 2
    else:
        with pytest.raises(IncompleteError):
            proxy.get("/")
        assert proxy.get("/").body == b"again"


def test_a_length_needs_no_close_notify(
    start_origin: StartOrigin, start_proxy: StartProxy, authority: Authority
) -> None:
    def plain_close(exchange: Exchange) -> None:
        exchange.send(answer("200 OK", {"Cache-Control": "max-age=600"}, b"all"))
        exchange.close()

    origin = _origin(start_origin, authority.server("localhost"))
    proxy = start_proxy("--origin-ca", str(authority.path), origin=origin.url)
    origin.on("/", plain_close)
    assert [proxy.get("/").cache for _ in range(2)] == ["MISS", "HIT"]
