"""Requests that are too large or too slow; Expect."""

from __future__ import annotations

import threading

import pytest

from .support.raw_client import RawClient
from .support.scripted_origin import Exchange, ScriptedOrigin, answer, fresh
from .support.stand import Stand, StartProxy
from .support.waiting import wait_until

KB = 1024


def _refused(stand: Stand, sent: bytes, *statuses: int) -> None:
    with stand.proxy.client() as client:
        client.send(sent)
        response = client.response()
        assert response.status in statuses
        assert "close" in response.fields["connection"].lower()
        client.expect_closed()
    assert stand.proxy.get("/next").body == b"/next"
    assert stand.origin.targets() == ["/next"]


def _head(size: int) -> bytes:
    start = b"GET /sized HTTP/1.1\r\nHost: a\r\nX: "
    return start + b"x" * (size - len(start) - 4) + b"\r\n\r\n"


def test_head_up_to_32_kb(stand: Stand) -> None:
    with stand.proxy.client() as client:
        client.send(_head(32 * KB))
        assert client.response().body == b"/sized"


@pytest.mark.parametrize("size", [32 * KB + 1, 33 * KB, 100 * KB, 1024 * KB])
def test_head_over_32_kb(stand: Stand, size: int) -> None:
    _refused(stand, _head(size), 431)


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_head_over_32_kb_in_pieces(stand: Stand, piece: int) -> None:
    whole = _head(40 * KB)
    first, rest = whole[: 32 * KB - 100], whole[32 * KB - 100 :]
    with stand.proxy.client() as client:
        client.send(first)
        stand.proxy.barrier()
        client.send(*(rest[n : n + piece] for n in range(0, len(rest), piece)))
        assert client.response().status == 431
        client.expect_closed()
    assert not stand.origin.requests


def test_head_that_never_ends(stand: Stand) -> None:
    """It is refused as soon as it is too large, not when it ends."""
    _refused(stand, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 40 * KB, 431)


def test_head_of_many_small_lines(stand: Stand) -> None:
    _refused(stand, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 10 * KB + b"\r\n", 431)


def test_second_head_on_a_connection_is_limited_as_well(stand: Stand) -> None:
    stand.origin.on("/first", fresh(b"1"))
    stand.proxy.get("/first")
    with stand.proxy.client() as client:
        client.send(client.head("GET", "/first") + _head(33 * KB))
        assert client.response().status == 200
        assert client.response().status == 431
        client.expect_closed()


def _target(size: int) -> bytes:
    return b"GET /" + b"t" * (size - 1) + b" HTTP/1.1\r\nHost: a\r\n\r\n"


def test_target_up_to_16_kb(stand: Stand) -> None:
    with stand.proxy.client() as client:
        client.send(_target(16 * KB))
        assert client.response().status == 200
    assert len(stand.origin.requests[0].target) == 16 * KB


@pytest.mark.parametrize("size", [16 * KB + 1, 20 * KB])
def test_target_over_16_kb(stand: Stand, size: int) -> None:
    _refused(stand, _target(size), 414)


def test_target_that_never_ends(stand: Stand) -> None:
    _refused(stand, b"GET /" + b"t" * 100 * KB, 414)


def _fields(count: int) -> bytes:
    lines = b"".join(b"X-%d: y\r\n" % n for n in range(count - 1))
    return b"GET /fields HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n"


def test_up_to_128_fields(stand: Stand) -> None:
    with stand.proxy.client() as client:
        client.send(_fields(128))
        assert client.response().status == 200
    assert sum(name.startswith("x-") for name, _ in stand.origin.requests[0].fields.lines) >= 127


@pytest.mark.parametrize("count", [129, 200, 2000])
def test_over_128_fields(stand: Stand, count: int) -> None:
    _refused(stand, _fields(count), 431)


