"""What goes upstream and what comes back: fields, targets, names, sockets."""

from __future__ import annotations

import re
import socket
from contextlib import closing
from pathlib import Path

import pytest

from .support.messages import FieldLines
from .support.raw_client import RawClient
from .support.scripted_origin import Exchange, ScriptedOrigin, answer, fresh
from .support.stand import Stand, StartOrigin, StartProxy

# --- hop-by-hop -----------------------------------------------------------------------------------

HOP_BY_HOP = {
    "Connection": "keep-alive, X-Named, x-other",
    "Keep-Alive": "timeout=5",
    "Proxy-Connection": "keep-alive",
    "TE": "gzip",
    "Upgrade": "websocket",
    "X-Named": "1",
    "X-Other": "2",
}
END_TO_END = {"X-Kept": "3", "Cookie": "a=b", "User-Agent": "test", "Referer": "/r"}


def test_hop_by_hop_fields_of_requests(stand: Stand) -> None:
    """RFC 9110 7.6.1."""
    stand.proxy.request("POST", "/hops", {**HOP_BY_HOP, **END_TO_END}, b"x")
    seen = stand.origin.requests[0].fields
    for name in HOP_BY_HOP:
        if name != "Connection":
            assert name not in seen
    assert not re.search("x-named|x-other|upgrade", seen.get("connection") or "")
    for name, value in END_TO_END.items():
        assert seen.all(name) == [value]


def test_hop_by_hop_fields_of_responses(stand: Stand) -> None:
    """Stripped on the way to the client and never stored (RFC 9111 3.1)."""
    fields = {**HOP_BY_HOP, "X-Kept": "3", "Cache-Control": "max-age=600"}
    stand.origin.on("/hops-back", answer("200 OK", fields, b"x"))
    for cache in ("MISS", "HIT"):
        response = stand.proxy.get("/hops-back")
        assert (response.cache, response.fields["x-kept"]) == (cache, "3")
        for name in ("X-Named", "X-Other", "Upgrade", "Proxy-Connection", "TE"):
            assert name not in response.fields
        assert "x-named" not in (response.fields.get("connection") or "").lower()


def test_connection_in_several_lines(stand: Stand) -> None:
    with stand.proxy.client() as client:
        lines = b"Connection: X-One\r\nX-One: 1\r\nConnection: ,\t, X-Two ,\r\nX-Two: 2\r\n"
        head = client.head("GET", "/lines")
        client.send(head[:-2] + lines + b"\r\n")
        assert client.response().status == 200
    assert not {"x-one", "x-two"} & {name for name, _ in stand.origin.requests[0].fields.lines}


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_connection_of_a_response_cannot_name_its_framing(stand: Stand, framing: str) -> None:
    fields = {"Connection": "Content-Length, Transfer-Encoding, X-Hop", "X-Hop": "1"}
    body = b"hello"
    if framing == "chunked":
        fields["Transfer-Encoding"] = "chunked"
        body = b"5\r\nhello\r\n0\r\n\r\n"
    stand.origin.on(f"/named/{framing}", answer("200 OK", fields, body))
    response = stand.proxy.get(f"/named/{framing}")
    assert response.body == b"hello"
    assert "x-hop" not in response.fields


def test_connection_cannot_name_away_what_the_proxy_adds(stand: Stand) -> None:
    named = "close, Via, Forwarded, X-Forwarded-For, X-Forwarded-Proto"
    stand.proxy.get("/ours", {"Connection": named})
    for name in ("via", "forwarded", "x-forwarded-for", "x-forwarded-proto"):
        assert name in stand.origin.requests[0].fields


def test_fields_keep_their_order_within_a_name(stand: Stand) -> None:
    with stand.proxy.client() as client:
        client.send(client.head("GET", "/order")[:-2] + b"X: 1\r\nY: 0\r\nx: 2\r\nX: 3\r\n\r\n")
        client.response()
    assert stand.origin.requests[0].fields.all("x") == ["1", "2", "3"]


