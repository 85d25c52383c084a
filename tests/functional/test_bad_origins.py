"""Origins that are unreachable, broken, slow or malicious."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from .support.cache_status import check_error
from .support.messages import IncompleteError, PeerResetError
from .support.scripted_origin import Exchange, Script, ScriptedOrigin, fresh
from .support.stand import Stand, StartProxy
from .support.waiting import DEADLINE

HEAD = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n"


# --- no connection --------------------------------------------------------------------------------


@pytest.fixture
def closed() -> Iterator[socket.socket]:
    """A socket that has a port but does not listen: connections to it are refused."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(DEADLINE)
        yield listener


def test_refused(start_proxy: StartProxy, closed: socket.socket) -> None:
    proxy = start_proxy(origin=f"http://127.0.0.1:{closed.getsockname()[1]}")
    with proxy.client() as client:
        for method in ("GET", "POST", "HEAD"):
            assert client.request(method, "/").status == 502
        check_error(client.get("/"), 502)


def test_unresolvable(start_proxy: StartProxy) -> None:
    proxy = start_proxy("--connect-timeout", "5s", origin="http://no-such-host.invalid")
    check_error(proxy.get("/"), 502, 504)


def test_recovers_when_the_origin_appears(start_proxy: StartProxy, closed: socket.socket) -> None:
    proxy = start_proxy(origin=f"http://127.0.0.1:{closed.getsockname()[1]}")
    assert proxy.get("/").status == 502
    closed.listen()
    with proxy.client() as client:
        client.send(client.head("GET", "/"))
        with closing(closed.accept()[0]) as connection:
            assert connection.recv(65536).startswith(b"GET / HTTP/1.1")
            connection.sendall(fresh(b"back"))
            assert client.response().body == b"back"


