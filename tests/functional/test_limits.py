"""Crowds, slow peers, peers that go away, and the end of the process."""

from __future__ import annotations

import contextlib
import resource
import select
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from .support.proxy import ProxyProcess
from .support.raw_client import RawClient
from .support.scripted_origin import Exchange, ScriptedOrigin, answer, fresh
from .support.site import Site
from .support.stand import StartProxy
from .support.waiting import DEADLINE, wait_until

KB, MB = 1 << 10, 1 << 20
ENDLESS = b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n"
PIECE = b"10000\r\n" + bytes(64 * KB) + b"\r\n"

# --- numbers of connections -----------------------------------------------------------------------


def _idle(stack: ExitStack, proxy: ProxyProcess, count: int, **options: str) -> list[RawClient]:
    """Connections that have had an answer and keep open, the oldest first."""
    clients = []
    for n in range(count):
        clients.append(stack.enter_context(proxy.client(**options)))
        assert clients[-1].get(f"/idle/{n}").status == 200
    return clients


@pytest.mark.parametrize("option", ["--max-connections", "--max-connections-per-client"])
def test_oldest_idle_connection_gives_way(
    start_proxy: StartProxy, origin: ScriptedOrigin, option: str
) -> None:
    proxy = start_proxy(option, "4")
    origin.on("/aging", fresh())
    with ExitStack() as stack:
        clients = _idle(stack, proxy, 4)
        used = clients[1]
        wait_until(lambda: int(used.get("/aging").fields.get("age") or 0), "the others to grow old")
        newcomer = stack.enter_context(proxy.client())
        assert newcomer.get("/newcomer").status == 200
        wait_until(lambda: any(client.ended() for client in clients), "one of them to be closed")
        assert [client.ended() for client in clients].count(True) == 1
        assert used.get("/still").status == 200


@pytest.mark.parametrize("option", ["--max-connections", "--max-connections-per-client"])
def test_503_when_none_is_idle(
    start_proxy: StartProxy, origin: ScriptedOrigin, option: str
) -> None:
    released = threading.Event()

    def slow(exchange: Exchange) -> None:
        exchange.wait(released, "the test")
        exchange.send(fresh(b"slow"))

    for n in range(3):
        origin.on(f"/slow/{n}", slow)
    proxy = start_proxy(option, "3")
    with ExitStack() as stack:
        busy = [stack.enter_context(proxy.client()) for _ in range(3)]
        for n, client in enumerate(busy):
            client.send(client.head("GET", f"/slow/{n}"))
        wait_until(lambda: len(origin.requests) == 3, "the origin to have three requests")
        for _ in range(3):
            with proxy.client() as client:
                client.send(client.head("GET", "/refused"))
                assert client.response().status == 503
                client.expect_closed()
        released.set()
        assert [client.response().body for client in busy] == [b"slow"] * 3
    assert "/refused" not in origin.targets()
    wait_until(lambda: proxy.get("/again").status == 200, "room for a new connection")


