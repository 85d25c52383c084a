"""Peers that keep silent, leave, or answer out of turn: theirs ends, others go on."""

from __future__ import annotations

import select
import signal
import socket
import threading
from contextlib import ExitStack

import pytest

from .support.messages import PeerResetError
from .support.scripted_origin import Exchange, ScriptedOrigin, answer, fresh
from .support.stand import StartProxy
from .support.waiting import wait_until

KB = 1 << 10


@pytest.mark.parametrize("option", ["--max-connections", "--max-connections-per-client"])
def test_the_limit_holds_for_connections_that_say_nothing(
    start_proxy: StartProxy, origin: ScriptedOrigin, option: str
) -> None:
    proxy = start_proxy(option, "4")
    with ExitStack() as stack:
        silent = [stack.enter_context(proxy.client()) for _ in range(12)]
        wait_until(
            lambda: sum(not client.ended() for client in silent) == 4, "all but the limit to end"
        )
        assert [client.ended() for client in silent] == [True] * 8 + [False] * 4
        assert proxy.get("/served").status == 200


def test_nothing_comes_behind_a_response_that_is_cut_short(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    """Of the origin's end and the next request, a hit, the proxy hears in one turn of its loop."""
    cut, closed, over = threading.Event(), threading.Event(), threading.Event()

    def early(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + bytes(100))
        exchange.wait(cut, "the proxy to be stopped")
        exchange.half_close()
        closed.set()
        exchange.wait(over, "the client to be done")
        exchange.close()

    origin.on("/early", early)
    origin.on("/hit", fresh(bytes(400)))
    proxy = start_proxy()
    proxy.get("/hit")
    with proxy.client() as client:
        client.send(client.head("POST", "/early", {"Content-Length": "10"}) + b"12345")
        head = client.response_head("POST")
        while len(client.stream.buffer) < 100:
            client.stream.fill("what there is of the body")
        before = client.stream.total
        proxy.process.send_signal(signal.SIGSTOP)
        cut.set()
        assert closed.wait(10), "the origin has not closed"
        client.send(b"67890" + client.head("GET", "/hit"))
        proxy.process.send_signal(signal.SIGCONT)
        with pytest.raises(PeerResetError):
            client.finish(head)
        assert client.stream.total == before
    over.set()


def test_100_is_not_sent_into_a_response(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    """The other client, whose origin is silent, shows that the time for it is over."""
    continued = threading.Event()

    def early(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n0123456789")
        exchange.wait(continued, "the other client to get its 100")
        exchange.send(b"abcdefghij")
        exchange.close()

    def silent(exchange: Exchange) -> None:
        exchange.wait(continued, "the client to get its 100")
        exchange.send(answer("200 OK", {}, exchange.read_body()))

    origin.on("/early", early)
    origin.on("/silent", silent)
    proxy = start_proxy()
    fields = {"Content-Length": "5", "Expect": "100-continue"}
    with proxy.client() as client, proxy.client() as other:
        client.send(client.head("POST", "/early", fields))
        head = client.response_head("POST")
        assert head.status == 200
        other.send(other.head("POST", "/silent", fields))
        assert other.response_head("POST").status == 100
        continued.set()
        assert client.finish(head).body == b"0123456789abcdefghij"
        other.send(b"hello")
        assert other.response("POST").body == b"hello"


def test_a_client_that_leaves_a_kept_connection_is_not_retried_for(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    """Its fetch ends with it: no connection is opened for nobody."""
    asked = threading.Semaphore(0)

    def slow(exchange: Exchange) -> None:
        asked.release()
        exchange.wait_for_close()

    origin.on("/slow", slow)
    proxy = start_proxy()
    for turn in range(5):
        assert proxy.get(f"/first/{turn}").status == 200
        with proxy.client() as client:
            client.send(client.head("GET", "/slow"))
            assert asked.acquire(timeout=30)
            client.reset()
        wait_until(lambda: proxy.stats()["connections"] == 0, "the proxy to see the client go")
    assert len(origin.seen("/slow")) == 5
    assert proxy.stats()["origin_connections_opened"] <= 6


def test_a_slow_origin_is_asked_once(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    """A time-out is no sign of a stale connection."""
    origin.on("/slow", Exchange.wait_for_close)
    proxy = start_proxy("--origin-head-timeout", "500ms")
    assert proxy.get("/first").status == 200
    assert proxy.get("/slow").status == 504
    assert len(origin.seen("/slow")) == 1


def test_long_accept_fields_leave_nothing_behind(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    proxy = start_proxy()
    before = 0
    for turn in range(900):
        if turn == 300:
            before = proxy.memory()
        fields = {"Accept": f"text/{turn}" + "x" * 20 * KB, "Cache-Control": "only-if-cached"}
        assert proxy.get("/", fields).status == 504
    assert proxy.memory() - before < 8 * 1024 * KB


def test_pipelined_hits_are_not_gathered_without_bound(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    origin.on("/page", fresh(bytes(12 * KB)))
    proxy = start_proxy()
    assert proxy.get("/page").size == 12 * KB
    before = proxy.memory()
    with ExitStack() as stack:
        for _ in range(4):
            client = stack.enter_context(proxy.client(receive_buffer=4 * KB))
            client.send(client.head("GET", "/page") * 4000)
        wait_until(lambda: proxy.stats()["connections"] == 4, "all to be connected")
        assert proxy.get("/page").cache == "HIT"
        assert proxy.memory() - before < 24 * 1024 * KB


@pytest.mark.parametrize(
    "name",
    [
        *("X-Forwarded-Port", "X-Forwarded-Prefix", "X-Original-URL", "X-Rewrite-URL", "X-Host"),
        *("X-Real-IP", "X_Forwarded_Host", "x_forwarded-for", "Content_Length", "X-Url-Scheme"),
    ],
)
def test_what_an_origin_may_believe_is_not_sent_on(
    start_proxy: StartProxy, origin: ScriptedOrigin, name: str
) -> None:
    proxy = start_proxy()
    assert proxy.get("/", {name: "7", "X-Other": "1", "api_key": "k"}).status == 200
    sent = origin.requests[0].fields
    assert sent.all(name) == []
    assert (sent["x-other"], sent["api_key"]) == ("1", "k")


def test_method_override_is_not_stored(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    origin.on("/", fresh(b"overridden"), fresh(b"plain"))
    proxy = start_proxy()
    assert proxy.get("/", {"X-HTTP-Method-Override": "PUT"}).body == b"overridden"
    assert proxy.get("/").body == b"plain"
    assert proxy.get("/").cache == "HIT"
    assert proxy.get("/", {"X-HTTP-Method-Override": "PUT"}).cache == "MISS"


def test_a_reader_that_falls_behind_holds_up_nobody_else(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    """What ends a body may also be what pauses its connection, which is then kept."""
    proxy = start_proxy("--min-rate", "0")
    capacity = _send_capacity()
    for size in range(capacity + 240 * KB, capacity + 900 * KB, 40 * KB):
        sent = threading.Event()
        body = bytes(size)

        def send(exchange: Exchange, body: bytes = body, sent: threading.Event = sent) -> None:
            exchange.send(answer("200 OK", {"Cache-Control": "no-store"}, body))
            sent.set()

        origin.on(f"/body/{size}", send)
        with proxy.client(receive_buffer=4 * KB) as behind:
            behind.send(behind.head("GET", f"/body/{size}"))
            sent.wait(1)  # the larger ones do not fit, which is as good
            for _ in range(20):
                proxy.stats()  # turns of the proxy's event loop
            assert proxy.get(f"/other/{size}").status == 200


def test_a_last_response_is_not_cut_while_its_reader_is_slow(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    """What the kernel does not take yet outlasts the time that a closed connection lingers."""
    capacity = _send_capacity()
    proxy = start_proxy()
    for extra in (8 * KB, 24 * KB, 40 * KB, 56 * KB):
        body = bytes(capacity + extra)
        origin.on(f"/last/{extra}", answer("200 OK", {"Cache-Control": "no-store"}, body))
        with proxy.client(receive_buffer=4 * KB) as slow, proxy.client() as later:
            slow.send(slow.head("GET", f"/last/{extra}", {"Connection": "close"}))
            head = slow.response_head()
            later.send(b"bad\r\n\r\n")
            assert later.response_head().status == 400
            wait_until(lambda: proxy.stats()["connections"] == 1, "the later one to be gone")
            assert slow.finish(head).size == len(body)


def _send_capacity() -> int:
    """How much a socket takes that nobody reads from."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * KB)
        reader.connect(listener.getsockname())
        with listener.accept()[0] as writer:
            writer.setblocking(False)
            sent = refused = 0
            while refused < 200:  # the peer's side takes over a moment later
                try:
                    sent += writer.send(bytes(64 * KB))
                except BlockingIOError:
                    refused += 1
                    select.select([], [writer], [], 0.001)
            return sent
