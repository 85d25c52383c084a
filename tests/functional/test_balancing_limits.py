"""What is scarce while requests go to many servers: file descriptors, time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from .support.backends import Backend
from .support.scripted_origin import Exchange, answer
from .support.scripted_servers import CALM, NO_STORE, ScriptedServers
from .support.stand import StartOrigin, StartProxy
from .support.waiting import wait_until
from .test_balancing_retries import LARGE, TAGGED

Start = tuple[StartProxy, StartOrigin]
MANY = 150


@pytest.fixture
def start(start_proxy: StartProxy, start_origin: StartOrigin) -> Start:
    return start_proxy, start_origin


@pytest.fixture
def backend() -> Iterator[Backend]:
    """One that is reached at many addresses."""
    found = Backend("0.0.0.0")
    yield found
    found.kill()


def addresses(backend: Backend) -> list[str]:
    return [
        part for n in range(1, MANY + 1) for part in ("--servers", f"127.0.0.{n}:{backend.port}:1")
    ]


# --- descriptors ----------------------------------------------------------------------------------


def test_idle_connections_leave_descriptors_for_others(
    start_proxy: StartProxy, backend: Backend
) -> None:
    """With more servers than descriptors: that which has been idle for longest makes room."""
    named = addresses(backend)
    proxy = start_proxy("--load-balance", *named, *CALM, descriptors=200)
    limit = proxy.stats()["origin_connections_limit"]
    assert 0 < limit < MANY
    with proxy.client() as client:
        for n in range(3 * MANY):
            assert client.get(f"/{n}").status == 200
            assert proxy.stats()["origin_connections"] <= limit
    servers = proxy.origins()[0]["servers"]
    assert [server["requests"] for server in servers] == [3] * MANY
    assert not any(server["errors"] for server in servers)


def test_a_shortage_of_descriptors_counts_against_no_server(
    start_proxy: StartProxy, start_origin: StartOrigin
) -> None:
    """Who finds no descriptor left is told so at once; that is not the server's fault."""
    origin = start_origin()
    other = start_origin()
    options = ("--load-balance", "--servers", f"127.0.0.1:{origin.port}:1", *CALM)
    options += ("--servers", f"127.0.0.1:{other.port}:1", "--max-connections", "1000")
    proxy = start_proxy(*options, descriptors=128)
    limit = proxy.stats()["origin_connections_limit"]
    gone = threading.Event()

    def hold(exchange: Exchange) -> None:
        exchange.wait(gone, "the test")
        exchange.close()

    for each in (origin, other):
        for n in range(limit):
            each.on(f"/held/{n}", hold)
        each.on("/more", answer("200 OK", NO_STORE, b"more"))
    with ExitStack() as stack:
        stack.callback(gone.set)
        for n in range(limit):
            client = stack.enter_context(proxy.client())
            client.send(client.head("GET", f"/held/{n}"))
        wait_until(lambda: proxy.stats()["origin_connections"] == limit, "them to be asked")
        refused = proxy.get("/more")
        assert refused.status == 503 and b"descriptor" in refused.body
        assert refused.fields["retry-after"] == "1"
        told = proxy.origins()[0]
        assert [server["errors"] for server in told["servers"]] == [0, 0]
        assert told["retries"] == 0
    wait_until(lambda: proxy.get("/more").status == 200, "descriptors to be there again")


# --- time -----------------------------------------------------------------------------------------


def test_a_server_that_gets_what_is_left_of_the_deadline_is_not_blamed(start: Start) -> None:
    deadline = 2.0
    found = ScriptedServers(
        *start,
        *("--origin-deadline", f"{deadline:g}s", "--queue-timeout", "10s"),
        weights=(1,),
        more=("max_connections=1",),
    )
    first, gone = threading.Event(), threading.Event()

    def slow(exchange: Exchange) -> None:
        first.wait(10)
        exchange.send(answer("200 OK", NO_STORE, b"first"))

    found.on("/first", slow)
    found.on("/second", lambda exchange: exchange.wait(gone, "the test"))
    with found.proxy.client() as one, found.proxy.client() as two:
        one.send(one.head("GET", "/first"))
        wait_until(lambda: found.seen("/first") == [1], "the server to be busy")
        begun = time.monotonic()
        two.send(two.head("GET", "/second"))
        wait_until(lambda: time.monotonic() > begun + 0.6 * deadline, "most of the time to be over")
        first.set()
        assert one.response().body == b"first"
        assert two.response().status == 504
    gone.set()
    assert found.seen("/second") == [1]
    assert [server["errors"] for server in found.origin()["servers"]] == [0]
    found.check_idle()