def test_limit_per_client_leaves_room_for_others(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    proxy = start_proxy("--max-connections-per-client", "2")
    with ExitStack() as stack:
        ours = _idle(stack, proxy, 2)
        others = _idle(stack, proxy, 2, source="127.0.0.2")
        assert not any(client.ended() for client in ours + others)
        third = stack.enter_context(proxy.client(source="127.0.0.2"))
        assert third.get("/third").status == 200
        wait_until(lambda: any(client.ended() for client in others), "one of them to be closed")
        assert not any(client.ended() for client in ours)


def test_running_out_of_descriptors(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    """The default limit follows the descriptor limit; there is room for origins and control."""
    proxy = start_proxy(descriptors=100)
    with ExitStack() as stack:
        for n in range(300):
            client = stack.enter_context(proxy.client())
            client.send(client.head("GET", f"/crowd/{n}"))
        assert proxy.stats()["connections"] <= 100
    wait_until(lambda: proxy.get("/afterwards").status == 200, "room after the crowd has gone")
    origin.on("/big", fresh(bytes(MB)))
    assert proxy.get("/big").size == MB


def test_thousands_of_idle_connections(start_proxy: StartProxy, site: Site) -> None:
    """10,000, or as many as this process may open; each costs little, others are served."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(10_000, hard - 500)
    try:
        proxy = start_proxy("--max-connections", str(count + 100), origin=site.url)
        proxy.get("/page")
        before = proxy.memory()
        with ExitStack() as stack:
            clients = [stack.enter_context(proxy.client()) for _ in range(count)]
            for client in clients[::2]:
                client.send(client.head("GET", "/page"))
            for client in clients[::2]:
                assert client.response().cache == "HIT"
            assert (proxy.memory() - before) / count < 32 * KB
            assert proxy.get("/page").cache == "HIT"
            assert not any(client.ended() for client in clients)
        wait_until(lambda: proxy.stats()["connections"] <= 1, "the connections to be gone")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# --- slow clients ---------------------------------------------------------------------------------


def _others_are_served(proxy: ProxyProcess) -> None:
    assert proxy.get("/small").status == 200


@pytest.mark.parametrize("control", ["max-age=600", "no-store"])
def test_slow_reader_is_ended(
    start_proxy: StartProxy, origin: ScriptedOrigin, control: str
) -> None:
    proxy = start_proxy("--min-rate", "10KB", "--max-object", "64MB", "--send-timeout", "2s")
    origin.on("/big", answer("200 OK", {"Cache-Control": control}, bytes(32 * MB)))
    with proxy.client(receive_buffer=4 * KB) as client:
        client.send(client.head("GET", "/big"))

        def ended() -> bool:
            _others_are_served(proxy)
            with contextlib.suppress(ConnectionResetError):
                client.sock.recv(1)
            return client.ended()

        wait_until(ended, "--min-rate to end a client that reads a byte now and then")


def test_reader_that_takes_nothing_is_ended(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    proxy = start_proxy("--min-rate", "0", "--send-timeout", "500ms", "--max-object", "64MB")
    origin.on("/big", fresh(bytes(32 * MB)))
    with proxy.client(receive_buffer=4 * KB) as client:
        client.send(client.head("GET", "/big"))
        wait_until(client.ended, "--send-timeout to end a client that reads nothing")
    _others_are_served(proxy)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_slow_sender_is_ended(
    start_proxy: StartProxy, origin: ScriptedOrigin, framing: str
) -> None:
    proxy = start_proxy("--min-rate", "10KB", "--body-timeout", "2s")
    with proxy.client() as client:
        fields = {"Content-Length": str(MB)}
        piece = b"x"
        if framing == "chunked":
            fields, piece = {"Transfer-Encoding": "chunked"}, b"1\r\nx\r\n"
        client.send(client.head("POST", "/upload", fields))

        def ended() -> bool:
            client.send(piece)
            _others_are_served(proxy)
            return client.ended()

        wait_until(ended, "--min-rate to end a client that sends a byte now and then")
        response = client.refusal("POST")
        assert response is None or response.status == 408
    upload = origin.targets().index("/upload")
    origin.served_on[upload].wait_closed()
    assert origin.cut_requests


def test_min_rate_spares_who_waits_for_the_origin(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    """The origin is slow, not the client: a byte a time comes and is taken at once."""
    proxy = start_proxy("--min-rate", "1MB", "--head-timeout", "500ms", "--body-timeout", "500ms")
    released = threading.Event()

    def drip(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na")
        exchange.wait(released, "another client to be timed out")
        exchange.send(b"b")

    origin.on("/drip", drip)
    with proxy.client() as client, proxy.client() as other:
        client.send(client.head("GET", "/drip"))
        response = client.response_head()
        other.send(b"GET /")
        other.refusal()
        released.set()
        assert client.finish(response).body == b"ab"


# --- backpressure ---------------------------------------------------------------------------------


class _Pump:
    """An origin's script that sends until nobody takes any more."""

    def __init__(self, pieces: int) -> None:
        self.pieces = pieces
        self.sent = 0
        self.blocked = threading.Event()

    def __call__(self, exchange: Exchange) -> None:
        exchange.send(ENDLESS)
        for _ in range(self.pieces):
            if not select.select([], [exchange.connection.sock], [], 1)[1]:
                self.blocked.set()
            exchange.send(PIECE)
            self.sent += len(PIECE)
        exchange.send(b"0\r\n\r\n")


def test_stalled_reader_pauses_the_origin(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    pump = _Pump(3200)
    origin.on("/stream", pump)
    proxy = start_proxy("--min-rate", "0")
    before = proxy.memory()
    with proxy.client(timeout=2 * DEADLINE) as client:
        client.send(client.head("GET", "/stream"))
        response = client.response_head()
        assert pump.blocked.wait(
            DEADLINE
        ), "the origin could send all of 200 MB to a stalled client"
        assert pump.sent < 64 * MB
        assert proxy.memory() - before < 64 * MB
        _others_are_served(proxy)
        assert client.finish(response, sink=lambda piece: None).size == 3200 * 64 * KB
    assert proxy.memory() - before < 64 * MB


def test_stalled_origin_pauses_the_client(start_proxy: StartProxy, origin: ScriptedOrigin) -> None:
    released = threading.Event()

    def stalled(exchange: Exchange) -> None:
        exchange.wait(released, "the client to block")
        exchange.read_body(lambda piece: None)
        exchange.send(answer("200 OK", {}, b"%d" % exchange.request.size))

    origin.on("/upload", stalled)
    proxy = start_proxy("--min-rate", "0")
    before = proxy.memory()
    total = 200 * MB
    with proxy.client(timeout=2 * DEADLINE) as client:
        client.send(client.head("POST", "/upload", {"Content-Length": str(total)}))
        sent = 0
        while select.select([], [client.sock], [], 1)[1]:
            sent += client.sock.send(bytes(min(64 * KB, total - sent)))
            assert sent < 64 * MB, "the proxy takes a body that the origin does not"
        assert proxy.memory() - before < 64 * MB
        _others_are_served(proxy)
        released.set()
        while sent < total:
            sent += client.sock.send(bytes(min(64 * KB, total - sent)))
        assert client.response("POST").body == b"%d" % total


@pytest.mark.parametrize("target", ["/hit", "/pass"])
def test_pipelining_client_that_does_not_read(
    start_proxy: StartProxy, origin: ScriptedOrigin, target: str
) -> None:
    """Its requests wait in its own socket; answers are not piled up, and none is lost."""
    origin.on("/hit", fresh(bytes(20 * KB)))
    origin.on("/pass", answer("200 OK", {"Cache-Control": "no-store"}, bytes(20 * KB)))
    proxy = start_proxy("--min-rate", "0")
    proxy.get(target)
    before = proxy.memory()
    with proxy.client() as client:
        head = client.head("GET", target, {"X-Padding": "x" * 4000})
        sent = 0
        while select.select([], [client.sock], [], 1)[1]:
            sent += client.sock.send(head[sent % len(head) :])
            assert sent < 64 * MB, "the proxy takes requests without end"
        assert proxy.memory() - before < 64 * MB
        _others_are_served(proxy)
        for _ in range(sent // len(head)):
            assert client.response().size == 20 * KB


def test_slow_reader_does_not_hold_up_a_fast_one(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    """Both read the same storable object while it grows."""
    size = 12 * MB
    origin.on("/shared", fresh(bytes(size)))
    proxy = start_proxy("--min-rate", "0")
    with proxy.client(receive_buffer=4 * KB) as slow:
        slow.send(slow.head("GET", "/shared"))
        head = slow.response_head()
        assert proxy.get("/shared").size == size
        assert slow.finish(head).size == size


# --- clients that go away -------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["close", "reset"])
def test_client_gone_stops_an_unstorable_fetch(
    start_proxy: StartProxy, origin: ScriptedOrigin, ending: str
) -> None:
    def endless(exchange: Exchange) -> None:
        exchange.send(ENDLESS)
        while True:
            exchange.send(PIECE)

    origin.on("/endless", endless)
    proxy = start_proxy()
    client = proxy.client()
    client.send(client.head("GET", "/endless"))
    client.response_head()
    if ending == "reset":
        client.reset()
    client.close()
    origin.served_on[0].wait_closed()
    _others_are_served(proxy)


def test_client_gone_before_the_answer_stops_the_fetch(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    origin.on("/never", Exchange.wait_for_close)
    proxy = start_proxy()
    client = proxy.client()
    client.send(client.head("GET", "/never"))
    wait_until(lambda: origin.requests, "the request to reach the origin")
    client.reset()
    origin.served_on[0].wait_closed()


def _partial(exchange: Exchange, first: int, went_on: threading.Event) -> None:
    size = MB
    head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: %d\r\n\r\n" % size
    exchange.send(head + bytes(first))
    exchange.wait(went_on, "the client to have gone")
    exchange.send(bytes(size - first))


def test_client_gone_after_more_than_half_of_a_storable_body(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    went_on = threading.Event()
    origin.on("/storable", lambda exchange: _partial(exchange, 600 * KB, went_on))
    proxy = start_proxy()
    with proxy.client() as client:
        client.send(client.head("GET", "/storable"))
        client.response_head()
        client.stream.pass_on(600 * KB, lambda piece: None, "more than half of it")
        client.reset()
    wait_until(lambda: proxy.stats()["connections"] == 0, "the proxy to see the client go")
    went_on.set()
    wait_until(lambda: proxy.stats()["entries"] == 1, "the response to be stored")
    assert proxy.get("/storable").cache == "HIT"
    assert len(origin.requests) == 1


def test_client_gone_before_half_of_a_storable_body(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    def first_part(exchange: Exchange) -> None:
        exchange.send(fresh(bytes(MB))[: 100 * KB])
        exchange.wait_for_close()

    origin.on("/storable", first_part, fresh(b"again"))
    proxy = start_proxy()
    with proxy.client() as client:
        client.send(client.head("GET", "/storable"))
        client.response_head()
        client.reset()
    origin.served_on[0].wait_closed()
    assert proxy.get("/storable").body == b"again"


def test_a_fetch_goes_on_for_the_other_reader(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    went_on = threading.Event()
    origin.on("/storable", lambda exchange: _partial(exchange, 100 * KB, went_on))
    proxy = start_proxy()
    with proxy.client() as stays:
        with proxy.client() as leaves:
            for client in (leaves, stays):
                client.send(client.head("GET", "/storable"))
                response = client.response_head()
            leaves.reset()
        wait_until(lambda: proxy.stats()["connections"] == 1, "the proxy to see a client go")
        went_on.set()
        assert stays.finish(response).size == MB


def test_many_clients_come_and_go(start_proxy: StartProxy, site: Site) -> None:
    """Nothing is left behind by connections that end at any moment."""
    proxy = start_proxy(origin=site.url)

    def come_and_go(number: int) -> None:
        for n in range(30):
            client = proxy.client()
            client.send(client.head("GET", f"/bytes/{50 * KB}?cache=no-store&n={n}")[: 10 + n * 5])
            if (number + n) % 2:
                client.reset()
            else:
                client.close()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(come_and_go, range(16)))
    wait_until(lambda: proxy.stats()["connections"] == 0, "no connection to be left")
    assert proxy.get("/page").status == 200