# --- Via ------------------------------------------------------------------------------------------


def test_via(stand: Stand) -> None:
    """RFC 9110 7.6.3: appended in both directions, with the version that was received."""
    stand.origin.on("/via", answer("200 OK", {"Via": "1.0 far", "Cache-Control": "max-age=60"}))
    for _ in range(2):
        assert stand.proxy.get("/via").fields["via"] == "1.0 far, 1.1 caching-proxy"
    stand.proxy.get("/via?up", {"Via": "1.0 near"})
    with stand.proxy.client() as client:
        client.send(client.head("GET", "/via?old", version="1.0"))
        client.response()
    received = [request.fields["via"] for request in stand.origin.requests]
    assert received == ["1.1 caching-proxy", "1.0 near, 1.1 caching-proxy", "1.0 caching-proxy"]


def test_via_of_an_http_1_0_origin(stand: Stand) -> None:
    stand.origin.on("/via10", fresh(b"x").replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert stand.proxy.get("/via10").fields["via"] == "1.0 caching-proxy"


def test_name(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    response = start_proxy("--name", "edge-7").get("/")
    assert response.fields["via"] == "1.1 edge-7"
    assert response.fields["cache-status"].startswith("edge-7;")
    assert origin.requests[0].fields["via"] == "1.1 edge-7"


# --- X-Forwarded-*, Forwarded ---------------------------------------------------------------------

CLAIMS = {
    "X-Forwarded-For": "192.0.2.1",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "Forwarded": "for=192.0.2.1;proto=https;host=evil.example",
}


def _elements(fields: FieldLines) -> list[set[str]]:
    """Forwarded (RFC 7239): the parameters of each element."""
    return [
        {part.strip().lower() for part in element.split(";")}
        for element in fields["forwarded"].split(",")
    ]


def test_forwarding_fields(stand: Stand) -> None:
    stand.proxy.get("/forwarded")
    seen = stand.origin.requests[0].fields
    assert seen.all("x-forwarded-for") == ["127.0.0.1"]
    assert seen.all("x-forwarded-proto") == ["http"]
    assert [{"for=127.0.0.1", "proto=http"} <= element for element in _elements(seen)] == [True]
    assert "x-forwarded-host" not in seen and "host=" not in seen["forwarded"]


def test_an_untrusted_client_claims_in_vain(stand: Stand) -> None:
    stand.proxy.get("/claims", CLAIMS)
    seen = stand.origin.requests[0].fields
    assert seen.all("x-forwarded-for") == ["127.0.0.1"]
    assert seen.all("x-forwarded-proto") == ["http"]
    assert "x-forwarded-host" not in seen
    assert len(_elements(seen)) == 1 and "192.0.2.1" not in seen["forwarded"]
    assert "evil" not in seen["forwarded"]


@pytest.mark.parametrize("network, trusted", [("127.0.0.0/8", True), ("10.0.0.0/8", False)])
def test_trusted_proxies(
    start_proxy: StartProxy, origin: ScriptedOrigin, network: str, trusted: bool
) -> None:
    start_proxy("--trusted-proxies", network).get("/", CLAIMS)
    seen = origin.requests[0].fields
    assert ("192.0.2.1" in seen["x-forwarded-for"]) == trusted
    assert seen["x-forwarded-for"].split(", ")[-1] == "127.0.0.1"
    assert seen["x-forwarded-proto"] == ("https" if trusted else "http")
    assert ("for=192.0.2.1" in seen["forwarded"]) == trusted
    assert "for=127.0.0.1" in _elements(seen)[-1]
    assert "x-forwarded-host" not in seen, "only --forwarded-host sends it"


def test_forwarded_host(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    proxy = start_proxy("--forwarded-host")
    proxy.get("/", {"Host": "shop.example:8080", "X-Forwarded-Host": "evil.example"})
    seen = origin.requests[0].fields
    assert seen.all("x-forwarded-host") == ["shop.example:8080"]
    assert "evil" not in seen["forwarded"]
    assert seen["host"] == origin.authority


# --- Host -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["origin", "client", "server"])
def test_host_header(start_proxy: StartProxy, origin: ScriptedOrigin, mode: str) -> None:
    proxy = start_proxy("--host-header", mode)
    proxy.get("/", {"Host": "shop.example"})
    expected = "shop.example" if mode == "client" else origin.authority
    assert origin.requests[0].fields.all("host") == [expected]


def test_host_of_a_client_without_one(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    """HTTP/1.0 needs none; upstream there is always exactly one (RFC 9112 3.2)."""
    for options in ((), ("--host-header", "client"), ("--forwarded-host",)):
        with start_proxy(*options).client() as client:
            client.send(b"GET / HTTP/1.0\r\n\r\n")
            assert client.response().status == 200
    assert all(len(request.fields.all("host")) == 1 for request in origin.requests)


def test_client_host_of_an_absolute_target(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    """The target's authority takes the place of Host (RFC 9112 3.2.2)."""
    proxy = start_proxy("--host-header", "client", "--server-name", "shop.example")
    assert proxy.get("http://shop.example/x", {"Host": "other.example"}).body == b"/x"
    assert origin.requests[0].fields["host"].lower() == "shop.example"


def test_server_name(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    proxy = start_proxy("--server-name", "shop.example", "--server-name", "b.example:81")
    for target in ("http://shop.example/", "http://SHOP.example/", "http://b.example:81/"):
        assert proxy.get(target).status == 200
    for target in ("http://shop.example:81/", "http://b.example/", "http://c.example/"):
        assert proxy.get(target).status == 421
    assert origin.targets() == ["/"] * 3


# --- targets --------------------------------------------------------------------------------------

EXACT = [
    "/", "//", "/a/../b", "/a/./b", "/..", "/%7Euser", "/~user", "/a%2fb", "/a%2Fb", "/%C3%A9",
    "/a;b=c", "/?", "/a?", "/?a=b&&c", "/a?b?c", "/a|b?x[]=1&y={z}", "/a//b", "/a+b%20c", "/*",
    "/a?x=http://b.example/?y", "/!$&'()*+,;=:@", "/%00", "/%zz", "/a%", "/?x=%",
]  # fmt: skip


@pytest.mark.parametrize("base", ["", "/", "/base", "/base/", "/a/b"])
def test_target_goes_upstream_exactly(
    start_proxy: StartProxy, origin: ScriptedOrigin, base: str
) -> None:
    proxy = start_proxy(origin=origin.url + base)
    with proxy.client() as client:
        for target in EXACT:
            assert client.get(target).status == 200
    assert origin.targets() == [base.rstrip("/") + target for target in EXACT]


NORMALISED = {
    "/a/./b/../c": "/a/c",
    "/../x": "/x",
    "/%7Euser": "/~user",
    "/%61%2d": "/a-",
    "/a%2fb": "/a%2Fb",
    "/%2e%2e/x": "/x",
    "/a/b/..": "/a/",
    "/a/.": "/a/",
    "/x?y=/../z": "/x?y=/../z",
}


def test_normalize_path(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    """RFC 3986 6.2.2, in the key and upstream alike."""
    proxy = start_proxy("--normalize-path")
    for target, normal in NORMALISED.items():
        origin.on(normal, fresh(normal.encode()))
        first = proxy.get(target)
        assert (first.body, origin.requests[-1].target) == (normal.encode(), normal)
        second = proxy.get(normal)
        assert second.cache == "HIT"
        assert first.fields["x-cache-key"] == second.fields["x-cache-key"]
        proxy.clear()


def test_normalize_path_stays_below_the_base(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    proxy = start_proxy("--normalize-path", origin=origin.url + "/base")
    for target in ("/../secret", "/%2e%2e/secret", "/a/../../secret"):
        proxy.get(target)
    assert origin.targets() == ["/base/secret"] * 3


# --- sockets --------------------------------------------------------------------------------------


def test_unix_socket_listener(
    start_proxy: StartProxy, origin: ScriptedOrigin, socket_path: Path
) -> None:
    proxy = start_proxy("--unix-socket", str(socket_path))
    origin.on("/", fresh(b"both ways"))
    with RawClient(str(socket_path)) as client:
        assert client.get("/").body == b"both ways"
    assert proxy.get("/").cache == "HIT"
    proxy.stop()
    assert not socket_path.exists(), "a listener's socket file goes with it"


def test_unix_socket_left_behind_is_replaced(
    start_proxy: StartProxy, origin: ScriptedOrigin, socket_path: Path
) -> None:
    first = start_proxy("--unix-socket", str(socket_path))
    first.kill()
    start_proxy("--unix-socket", str(socket_path))
    with RawClient(str(socket_path)) as client:
        assert client.get("/").body == b"/"


def test_unix_socket_origin(
    start_origin: StartOrigin, start_proxy: StartProxy, socket_path: Path
) -> None:
    origin = start_origin(unix=socket_path)
    proxy = start_proxy(origin=origin.url)
    origin.on("/", fresh(b"local"))
    assert [proxy.get("/").cache for _ in range(2)] == ["MISS", "HIT"]
    assert origin.requests[0].fields["host"] == "localhost"


def test_ipv6(start_origin: StartOrigin, start_proxy: StartProxy, ipv6: str) -> None:
    origin = start_origin(host=ipv6)
    proxy = start_proxy(origin=origin.url, host=ipv6)
    assert proxy.get("/").body == b"/"
    seen = origin.requests[0].fields
    assert seen["host"] == origin.authority
    assert seen["x-forwarded-for"] == "::1"
    assert 'for="[::1]"' in _elements(seen)[0]


def test_every_interface(start_proxy: StartProxy, origin: ScriptedOrigin, ipv6: str) -> None:
    """Without --host; an IPv4 client is never shown as an IPv6 one."""
    proxy = start_proxy(host="")
    for address in ("127.0.0.1", ipv6):
        with RawClient((address, proxy.port)) as client:
            assert client.get("/").body == b"/"
        assert origin.requests[-1].fields["x-forwarded-for"] == address


def test_several_hosts(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    proxy = start_proxy("--host", "127.0.0.2")
    second = re.search(r"http://127\.0\.0\.2:(\d+)", proxy.output[0])
    assert second is not None, proxy.output[0]
    with RawClient(("127.0.0.2", int(second[1]))) as client:
        assert client.get("/").body == proxy.get("/").body == b"/"


def test_addresses_of_a_name_are_tried_in_turn(start_proxy: StartProxy) -> None:
    """The origin listens on one of the addresses that localhost has."""
    for address in {str(found[4][0]) for found in socket.getaddrinfo("localhost", 80)}:
        with closing(ScriptedOrigin(host=address)) as origin:
            proxy = start_proxy(origin=f"http://localhost:{origin.port}")
            assert proxy.get("/").body == b"/"
            proxy.stop()


# --- nothing else changes -------------------------------------------------------------------------


def test_status_reason_and_unknown_statuses(stand: Stand) -> None:
    for status in ("200 Fine", "299 Odd", "418 I'm a teapot", "499 ", "599 Beyond"):
        target = f"/status/{status[:3]}"
        stand.origin.on(target, answer(status, {"Cache-Control": "no-store"}, b"x"))
        response = stand.proxy.get(target)
        assert (response.status, response.body) == (int(status[:3]), b"x")


def test_methods_and_bodies_are_not_touched(stand: Stand) -> None:
    def echo(exchange: Exchange) -> None:
        exchange.send(answer("200 OK", {}, exchange.read_body()))

    stand.origin.on("/echo", echo)
    body = bytes(range(256))
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert stand.proxy.request(method, "/echo", {}, body).body == body
