"""Messages whose end two parties could see in different places never reach the origin whole."""

from __future__ import annotations

import pytest

from .support.scripted_origin import Exchange, ScriptedOrigin, answer, fresh
from .support.stand import Stand, StartProxy

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: example.com\r\n\r\n"
CHUNKED_HIDDEN = b"0\r\n\r\n" + HIDDEN


def _post(lines: bytes, rest: bytes = b"", version: bytes = b"1.1") -> bytes:
    head = b"POST /shown HTTP/" + version + b"\r\nHost: example.com\r\n"
    return head + lines + b"\r\n" + rest


AMBIGUOUS = {
    "length and chunked": b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
    "chunked and length": b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n",
    "length 0 and chunked": b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
    "two lengths": b"Content-Length: 6\r\nContent-Length: 5\r\n",
    "two lengths, far apart": b"Content-Length: 0\r\nX: y\r\nContent-Length: 44\r\n",
    "a list of lengths": b"Content-Length: 6, 5\r\n",
    "unknown coding": b"Transfer-Encoding: chonked\r\n",
    "gzip": b"Transfer-Encoding: gzip\r\n",
    "gzip, chunked": b"Transfer-Encoding: gzip, chunked\r\n",
    "chunked not last": b"Transfer-Encoding: chunked, gzip\r\n",
    "chunked, identity": b"Transfer-Encoding: chunked, identity\r\n",
    "identity": b"Transfer-Encoding: identity\r\n",
    "identity and length": b"Transfer-Encoding: identity\r\nContent-Length: 6\r\n",
    "chunked twice": b"Transfer-Encoding: chunked, chunked\r\n",
    "chunked in two lines": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "unknown in a second line": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
    "unknown in a first line": b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n",
    "empty coding": b"Transfer-Encoding:\r\n",
    "empty coding and length": b"Transfer-Encoding:\r\nContent-Length: 6\r\n",
    "quoted": b'Transfer-Encoding: "chunked"\r\n',
    "parameter": b"Transfer-Encoding: chunked;q=1\r\n",
    "prefix": b"Transfer-Encoding: xchunked\r\n",
    "suffix": b"Transfer-Encoding: chunkedx\r\n",
    "vertical tab": b"Transfer-Encoding: \x0bchunked\r\n",
    "form feed": b"Transfer-Encoding: chunked\x0c\r\n",
    "NUL": b"Transfer-Encoding: chunked\x00\r\n",
    "obs-text": b"Transfer-Encoding: \xa0chunked\r\n",
    "CR before": b"Transfer-Encoding: \rchunked\r\n",
    "space before the colon": b"Transfer-Encoding : chunked\r\n",
    "tab before the colon": b"Transfer-Encoding\t: chunked\r\n",
    "folded": b"Transfer-Encoding:\r\n chunked\r\n",
    "folded before": b"X: y\r\n Transfer-Encoding: chunked\r\n",
    "LF before": b"X: y\nTransfer-Encoding: chunked\r\n",
    "CR in front of the name": b"X: y\rTransfer-Encoding: chunked\r\n",
    "length with a sign": b"Content-Length: +6\r\n",
    "negative length": b"Content-Length: -6\r\n",
    "length in hexadecimal": b"Content-Length: 0x6\r\n",
    "length with an underscore": b"Content-Length: 4_4\r\n",
    "length with a space inside": b"Content-Length: 4 4\r\n",
    "length with a fraction": b"Content-Length: 44.0\r\n",
    "length with an exponent": b"Content-Length: 4e1\r\n",
    "quoted length": b'Content-Length: "44"\r\n',
    "empty length": b"Content-Length:\r\n",
    "length beyond 64 bits": b"Content-Length: 18446744073709551660\r\n",
    "length beyond 63 bits": b"Content-Length: 9223372036854775808\r\n",
    "endless length": b"Content-Length: " + b"9" * 200 + b"\r\n",
    "length in other digits": "Content-Length: \u0664\r\n".encode(),
    "space before the colon of a length": b"Content-Length : 44\r\n",
    "folded length": b"Content-Length:\r\n 44\r\n",
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_ambiguous_framing_is_never_forwarded(stand: Stand, case: str) -> None:
    """RFC 9112 6.1, 6.3: 400 or 501, closed; what follows is not taken for a request."""
    with stand.proxy.client() as client:
        client.send(_post(AMBIGUOUS[case], CHUNKED_HIDDEN))
        response = client.response("POST")
        assert response.status in (400, 501)
        assert "close" in response.fields["connection"].lower()
        client.expect_closed()
    assert stand.proxy.get("/next").body == b"/next"
    assert stand.origin.targets() == ["/next"]


@pytest.mark.parametrize("first", ["/hit", "/pass"])
def test_ambiguous_framing_behind_a_good_request(stand: Stand, first: str) -> None:
    stand.origin.on("/hit", fresh(b"x"))
    stand.proxy.get("/hit")
    stand.origin.requests.clear()
    with stand.proxy.client() as client:
        client.send(
            client.head("GET", first) + _post(AMBIGUOUS["length and chunked"], CHUNKED_HIDDEN)
        )
        assert client.response().status == 200
        assert client.response("POST").status == 400
        client.expect_closed()
    assert set(stand.origin.targets()) <= {"/pass"}


def test_the_same_length_twice_is_one_or_refused(stand: Stand) -> None:
    """RFC 9112 6.3 allows both."""
    for lines in (b"Content-Length: 5, 5\r\n", b"Content-Length: 5\r\nContent-Length: 5\r\n"):
        with stand.proxy.client() as client:
            client.send(_post(lines, b"hello"))
            assert client.response("POST").status in (200, 400)
    for request in stand.origin.requests:
        assert request.body == b"hello"


@pytest.mark.parametrize("coding", [b"chunked", b"gzip, chunked", b"identity"])
@pytest.mark.parametrize("length", [b"", b"Content-Length: 5\r\n"])
def test_transfer_encoding_on_http_1_0(stand: Stand, coding: bytes, length: bytes) -> None:
    """RFC 9112 6.1: the framing counts as faulty."""
    lines = b"Transfer-Encoding: " + coding + b"\r\nConnection: keep-alive\r\n" + length
    with stand.proxy.client() as client:
        client.send(_post(lines, CHUNKED_HIDDEN, version=b"1.0"))
        assert client.response("POST").status in (400, 501)
        client.expect_closed()
    assert not stand.origin.requests


# --- bodies that break after the head was accepted ------------------------------------------------

BROKEN_CHUNKS = {
    "no digits": b"zz\r\nhello\r\n0\r\n\r\n",
    "empty size": b"\r\nhello\r\n0\r\n\r\n",
    "negative": b"-5\r\nhello\r\n0\r\n\r\n",
    "sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "prefix": b"0x5\r\nhello\r\n0\r\n\r\n",
    "underscore": b"1_0\r\nhello\r\n0\r\n\r\n",
    "space before": b" 5\r\nhello\r\n0\r\n\r\n",
    "space inside": b"1 0\r\nhello\r\n0\r\n\r\n",
    "beyond 64 bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "endless size": b"f" * 5000 + b"\r\nhello\r\n0\r\n\r\n",
    "bare LF after the size": b"5\nhello\r\n0\r\n\r\n",
    "bare CR after the size": b"5\rhello\r\n0\r\n\r\n",
    "bare LF after the data": b"5\r\nhello\n0\r\n\r\n",
    "no end of the data": b"5\r\nhello0\r\n\r\n",
    "data longer than its size": b"4\r\nhello\r\n0\r\n\r\n",
    "LF inside an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "CR inside an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "NUL inside an extension": b"5;a\x00b\r\nhello\r\n0\r\n\r\n",
    "endless extension": b"5;" + b"a" * 100_000 + b"\r\nhello\r\n0\r\n\r\n",
    "bare LF at the end": b"5\r\nhello\r\n0\r\n\n",
    "bare LF after the last size": b"5\r\nhello\r\n0\n\r\n",
    "bad trailer": b"5\r\nhello\r\n0\r\nBad Name: x\r\n\r\n",
    "folded trailer": b"5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n",
    "NUL in a trailer": b"5\r\nhello\r\n0\r\nX: \x00\r\n\r\n",
    "endless trailers": b"5\r\nhello\r\n0\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
}


@pytest.mark.parametrize("arrives", ["with the head", "later"])
@pytest.mark.parametrize("case", BROKEN_CHUNKS)
def test_broken_chunks(stand: Stand, case: str, arrives: str) -> None:
    """400 or a close; the origin never has a whole message, nothing behind it is parsed."""
    head, body = _post(b"Transfer-Encoding: chunked\r\n"), BROKEN_CHUNKS[case] + HIDDEN
    with stand.proxy.client() as client:
        if arrives == "later":
            client.send(head)
            stand.proxy.barrier()
            client.send(body)
        else:
            client.send(head + body)
        response = client.refusal("POST")
        assert response is None or 400 <= response.status < 500
    assert stand.proxy.get("/next").body == b"/next"
    assert "/hidden" not in stand.origin.targets()
    for connection, request in zip(stand.origin.served_on, stand.origin.requests, strict=True):
        if request.target == "/shown":
            connection.wait_closed()
            assert stand.origin.cut_requests, f"the origin got a whole request: {request}"


def test_a_broken_body_closes_the_origins_connection_while_it_waits(stand: Stand) -> None:
    """The origin had a pooled connection before; a half-sent request must not stay on it."""
    stand.proxy.get("/pooled")
    with stand.proxy.client() as client:
        client.send(_post(b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n"))
        stand.proxy.barrier()
        client.send(b"oops\r\n" + HIDDEN)
        client.refusal("POST")
    stand.proxy.get("/next")
    assert "/hidden" not in stand.origin.targets()
    shown = stand.origin.targets().index("/shown")
    stand.origin.served_on[shown].wait_closed()
    assert stand.origin.served_on[-1] is not stand.origin.served_on[shown]


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_client_that_goes_away_inside_its_body(stand: Stand, framing: str) -> None:
    with stand.proxy.client() as client:
        if framing == "length":
            client.send(_post(b"Content-Length: 100\r\n", b"hello"))
        else:
            client.send(_post(b"Transfer-Encoding: chunked\r\n", b"64\r\nhello"))
        stand.proxy.barrier()
        client.reset()
    assert stand.proxy.get("/next").body == b"/next"
    for connection, request in zip(stand.origin.served_on, stand.origin.requests, strict=True):
        if request.target == "/shown":
            connection.wait_closed()
            assert stand.origin.cut_requests


def test_a_request_in_a_body_stays_in_the_body(stand: Stand) -> None:
    length = f"Content-Length: {len(HIDDEN)}\r\n".encode()
    with stand.proxy.client() as client:
        client.send(_post(length, HIDDEN) + client.head("GET", "/behind"))
        assert [client.response().body for _ in range(2)] == [b"/shown", b"/behind"]
    assert stand.origin.targets() == ["/shown", "/behind"]
    assert stand.origin.requests[0].body == HIDDEN


def test_a_get_with_a_body_is_never_stored(stand: Stand) -> None:
    """The body is not in the key: its answer would be served to those who sent none."""
    stand.origin.on("/fat", lambda exchange: exchange.send(fresh(exchange.read_body() or b"none")))
    with stand.proxy.client() as client:
        client.send(client.head("GET", "/fat", {"Content-Length": "4"}) + b"evil")
        assert client.response().status in (200, 400)
    response = stand.proxy.get("/fat")
    assert (response.cache, response.body) == ("MISS", b"none")


def test_a_get_with_a_body_is_not_answered_from_the_store_out_of_step(stand: Stand) -> None:
    """Whoever answers it, its body is never taken for the next request."""
    stand.origin.on("/stored", fresh(b"stored"))
    stand.proxy.get("/stored")
    with stand.proxy.client() as client:
        length = {"Content-Length": str(len(HIDDEN))}
        client.send(client.head("GET", "/stored", length) + HIDDEN + client.head("GET", "/behind"))
        assert client.response().status == 200
        assert client.response().body == b"/behind"
    assert "/hidden" not in stand.origin.targets()


# --- what fields may not do -----------------------------------------------------------------------


def test_connection_cannot_name_framing_or_host_away(stand: Stand) -> None:
    lines = b"Connection: Host, Content-Length, Transfer-Encoding, X-Hop\r\nX-Hop: 1\r\n"
    with stand.proxy.client() as client:
        client.send(_post(lines + b"Content-Length: 5\r\n", b"hello"))
        assert client.response("POST").body == b"/shown"
        client.send(_post(lines + b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n"))
        assert client.response("POST").body == b"/shown"
    for request in stand.origin.seen("/shown"):
        assert request.body == b"hello"
        assert request.fields["host"] == stand.origin.authority
        assert "x-hop" not in request.fields


def test_upgrade_is_not_a_way_around_the_proxy(stand: Stand) -> None:
    """Upgrade is dropped, and so is what would follow it: no tunnel, no h2c."""
    fields = {
        "Connection": "Upgrade, HTTP2-Settings",
        "Upgrade": "h2c",
        "HTTP2-Settings": "AAMAAABkAAQAAP__",
    }
    with stand.proxy.client() as client:
        response = client.get("/upgrade", fields)
        assert (response.status, response.body) == (200, b"/upgrade")
        assert client.get("/upgrade/next").body == b"/upgrade/next"
    seen = stand.origin.seen("/upgrade")[0].fields
    assert not {"upgrade", "http2-settings"} & {name for name, _ in seen.lines}


def test_a_101_nobody_asked_for_is_no_answer(stand: Stand) -> None:
    def switch(exchange: Exchange) -> None:
        exchange.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"
        )
        exchange.wait_for_close()

    stand.origin.on("/switch", switch)
    assert stand.proxy.get("/switch").status == 502


# --- responses of the origin ----------------------------------------------------------------------


def test_answers_never_cross_between_clients(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    """A response with a second one behind it: the second is never given to anybody."""
    poison = answer("200 OK", {"Cache-Control": "max-age=600"}, b"poison")
    proxy = start_proxy()
    origin.on("/split", answer("200 OK", {"Cache-Control": "no-store"}, b"good") + poison)
    assert proxy.get("/split").body == b"good"
    for n in range(5):
        assert proxy.get(f"/victim/{n}").body == f"/victim/{n}".encode()
    origin.served_on[0].wait_closed()


def test_an_early_answer_does_not_desynchronise(stand: Stand) -> None:
    """The origin answers and keeps its connection open although the body never came whole."""

    def early(exchange: Exchange) -> None:
        exchange.send(answer("400 Bad Request", {}, b"early"))
        exchange.read_body()

    stand.origin.on("/early", early)
    with stand.proxy.client() as client:
        client.send(client.head("POST", "/early", {"Content-Length": "1000"}) + b"some")
        assert client.response("POST").body == b"early"
    with stand.proxy.client() as client:
        assert client.get("/early/next").body == b"/early/next"
    assert "/early/next" in stand.origin.targets()
    first = stand.origin.targets().index("/early")
    stand.origin.served_on[first].wait_closed()