def test_a_connection_that_is_never_accepted(start_proxy: StartProxy) -> None:
    """A listener whose backlog is full: connecting takes longer than --connect-timeout."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(8)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        proxy = start_proxy("--connect-timeout", "300ms", origin=f"http://127.0.0.1:{address[1]}")
        check_error(proxy.get("/"), 502, 504)
        for filler in fillers:
            filler.close()


# --- answers that are none ------------------------------------------------------------------------

GARBAGE = {
    "text": b"hello there\r\n\r\n",
    "HTML": b"<html><body>hello</body></html>",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x0a",
    "zeros": bytes(100),
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a request": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18),
    "version": b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "no status": b"HTTP/1.1\r\nContent-Length: 2\r\n\r\nok",
    "status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
    "status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
    "status 000": b"HTTP/1.1 000 OK\r\nContent-Length: 2\r\n\r\nok",
    "status in letters": b"HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\nok",
    "NUL in a value": HEAD + b"X: a\x00b\r\nContent-Length: 2\r\n\r\nok",
    "CR in a value": HEAD + b"X: a\rb\r\nContent-Length: 2\r\n\r\nok",
    "space in a name": HEAD + b"X Y: b\r\nContent-Length: 2\r\n\r\nok",
    "no colon": HEAD + b"nothing\r\nContent-Length: 2\r\n\r\nok",
    "CR in the reason": b"HTTP/1.1 200 O\rK\r\nContent-Length: 2\r\n\r\nok",
}
AMBIGUOUS = {
    "two lengths": b"Content-Length: 2\r\nContent-Length: 3\r\n",
    "a list of lengths": b"Content-Length: 2, 3\r\n",
    "signed length": b"Content-Length: +2\r\n",
    "negative length": b"Content-Length: -2\r\n",
    "hexadecimal length": b"Content-Length: 0x2\r\n",
    "length in words": b"Content-Length: two\r\n",
    "length beyond 64 bits": b"Content-Length: 18446744073709551618\r\n",
    "length and chunked": b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
    "chunked and length": b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
    "unknown coding": b"Transfer-Encoding: x\r\n",
    "gzip": b"Transfer-Encoding: gzip\r\n",
    "gzip, chunked": b"Transfer-Encoding: gzip, chunked\r\n",
    "chunked, gzip": b"Transfer-Encoding: chunked, gzip\r\n",
    "chunked twice": b"Transfer-Encoding: chunked, chunked\r\n",
}


def _refused_answer(stand: Stand, target: str, sent: bytes) -> None:
    def send(exchange: Exchange) -> None:
        exchange.send(sent)
        exchange.half_close()
        exchange.wait_for_close()

    stand.origin.on(target, send, fresh(b"good"))
    check_error(stand.proxy.get(target), 502)
    assert [stand.proxy.get(target).cache for _ in range(2)] == ["MISS", "HIT"]
    assert stand.proxy.get(target).body == b"good"


@pytest.mark.parametrize("case", GARBAGE)
def test_garbage(stand: Stand, case: str) -> None:
    _refused_answer(stand, f"/garbage/{list(GARBAGE).index(case)}", GARBAGE[case])


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_ambiguous_framing(stand: Stand, case: str) -> None:
    """RFC 9112 6.3: a proxy answers 502 and closes."""
    sent = HEAD + AMBIGUOUS[case] + b"\r\n2\r\nok\r\n0\r\n\r\n"
    _refused_answer(stand, f"/ambiguous/{list(AMBIGUOUS).index(case)}", sent)


def test_the_same_length_twice_is_one_or_refused(stand: Stand) -> None:
    lines = b"Content-Length: 2\r\nContent-Length: 2\r\n"
    stand.origin.on("/same-length", HEAD + lines + b"\r\nok")
    response = stand.proxy.get("/same-length")
    assert (response.status, response.body) == (200, b"ok") or response.status == 502


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 2", HEAD])
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_an_end_instead_of_a_head(stand: Stand, sent: bytes, reset: bool) -> None:
    def end(exchange: Exchange) -> None:
        exchange.send(sent)
        if reset:
            exchange.reset()
        exchange.close()

    target = f"/end/{len(sent)}/{reset}"
    stand.origin.on(target, end)
    for method in ("GET", "POST"):
        check_error(stand.proxy.request(method, target), 502, method=method)
    assert stand.proxy.get("/next").status == 200


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"X: " + b"x" * 1_000_000 + b"\r\n\r\n",
        HEAD + b"X: y\r\n" * 200_000 + b"\r\n",
        b"HTTP/1.1 200 " + b"x" * 1_000_000,
    ],
    ids=["value", "lines", "reason"],
)
def test_head_too_large(stand: Stand, head: bytes) -> None:
    _refused_answer(stand, f"/large/{len(head)}", head)


def test_endless_interim_responses(stand: Stand) -> None:
    def endless(exchange: Exchange) -> None:
        while True:
            exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 100)

    stand.origin.on("/interim", endless)
    with stand.proxy.client() as client:
        client.send(client.head("GET", "/interim"))
        with suppress(IncompleteError):
            assert client.response().status == 502
    assert stand.proxy.get("/next").status == 200


# --- slow origins ---------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200", HEAD, b"HTTP/1.1 103 Early Hints\r\n\r\n"])
def test_slow_head(start_proxy: StartProxy, origin: ScriptedOrigin, sent: bytes) -> None:
    def slow(exchange: Exchange) -> None:
        exchange.send(sent)
        exchange.wait_for_close()

    proxy = start_proxy("--origin-head-timeout", "500ms")
    origin.on("/slow", slow)
    check_error(proxy.get("/slow"), 504)
    origin.connections[0].wait_closed()
    assert proxy.get("/next").body == b"/next"


def test_stalled_body(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    def stall(exchange: Exchange) -> None:
        exchange.send(HEAD + b"Content-Length: 10\r\n\r\nhello")
        exchange.wait_for_close()

    proxy = start_proxy("--origin-body-timeout", "500ms")
    origin.on("/stalled", stall, fresh(b"whole"))
    with proxy.client() as client:
        with pytest.raises(IncompleteError) as cut:
            client.get("/stalled")
        assert cut.value.body == b"hello"
    assert (proxy.get("/stalled").cache, proxy.get("/stalled").cache) == ("MISS", "HIT")


# --- break-off in the body ------------------------------------------------------------------------


def _break_off(first: bytes, arrived: threading.Event, rest: bytes, *, reset: bool) -> Script:
    def script(exchange: Exchange) -> None:
        exchange.send(first)
        exchange.wait(arrived, "the client to get the first part")
        exchange.send(rest)
        if reset:
            exchange.reset()
        exchange.close()

    return script


CHUNKS = b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
CUT = {
    "length": (b"Content-Length: 100\r\n\r\nhello", b""),
    "chunked": (CHUNKS, b""),
    "inside a chunk": (CHUNKS, b"5\r\nhel"),
    "broken chunk": (CHUNKS, b"zzz\r\n"),
}


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("control", ["max-age=600", "no-store"])
@pytest.mark.parametrize("case", CUT)
def test_break_off_shows(stand: Stand, case: str, control: str, reset: bool) -> None:
    target = f"/break/{list(CUT).index(case)}/{control}/{reset}"
    head = f"HTTP/1.1 200 OK\r\nCache-Control: {control}\r\n".encode()
    arrived = threading.Event()
    first, rest = CUT[case]
    stand.origin.on(target, _break_off(head + first, arrived, rest, reset=reset), fresh(b"x"))
    with stand.proxy.client() as client:
        client.send(client.head("GET", target))
        response = client.response_head()
        arrived.set()
        with pytest.raises(IncompleteError) as cut:
            client.finish(response)
        assert b"hellohel".startswith(cut.value.body)
    assert stand.proxy.get(target).cache == "MISS"


@pytest.mark.parametrize("case", ["chunked", "inside a chunk", "broken chunk"])
def test_break_off_shows_to_http_1_0_clients(stand: Stand, case: str) -> None:
    """Their body ends with the connection: only a reset tells them that it is not whole."""
    target = f"/break10/{list(CUT).index(case)}"
    arrived = threading.Event()
    first, rest = CUT[case]
    stand.origin.on(target, _break_off(HEAD + first, arrived, rest, reset=False))
    with stand.proxy.client() as client:
        client.send(client.head("GET", target, version="1.0"))
        response = client.response_head()
        arrived.set()
        with pytest.raises(PeerResetError):
            client.finish(response)


def test_break_off_shows_to_every_reader(stand: Stand) -> None:
    arrived = threading.Event()
    script = _break_off(HEAD + CUT["length"][0], arrived, b"", reset=False)
    stand.origin.on("/many-readers", script)
    clients = [stand.proxy.client() for _ in range(5)]
    for client in clients:
        client.send(client.head("GET", "/many-readers"))
    heads = [clients[0].response_head()]
    arrived.set()
    with pytest.raises(IncompleteError):
        clients[0].finish(heads[0])
    for client in clients[1:]:
        with pytest.raises(IncompleteError):
            client.response()
    for client in clients:
        client.close()


# --- 1xx ------------------------------------------------------------------------------------------

HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: X\r\nX: y\r\n\r\n"


def test_early_hints_are_relayed_before_the_answer(stand: Stand) -> None:
    arrived = threading.Event()

    def hint(exchange: Exchange) -> None:
        exchange.send(HINTS)
        exchange.wait(arrived, "the client to get the hints")
        exchange.send(fresh(b"content"))

    stand.origin.on("/hints", hint)
    with stand.proxy.client() as client:
        client.send(client.head("GET", "/hints"))
        hints = client.response_head()
        assert (hints.status, hints.fields["link"]) == (103, "</a.css>; rel=preload")
        assert "x" not in hints.fields
        arrived.set()
        assert client.response().body == b"content"
    assert stand.proxy.get("/hints").interim == []


def test_several_interim_responses(stand: Stand) -> None:
    stand.origin.on("/several", b"HTTP/1.1 102 Processing\r\n\r\n" + HINTS * 2 + fresh(b"content"))
    response = stand.proxy.get("/several")
    assert [interim.status for interim in response.interim] == [102, 103, 103]
    assert response.body == b"content"


def test_no_interim_response_for_http_1_0(stand: Stand) -> None:
    stand.origin.on("/hints10", HINTS + fresh(b"content"))
    with stand.proxy.client() as client:
        client.send(client.head("GET", "/hints10", version="1.0"))
        response = client.response()
        assert (response.interim, response.body) == ([], b"content")


def test_bytes_before_any_request(start_proxy: StartProxy, closed: socket.socket) -> None:
    """An origin that talks first is not answering what it has not been asked."""
    closed.listen()
    proxy = start_proxy(origin=f"http://127.0.0.1:{closed.getsockname()[1]}")
    with proxy.client() as client:
        client.send(client.head("GET", "/"))
        with closing(closed.accept()[0]) as connection:
            connection.sendall(b"220 mail.example ESMTP\r\n")
            assert client.response().status == 502