def test_those_who_wait_for_one_that_waits_in_vain_do_not_wait_again(start: Start) -> None:
    found = ScriptedServers(
        *start, "--queue-timeout", "2s", weights=(1,), more=("max_connections=1",)
    )
    gone = threading.Event()

    def hold(exchange: Exchange) -> None:
        exchange.wait(gone, "the test")
        exchange.close()

    found.on("/held", hold)
    with ExitStack() as stack:
        stack.callback(gone.set)
        clients = [stack.enter_context(found.proxy.client()) for _ in range(6)]
        clients[0].send(clients[0].head("GET", "/held"))
        wait_until(lambda: found.seen("/held") == [1], "the server to be busy")
        for client in clients[1:]:
            client.send(client.head("GET", "/same"))
        answers = [client.response() for client in clients[1:]]
        assert {(each.status, each.fields["retry-after"]) for each in answers} == {(503, "1")}
        assert found.origin()["turned_away"] == 1
    found.check_idle()


# --- what one server has said, at the next --------------------------------------------------------


def test_interim_responses_are_counted_for_each_server(start: Start) -> None:
    """The limit is for one that sends no end of them."""
    found = ScriptedServers(*start, weights=(1, 1))
    hints = b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20

    def bad(exchange: Exchange) -> None:
        exchange.send(hints, answer("503 No", NO_STORE))

    def good(exchange: Exchange) -> None:
        exchange.send(hints, answer("200 OK", NO_STORE, b"b"))

    found.on("/hints", bad, good)
    for _ in range(4):
        assert found.proxy.get("/hints").body == b"b"
    assert found.seen("/hints")[0] >= 2
    assert found.origin()["servers"][1]["errors"] == 0
    found.check_idle()


@pytest.mark.parametrize("size", [400_000, 100_000])
def test_a_client_that_leaves_while_the_rest_is_asked_for(start: Start, size: int) -> None:
    """Nothing of that counts against the second server; where most is there it is still stored."""
    found = ScriptedServers(*start, weights=(1, 1))
    asked, left = threading.Event(), threading.Event()

    def cut(exchange: Exchange) -> None:
        told = {"Content-Length": str(len(LARGE)), **TAGGED}
        exchange.send(answer("200 OK", told, LARGE[:size]))
        exchange.close()

    def rest(exchange: Exchange) -> None:
        asked.set()
        left.wait(10)
        told = {"Content-Range": f"bytes {size}-{len(LARGE) - 1}/{len(LARGE)}", **TAGGED}
        exchange.send(answer("206 Partial Content", told, LARGE[size:]))

    found.on("/left", cut, rest)
    while found.ask(1) != "b":  # the next one goes to the first
        pass
    with found.proxy.client() as client:
        client.send(client.head("GET", "/left"))
        assert asked.wait(10)
    wait_until(lambda: found.proxy.stats()["connections"] == 0, "the client to be gone")
    left.set()
    if size > len(LARGE) // 2:
        wait_until(lambda: found.proxy.stats()["entries"] == 1, "it to be stored")
        response = found.proxy.get("/left")
        assert (response.cache, response.body) == ("HIT", LARGE)
    found.check_idle()
    assert [server["errors"] for server in found.origin()["servers"]] == [1, 0]


def test_the_rest_is_asked_for_on_a_new_connection(start: Start) -> None:
    """One that was kept may be closed by now, and there is no second try."""
    found = ScriptedServers(*start, weights=(1, 1))
    found.ask(4)
    opened = found.proxy.stats()["origin_connections_opened"]

    def cut(exchange: Exchange) -> None:
        told = {"Content-Length": str(len(LARGE)), **TAGGED}
        exchange.send(answer("200 OK", told, LARGE[:300_000]))
        exchange.close()

    def rest(exchange: Exchange) -> None:
        told = {"Content-Range": f"bytes 300000-{len(LARGE) - 1}/{len(LARGE)}", **TAGGED}
        exchange.send(answer("206 Partial Content", told, LARGE[300_000:]))

    found.on("/rest", cut, rest)
    while found.ask(1) != "b":
        pass
    assert found.proxy.get("/rest").body == LARGE
    assert found.proxy.stats()["origin_connections_opened"] == opened + 1
    found.check_idle()