def test_limits_are_settings(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    options = ("--max-head", "1KB", "--max-target", "100", "--max-fields", "5")
    proxy = start_proxy(*options)
    for sent, status in ((_head(KB + 1), 431), (_target(101), 414), (_fields(6), 431)):
        with proxy.client() as client:
            client.send(sent)
            assert client.response().status == status
    assert not origin.requests
    for sent in (_head(KB), _target(100), _fields(5)):
        with proxy.client() as client:
            client.send(sent)
            assert client.response().status == 200


# --- bodies too large -----------------------------------------------------------------------------


@pytest.fixture
def small_bodies(start_proxy: StartProxy, origin: ScriptedOrigin) -> Stand:
    return Stand(origin, start_proxy("--max-body", "1KB"))


def test_announced_body_over_max_body(small_bodies: Stand) -> None:
    """413 before the body is sent; the origin is never contacted."""
    with small_bodies.proxy.client() as client:
        client.send(client.head("POST", "/large", {"Content-Length": str(KB + 1)}))
        response = client.response("POST")
        assert response.status == 413
        assert "close" in response.fields["connection"].lower()
        client.expect_closed()
    assert not small_bodies.origin.requests


def test_announced_body_over_max_body_that_is_sent_all_the_same(small_bodies: Stand) -> None:
    """The answer is not lost in a reset while the client is still sending."""
    with small_bodies.proxy.client() as client:
        client.send(client.head("POST", "/large", {"Content-Length": str(1024 * KB)}))
        client.send(*[b"x" * KB] * 512)
        assert client.response("POST").status == 413
    assert not small_bodies.origin.requests


@pytest.mark.parametrize("pieces", [1, 30])
def test_chunked_body_over_max_body(small_bodies: Stand, pieces: int) -> None:
    with small_bodies.proxy.client() as client:
        client.send(client.head("POST", "/large", {"Transfer-Encoding": "chunked"}))
        size = 3000 // pieces
        for _ in range(pieces):
            client.send(b"%x\r\n%b\r\n" % (size, b"x" * size))
        client.send(b"0\r\n\r\n")
        assert client.response("POST").status == 413
        client.expect_closed()
    for connection in small_bodies.origin.served_on:
        connection.wait_closed()
    assert len(small_bodies.origin.cut_requests) == len(small_bodies.origin.requests)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_body_of_just_max_body(small_bodies: Stand, framing: str) -> None:
    with small_bodies.proxy.client() as client:
        if framing == "length":
            client.send(client.head("POST", "/fits", {"Content-Length": str(KB)}) + b"x" * KB)
        else:
            client.send(client.head("POST", "/fits", {"Transfer-Encoding": "chunked"}))
            client.send(b"400\r\n" + b"x" * KB + b"\r\n0\r\n\r\n")
        assert client.response("POST").status == 200
    assert small_bodies.origin.requests[0].body == b"x" * KB


# --- time -----------------------------------------------------------------------------------------


@pytest.fixture
def hasty(start_proxy: StartProxy, origin: ScriptedOrigin) -> Stand:
    """A proxy that waits half a second for anything."""
    options = ("--head-timeout", "500ms", "--body-timeout", "500ms", "--keepalive-timeout", "500ms")
    return Stand(origin, start_proxy(*options))


def _ended(client: RawClient) -> None:
    response = client.refusal()
    assert response is None or response.status == 408


@pytest.mark.parametrize("part", [b"", b"G", b"GET / HTTP/1.1\r\nHost: a\r\n", b"\r\n"])
def test_head_that_does_not_come(hasty: Stand, part: bytes) -> None:
    with hasty.proxy.client() as client:
        client.send(part)
        _ended(client)
    assert not hasty.origin.requests
    assert hasty.proxy.get("/next").status == 200


def test_head_that_drips(hasty: Stand) -> None:
    """The time is for the whole head: a byte now and then does not extend it."""
    with hasty.proxy.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")

        def dripped_out() -> bool:
            client.send(b"x")
            return client.ended()

        wait_until(dripped_out, "the proxy to give up on a dripping head")
        _ended(client)
    assert not hasty.origin.requests


def test_second_head_that_does_not_come_whole(hasty: Stand) -> None:
    with hasty.proxy.client() as client:
        assert client.get("/first").status == 200
        client.send(b"GET /second HTTP/1.1\r\n")
        _ended(client)
    assert hasty.origin.targets() == ["/first"]


@pytest.mark.parametrize(
    "framing, part", [("Content-Length: 10", b"hel"), ("Transfer-Encoding: chunked", b"5\r\nhel")]
)
def test_body_that_stalls(hasty: Stand, framing: str, part: bytes) -> None:
    name, _, value = framing.partition(": ")
    with hasty.proxy.client() as client:
        client.send(client.head("POST", "/stalled", {name: value}) + part)
        _ended(client)
    assert hasty.proxy.get("/next").status == 200
    hasty.origin.served_on[0].wait_closed()
    assert hasty.origin.cut_requests, "the origin got a whole request"


@pytest.mark.parametrize("target", ["/hit", "/pass"])
def test_idle_keep_alive(hasty: Stand, target: str) -> None:
    """Closed in silence: nothing may come that could be taken for an answer."""
    hasty.origin.on("/hit", fresh(b"x"))
    with hasty.proxy.client() as client:
        assert client.get(target).status == 200
        client.expect_closed()


def test_a_client_that_is_waiting_is_not_idle(hasty: Stand) -> None:
    """The origin takes longer than every timeout for clients; the proxy ends other clients."""
    released = threading.Event()

    def slow(exchange: Exchange) -> None:
        exchange.wait(released, "another connection to time out")
        exchange.send(answer("200 OK", {}, b"slow"))

    hasty.origin.on("/slow", slow)
    with hasty.proxy.client() as client, hasty.proxy.client() as other:
        client.send(client.head("GET", "/slow"))
        assert other.get("/other").status == 200
        other.expect_closed()
        released.set()
        assert client.response().body == b"slow"


# --- Expect ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["100-continue", "100-Continue"])
def test_expect_continue(stand: Stand, spelling: str) -> None:
    """RFC 9110 10.1.1: 100 comes before the body does."""
    with stand.proxy.client() as client:
        client.send(client.head("POST", "/go", {"Content-Length": "5", "Expect": spelling}))
        assert client.response_head("POST").status == 100
        client.send(b"hello")
        response = client.response("POST")
        assert (response.status, response.body) == (200, b"/go")
        assert client.get("/go/next").status == 200
    assert stand.origin.seen("/go")[0].body == b"hello"


def test_a_client_that_waits_for_100_is_not_slow(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    """The origin takes its time; meanwhile --min-rate ends a client that is slow indeed."""
    proxy = start_proxy("--min-rate", "10KB", "--body-timeout", "2s")
    released = threading.Event()

    def hesitate(exchange: Exchange) -> None:
        exchange.wait(released, "the slow client to be ended")
        exchange.send(answer("200 OK", {}, exchange.read_body()))

    origin.on("/hesitates", hesitate)
    with proxy.client() as client, proxy.client() as slow:
        fields = {"Content-Length": "5", "Expect": "100-continue"}
        client.send(client.head("POST", "/hesitates", fields))
        slow.send(slow.head("POST", "/slow", {"Content-Length": "5"}))
        slow.refusal("POST")
        released.set()
        assert client.response_head("POST").status == 100
        client.send(b"hello")
        assert client.response("POST").body == b"hello"


def test_expect_continue_when_the_body_comes_at_once(stand: Stand) -> None:
    with stand.proxy.client() as client:
        fields = {"Content-Length": "5", "Expect": "100-continue"}
        client.send(client.head("POST", "/at-once", fields) + b"hello")
        response = client.response("POST")
        assert (response.status, response.body) == (200, b"/at-once")
        assert {interim.status for interim in response.interim} <= {100}
    assert stand.origin.seen("/at-once")[0].body == b"hello"


def test_expect_continue_without_a_body(stand: Stand) -> None:
    with stand.proxy.client() as client:
        assert client.get("/no-body", {"Expect": "100-continue"}).body == b"/no-body"


def test_an_unknown_expectation(stand: Stand) -> None:
    for value in ("200-ok", "100-continue, more", "x"):
        response = stand.proxy.request("POST", "/expect", {"Expect": value}, b"hello")
        assert response.status == 417
    assert not stand.origin.requests


def test_expectations_of_http_1_0_are_ignored(stand: Stand) -> None:
    """RFC 9110 10.1.1; 15.2: and no interim response goes to such a client."""
    with stand.proxy.client() as client:
        fields = {"Content-Length": "5", "Expect": "100-continue"}
        client.send(client.head("POST", "/old", fields, version="1.0"))
        stand.proxy.barrier()
        client.send(b"hello")
        response = client.response("POST")
        assert (response.status, response.interim) == (200, [])


def test_the_origin_refuses_before_the_body(stand: Stand) -> None:
    """The client gets the refusal without sending its body."""

    def refuse(exchange: Exchange) -> None:
        exchange.send(answer("403 Forbidden", {"Connection": "close"}, b"no"))
        exchange.close()

    stand.origin.on("/refused", refuse)
    with stand.proxy.client() as client:
        fields = {"Content-Length": "5", "Expect": "100-continue"}
        client.send(client.head("POST", "/refused", fields))
        response = client.response("POST")
        assert (response.status, response.body) == (403, b"no")
        assert {interim.status for interim in response.interim} <= {100}
    assert stand.proxy.get("/refused/next").status == 200
