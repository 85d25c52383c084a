"""Requests go elsewhere where a server fails, and wait in line where all are busy."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from .support.messages import IncompleteError, PeerResetError
from .support.scripted_origin import Exchange, ScriptedOrigin, answer, fresh
from .support.scripted_servers import NO_STORE, ScriptedServers, named_answer
from .support.stand import StartOrigin, StartProxy
from .support.waiting import wait_until

Start = tuple[StartProxy, StartOrigin]


@pytest.fixture
def start(start_proxy: StartProxy, start_origin: StartOrigin) -> Start:
    return start_proxy, start_origin


def reset(exchange: Exchange) -> None:
    exchange.read_body()
    exchange.reset()


# -- again, elsewhere


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
def test_where_nobody_listens_nothing_is_sent_and_another_is_asked(
    start: Start, method: str
) -> None:
    found = ScriptedServers(*start)
    for server in found.servers[:2]:
        server.close()
    for _ in range(6):
        response = found.proxy.request(method, "/", body=b"x" if method != "GET" else b"")
        assert (response.status, response.body) == (200, b"c")
    found.check_idle()


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_an_idempotent_request_is_sent_again_after_a_reset(start: Start, method: str) -> None:
    found = ScriptedServers(*start)
    found.on("/reset", reset, reset, named_answer("c"))
    for _ in range(3):
        assert found.proxy.request(method, "/reset").status == 200
    found.check_idle()


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_others_reach_one_server(start: Start, method: str) -> None:
    found = ScriptedServers(*start)
    found.on("/reset", reset, reset, reset)
    for number in range(1, 7):
        response = found.proxy.request(method, "/reset", body=b"order")
        assert response.status == 502
        assert sum(found.seen("/reset")) == number


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_status_that_another_server_may_not_have(start: Start, status: int) -> None:
    found = ScriptedServers(*start)
    bad = answer(f"{status} Bad", NO_STORE, b"bad")
    found.on("/bad", bad, bad, named_answer("c"))
    assert {found.proxy.get("/bad").body for _ in range(6)} == {b"c"}
    posted = [found.proxy.request("POST", "/bad").status for _ in range(3)]
    assert sorted(posted) == [200, status, status]
    found.check_idle()


def test_when_all_answer_badly_the_last_answer_counts(start: Start) -> None:
    found = ScriptedServers(*start)
    found.on("/bad", *[answer("503 No", NO_STORE, letter.encode()) for letter in "abc"])
    response = found.proxy.get("/bad")
    assert (response.status, response.body) == (503, b"c")
    assert found.seen("/bad") == [1, 1, 1]


def test_statuses_and_number_of_retries_are_settings(start: Start) -> None:
    found = ScriptedServers(*start, "--retry-status", "404", "--retries", "1")
    found.on("/bad", *[answer("503 No", NO_STORE)] * 3)
    found.on("/none", *[answer("404 No", NO_STORE)] * 3)
    assert found.proxy.get("/bad").status == 503 and sum(found.seen("/bad")) == 1
    assert found.proxy.get("/none").status == 404 and sum(found.seen("/none")) == 2


def test_a_short_body_that_breaks_off_is_fetched_elsewhere(start: Start) -> None:
    found = ScriptedServers(*start)

    def cut(exchange: Exchange) -> None:
        exchange.send(answer("200 OK", {**NO_STORE, "Content-Length": "1000"}, b"x" * 500))
        exchange.reset()

    found.on("/cut", cut, cut, answer("200 OK", NO_STORE, b"y" * 1000))
    for _ in range(6):
        assert found.proxy.get("/cut").body == b"y" * 1000
    found.check_idle()


TAGGED = {"ETag": '"strong"', "Cache-Control": "max-age=600"}
LARGE = bytes(range(256)) * 2000


def cut_at(size: int, fields: dict[str, str]) -> Callable[[Exchange], None]:
    """So much of a body, then the end of the connection."""

    def cut(exchange: Exchange) -> None:
        exchange.send(answer("200 OK", {"Content-Length": str(len(LARGE)), **fields}, LARGE[:size]))
        exchange.close()

    return cut


def rest_with(fields: dict[str, str], start: int | None = None) -> Callable[[Exchange], None]:
    """The rest of the body, as it is asked for."""

    def rest(exchange: Exchange) -> None:
        first = int(exchange.request.fields["range"].removeprefix("bytes=").rstrip("-"))
        first = first if start is None else start
        told = {"Content-Range": f"bytes {first}-{len(LARGE) - 1}/{len(LARGE)}", **fields}
        exchange.send(answer("206 Partial Content", told, LARGE[first:]))

    return rest


@pytest.mark.parametrize("framing", [{}, {"Transfer-Encoding": "chunked"}])
def test_a_long_body_that_breaks_off_goes_on_at_another_server(
    start: Start, framing: dict[str, str]
) -> None:
    found = ScriptedServers(*start)

    def cut(exchange: Exchange) -> None:
        if not framing:
            cut_at(300_000, TAGGED)(exchange)
        exchange.send(answer("200 OK", {**TAGGED, **framing}), b"1000\r\n", LARGE[:4096], b"\r\n")
        exchange.close()

    rest = rest_with(TAGGED)
    found.on("/long", cut, rest, rest)
    response = found.proxy.get("/long")
    assert (response.status, response.body) == (200, LARGE)
    request = next(r for server in found.servers[1:] for r in server.seen("/long"))
    assert request.fields["if-range"] == '"strong"' and "range" in request.fields
    assert found.proxy.get("/long").cache == "HIT" and found.proxy.get("/long").body == LARGE
    assert [server["errors"] for server in found.origin()["servers"]] == [1, 0, 0]
    found.check_idle()


def test_it_goes_on_as_often_as_there_are_servers(start: Start) -> None:
    found = ScriptedServers(*start)

    def cut_again(exchange: Exchange) -> None:
        first = int(exchange.request.fields["range"].removeprefix("bytes=").rstrip("-"))
        told = {"Content-Range": f"bytes {first}-{len(LARGE) - 1}/{len(LARGE)}", **TAGGED}
        told["Content-Length"] = str(len(LARGE) - first)
        exchange.send(answer("206 Partial Content", told, LARGE[first : first + 100_000]))
        exchange.close()

    found.on("/long", cut_at(200_000, TAGGED), cut_again, rest_with(TAGGED))
    assert found.proxy.get("/long").body == LARGE
    found.check_idle()


@pytest.mark.parametrize(
    ("first", "other"),
    [
        (NO_STORE, rest_with(NO_STORE)),  # nothing tells that the octets are the same
        ({"ETag": 'W/"weak"'}, rest_with({"ETag": 'W/"weak"'})),
        (TAGGED, rest_with({"ETag": '"another"'})),
        (TAGGED, rest_with(TAGGED, 100)),  # of another place
        (TAGGED, answer("200 OK", TAGGED, LARGE)),
        (TAGGED, answer("404 Not Found", TAGGED, b"x")),
        (TAGGED, lambda exchange: exchange.reset()),
    ],
)
def test_what_does_not_fit_is_not_put_together(
    start: Start, first: dict[str, str], other: bytes | Callable[[Exchange], None]
) -> None:
    found = ScriptedServers(*start, weights=(1, 1))
    found.on("/long", cut_at(300_000, first), other)
    with found.proxy.client() as client, pytest.raises((IncompleteError, PeerResetError)):
        client.get("/long")
    found.check_idle()


def test_a_hung_server_costs_the_time_for_a_head(start: Start) -> None:
    found = ScriptedServers(*start, "--origin-head-timeout", "0.5s")
    gone = threading.Event()
    found.on("/hangs", *[lambda exchange: exchange.wait(gone, "the test")] * 2, named_answer("c"))
    try:
        assert {found.proxy.get("/hangs").body for _ in range(3)} == {b"c"}
    finally:
        gone.set()
    found.check_idle()


def test_no_attempt_goes_on_behind_the_deadline(start: Start) -> None:
    found = ScriptedServers(*start, "--origin-deadline", "0.6s")
    gone = threading.Event()
    found.on("/hangs", *[lambda exchange: exchange.wait(gone, "the test")] * 3)
    try:
        assert found.proxy.get("/hangs").status == 504
        assert sum(found.seen("/hangs")) == 1
    finally:
        gone.set()
    found.check_idle()


def test_retries_have_a_budget(start: Start) -> None:
    found = ScriptedServers(*start, "--retry-floor", "1", "--retry-budget", "0", weights=(1, 1))
    found.on("/bad", *[answer("503 No", NO_STORE)] * 2)
    for _ in range(50):
        assert found.proxy.get("/bad").status == 503
    assert 60 <= sum(found.seen("/bad")) <= 62
    assert found.origin()["retries_denied"] >= 38


def test_a_slow_get_is_hedged(start: Start) -> None:
    found = ScriptedServers(*start, "--hedge", "--retry-floor", "1000", weights=(1, 1))
    found.ask(120)
    wait_until(lambda: found.ask(1) and found.origin()["slow_after"] > 0, "what is slow")
    gone = threading.Event()
    found.on("/slow", lambda exchange: exchange.wait(gone, "the test"), named_answer("b"))
    try:
        assert {found.proxy.get("/slow").body for _ in range(4)} == {b"b"}
    finally:
        gone.set()
    assert found.origin()["hedged"] >= 2
    found.check_idle()


# -- limits


def test_who_finds_all_busy_waits_in_line(start: Start) -> None:
    found = ScriptedServers(*start, weights=(1, 1), more=("max_connections=1",))
    held, release = threading.Semaphore(0), threading.Event()

    def hold(exchange: Exchange) -> None:
        held.release()
        exchange.wait(release, "the test")
        exchange.send(answer("200 OK", NO_STORE, b"held"))

    found.on("/held", hold, hold)
    clients = [found.proxy.client() for _ in range(5)]
    for number, client in enumerate(clients):
        client.send(client.head("GET", f"/held?{number}", {}))
    held.acquire()
    held.acquire()
    wait_until(lambda: found.origin()["waiting"] == 3, "three to wait")
    assert [server["in_flight"] for server in found.origin()["servers"]] == [1, 1]
    clients.pop().reset()
    wait_until(lambda: found.origin()["waiting"] == 2, "the one that left to be forgotten")
    release.set()
    for client in clients:
        assert client.response().body == b"held"
        client.close()
    assert sum(len(server.requests) for server in found.servers) == 4
    found.check_idle()


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        (("--queue-size", "0"), "every server is at its limit"),
        (("--queue-timeout", "0.3s"), "no server was free in time"),
    ],
)
def test_who_cannot_wait_is_told_when_to_come_again(
    start: Start, options: tuple[str, ...], cause: str
) -> None:
    found = ScriptedServers(*start, "--server-connections", "1", *options, weights=(1,))
    gone, held = threading.Event(), threading.Event()

    def hold(exchange: Exchange) -> None:
        held.set()
        exchange.wait(gone, "the test")
        exchange.send(answer("200 OK", NO_STORE))

    found.on("/held", hold)
    with found.proxy.client() as client:
        client.send(client.head("GET", "/held", {}))
        held.wait()
        response = found.proxy.get("/")
        assert response.status == 503 and cause in response.body.decode()
        assert response.fields["retry-after"] == "1"
        assert cause in response.fields["cache-status"]
        gone.set()
    found.check_idle()


# -- circuits


def test_while_every_circuit_is_open_the_answer_comes_at_once(start: Start) -> None:
    options = (
        *("--circuit-error-rate", "50", "--circuit-min-requests", "4"),
        *("--origin-head-timeout", "0.2s", "--retries", "0"),
    )
    found = ScriptedServers(*start, *options, weights=(1, 1))
    stale = answer("200 OK", {"Cache-Control": "max-age=0, stale-if-error=60"}, b"old")
    found.on("/stale", stale, stale)
    assert found.proxy.get("/stale").body == b"old"
    gone = threading.Event()
    for target in ("/hangs", "/stale"):
        found.on(target, *[lambda exchange: exchange.wait(gone, "the test")] * 2)
    try:
        while any(server["circuit"] != "open" for server in found.origin()["servers"]):
            assert found.proxy.get("/hangs").status in (503, 504)
        seen = sum(found.seen("/hangs"))
        response = found.proxy.get("/hangs")
        assert response.status == 503 and "retry-after" in response.fields
        assert "the circuits of all servers are open" in response.fields["cache-status"]
        response = found.proxy.get("/stale")
        assert (response.status, response.body) == (200, b"old")
        assert "the circuits of all servers are open" in response.fields["cache-status"]
        assert sum(found.seen("/hangs")) == seen
    finally:
        gone.set()
    assert "its circuit is open" in found.proxy.errors()


def test_an_origin_of_its_own_has_a_circuit_too(start: Start, origin: ScriptedOrigin) -> None:
    """What it answers is its own business: only answers that do not come open it."""
    options = ("--circuit-min-requests", "5", "--circuit-open-time", "3s")
    busy, proxy = start[0](*options), start[0](*options)
    origin.on("/busy", answer("503 No", NO_STORE))
    assert [busy.get("/busy").status for _ in range(10)] == [503] * 10
    assert len(origin.seen("/busy")) == 10
    origin.on("/", reset)
    while proxy.get("/").status == 502:
        assert len(origin.seen("/")) < 50
    response = proxy.get("/")
    assert response.status == 503
    assert "the circuits of all servers are open" in response.fields["cache-status"]
    origin.on("/", fresh(b"back"))
    wait_until(lambda: proxy.get("/").status == 200, "it to be tried again")
