"""Requests go to servers: by strategy, elsewhere where one fails, in line where all are busy."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import re
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from caching_proxy.configuration import configure
from caching_proxy.proxy_server.dialer import Address

from .support.commands import command
from .support.configured import Configured
from .support.in_process import in_process
from .support.messages import IncompleteError, PeerResetError
from .support.proxy import ProxyProcess, environment
from .support.scripted_origin import Exchange, ScriptedOrigin, answer, fresh
from .support.scripted_servers import NO_STORE, ScriptedServers, named_answer, post
from .support.stand import StartOrigin, StartProxy
from .support.tls import Authority
from .support.waiting import wait_until

Start = tuple[StartProxy, StartOrigin]


@pytest.fixture
def start(start_proxy: StartProxy, start_origin: StartOrigin) -> Start:
    return start_proxy, start_origin


def reset(exchange: Exchange) -> None:
    exchange.read_body()
    exchange.reset()


# -- strategies


def test_the_documented_example_is_exact(start: Start) -> None:
    found = ScriptedServers(*start, weights=(5, 3), strategy="weighted-round-robin")
    assert found.ask(16) == "abaababa" * 2


def test_the_weight_of_five_one_one_is_interleaved(start: Start) -> None:
    found = ScriptedServers(*start, weights=(5, 1, 1), strategy="weighted-round-robin")
    assert found.ask(14) == "aabacaa" * 2


def test_round_robin_takes_turns(start: Start) -> None:
    found = ScriptedServers(*start, weights=(5, 1, 1), strategy="round-robin")
    assert found.ask(9) == "abcabcabc"


@pytest.mark.parametrize(
    "strategy",
    ["random", "weighted-random", "least-connections", "power-of-two-choices", "least-latency"],
)
def test_every_server_is_used(start: Start, strategy: str) -> None:
    found = ScriptedServers(*start, strategy=strategy)
    assert set(found.ask(100)) == set("abc")
    found.check_idle()


def test_least_connections_goes_where_least_is_under_way(start: Start) -> None:
    found = ScriptedServers(*start, weights=(1, 1), strategy="least-connections")
    held, release = threading.Event(), threading.Event()

    def hold(exchange: Exchange) -> None:
        held.set()
        exchange.wait(release, "the test")
        exchange.send(answer("200 OK", NO_STORE))

    found.on("/held", hold, hold)
    with found.proxy.client() as client:
        client.send(client.head("GET", "/held", {}))
        held.wait()
        assert len(set(found.ask(20))) == 1
        release.set()
        client.response()
    assert set(found.ask(20)) == {"a", "b"}


@pytest.mark.parametrize(
    ("by", "field"), [("header:X-User", "X_User"), ("cookie:user", "Cookie"), ("url", "")]
)
def test_consistent_hash_goes_by_what_is_named(start: Start, by: str, field: str) -> None:
    found = ScriptedServers(*start, "--hash-by", by, strategy="consistent-hash")
    found.on("/x", *map(named_answer, found.letters))
    taken = []
    for user in range(60):
        value = f"user={user}" if field == "Cookie" else str(user)
        fields = {field: value} if field else {}
        target = "/" if field else f"/x?{user}"
        (letter,) = set(found.ask(3, target, **fields))
        taken.append(letter)
    assert set(taken) == set("abc")
    if field:
        assert len(set(found.ask(20, "/x"))) == 1  # without the field by URL


def test_consistent_hash_by_address(start: Start) -> None:
    found = ScriptedServers(*start, "--hash-by", "address", strategy="consistent-hash")
    taken = {}
    for number in range(2, 30):
        with found.proxy.client(source=f"127.0.0.{number}") as client:
            (taken[number],) = {client.get("/").body for _ in range(3)}
    assert set(taken.values()) == {b"a", b"b", b"c"}


def test_a_session_sticks_to_its_server(start: Start) -> None:
    found = ScriptedServers(*start, strategy="sticky-cookie")
    first = found.proxy.get("/")
    told = re.fullmatch(
        "(caching-proxy-server=[0-9a-f]{16}); Path=/; HttpOnly; SameSite=Lax",
        first.fields["set-cookie"],
    )
    assert told is not None
    for _ in range(9):
        again = found.proxy.get("/", {"Cookie": f"a=1; {told[1]}; b=2"})
        assert again.body == first.body
        assert "set-cookie" not in again.fields
    server = found.servers[found.letters.index(first.body.decode())]
    assert server.requests[-1].fields["cookie"] == "a=1; b=2"
    assert found.proxy.get("/", {"Cookie": told[1]}).body == first.body
    assert "cookie" not in server.requests[-1].fields


def test_a_cookie_that_names_no_server_is_replaced(start: Start) -> None:
    found = ScriptedServers(*start, strategy="sticky-cookie")
    for value in ("0" * 16, "f" * 16, "zz", "", "g" * 16, "1" * 17):
        response = found.proxy.get("/", {"Cookie": f"caching-proxy-server={value}"})
        assert response.status == 200 and "set-cookie" in response.fields


def test_what_is_stored_has_no_session(start: Start) -> None:
    found = ScriptedServers(*start, strategy="sticky-cookie")
    found.on("/shared", *[fresh(b"all")] * 3)
    cookie = found.proxy.get("/").fields["set-cookie"].partition(";")[0]
    assert "set-cookie" not in found.proxy.get("/shared").fields
    for _ in range(3):
        response = found.proxy.get("/shared", {"Cookie": cookie})
        assert (response.cache, "set-cookie" in response.fields) == ("HIT", False)


def test_a_drained_server_keeps_its_sessions(start: Start) -> None:
    found = ScriptedServers(*start, strategy="sticky-cookie")
    first = found.proxy.get("/")
    cookie = {"Cookie": first.fields["set-cookie"].partition(";")[0]}
    number = found.letters.index(first.body.decode())
    assert found.order(number, "drain")[0] == 200
    assert first.body.decode() not in found.ask(20)
    assert found.proxy.get("/", cookie).body == first.body
    found.order(number, "disabled")
    assert found.proxy.get("/", cookie).body != first.body


# -- what is sent to servers


@pytest.mark.parametrize("of", ["origin", "server", "client"])
def test_the_host_of_server_or_origin(start: Start, of: str) -> None:
    found = ScriptedServers(*start, "--host-header", of, origin="http://site.example")
    found.ask(3)
    hosts = [server.requests[-1].fields["host"] for server in found.servers]
    expected = {
        "origin": ["site.example"] * 3,
        "client": [found.proxy.authority] * 3,
        "server": [server.authority for server in found.servers],
    }
    assert hosts == expected[of]


def test_what_one_server_answers_is_stored_for_all(start: Start) -> None:
    found = ScriptedServers(*start)
    found.on("/kept", *map(fresh, (b"a", b"b", b"c")))
    bodies = {found.proxy.get("/kept").body for _ in range(5)}
    assert len(bodies) == 1 and sum(found.seen("/kept")) == 1


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
    found = ScriptedServers(*start, "--hedge", weights=(1, 1))
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


# -- orders and reports


@pytest.mark.parametrize("workers", ["1", "2"])
def test_orders_reach_every_worker(start: Start, workers: str) -> None:
    found = ScriptedServers(*start, "--workers", workers)
    assert found.order(0, "drain") == (
        200,
        {
            "origin": "default",
            "server": f"127.0.0.1:{found.servers[0].port}",
            "state": "drain",
        },
    )
    wait_until(lambda: found.states() == ["drain", "up", "up"], "everybody to know")
    assert not any("a" in found.ask(2) for _ in range(20))
    found.order(0, "ready")
    wait_until(lambda: "a" in found.ask(1), "it to be used again")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"server": "no:1", "state": "drain"}, "there is no server 'no:1': use one of 127.0.0.1:"),
        ({"server": "no:1", "state": "off"}, "'off' is no state: use ready, drain or disabled"),
        ({"server": 1, "state": "drain"}, "server or state is no text"),
        ({"state": "drain"}, "server or state is no text"),
        ({"server": "a", "state": "drain", "x": 1}, "there is no key 'x'"),
        ({"server": "a", "state": "drain", "origin": 3}, "origin is no text"),
        ([], "not a JSON object"),
    ],
)
def test_orders_that_are_none(start: Start, asked: object, told: str) -> None:
    found = ScriptedServers(*start)
    status, body = post(found.proxy, asked)
    assert status == 400 and told in body["error"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_is_told_of_servers(start: Start, workers: str) -> None:
    found = ScriptedServers(
        *start, "--workers", workers, weights=(5, 3), strategy="weighted-round-robin"
    )
    for _ in range(16):
        found.ask(1)
    told = found.origin()
    assert (told["origin"], told["strategy"], told["healthy"]) == (
        *("default", "weighted-round-robin"),
        2,
    )
    a, b = told["servers"]
    assert (a["weight"], b["weight"], a["requests"] + b["requests"]) == (5, 3, 16)
    assert a["requests"] > b["requests"]
    assert (a["state"], a["circuit"], a["errors"], a["in_flight"]) == ("up", "closed", 0, 0)
    assert 0 < a["latency"]["p50"] <= a["latency"]["p95"] <= a["latency"]["p99"] < 30


def test_the_command_stats_shows_servers(start: Start) -> None:
    found = ScriptedServers(*start, weights=(5, 3), strategy="weighted-round-robin")
    found.ask(8)
    found.order(1, "drain")
    port = ("--admin-port", str(found.proxy.admin_port))
    lines = [line for line in command("stats", *port).stdout.splitlines() if "server " in line]
    names = [f"127.0.0.1:{server.port}" for server in found.servers]
    told = [dict(part.split("=") for part in line.split()[2:]) for line in lines]
    assert [line.split()[1] for line in lines] == names
    assert [(one["state"], one["requests"]) for one in told] == [("up", "5"), ("drain", "3")]
    whole = json.loads(command("stats", "--json", *port).stdout)
    assert [one["server"] for one in whole["origins"][0]["servers"]] == names
    shown = at_terminal("stats", *port)
    for word in (*names, "origin default: weighted-round-robin", "drain", "p95"):
        assert word in shown


def at_terminal(*arguments: str) -> str:
    """What a command shows at a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    command = [*ProxyProcess.command("")[:-1], *arguments]
    variables = {**environment(), "TERM": "dumb"}
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=variables) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # EIO: it has ended
            while octets := os.read(ours, 65536):
                shown += octets
        assert process.wait(60) == 0, shown
    os.close(ours)
    return shown.decode()


# -- health checks


@pytest.mark.parametrize("workers", ["1", "2"])
def test_one_prober_whatever_the_workers(start: Start, workers: str) -> None:
    options = ("--health-check", "http", "--health-path", "/health", "--health-interval", "0.1s")
    found = ScriptedServers(
        *start, "--workers", workers, *options, "--health-fast-interval", "50ms", weights=(1, 1)
    )
    good, bad = named_answer("ok"), answer("503 No", NO_STORE)
    found.on("/health", good, bad)
    wait_until(lambda: found.states() == ["up", "down"], "the second one to be down")
    assert set(found.ask(20)) == {"a"}
    check = found.origin()["servers"][1]["check"]
    assert (check["up"], check["why"]) == (False, "status 503")
    found.on("/health", good, good)
    wait_until(lambda: found.states() == ["up", "up"], "it to be up again")
    assert set(found.ask(20)) == {"a", "b"}
    request = found.servers[0].seen("/health")[0]
    assert request.fields["host"] == "127.0.0.1:9" and "via" not in request.fields


def test_connections_are_checked_where_nothing_else_is_said(start: Start) -> None:
    fast = ("--health-interval", "0.1s", "--health-fast-interval", "50ms")
    found = ScriptedServers(*start, "--health-check", "tcp", *fast, weights=(1, 1))
    wait_until(lambda: found.origin()["servers"][0]["check"], "a check")
    found.servers[1].close()
    wait_until(lambda: found.states() == ["up", "down"], "it to be found out")
    assert found.origin()["servers"][1]["why"] == "connection refused"


# -- reloading


def test_a_server_that_a_reload_brings(start: Start, tmp_path: Path) -> None:
    start_proxy, start_origin = start
    servers = [start_origin() for _ in range(3)]
    for server, letter in zip(servers, "abc", strict=True):
        server.on("/", named_answer(letter))
    listed = [f"127.0.0.1:{server.port}:1" for server in servers]

    def text(number: int) -> str:
        return (
            'origin = "http://127.0.0.1:9"\nload_balance = true\nhealth_check = "off"\n'
            f"servers = {listed[:number]!r}\n"
        )

    configured = Configured(start_proxy, tmp_path, text(2))
    with configured.proxy.client() as client:
        assert {client.get("/").body for _ in range(8)} == {b"a", b"b"}
        configured.reload(text(3))
        assert {client.get("/").body for _ in range(9)} == {b"a", b"b", b"c"}
        configured.reload(text(1))
        assert {client.get("/").body for _ in range(9)} == {b"a"}


# -- the documented example

DOCUMENTED = """
  --origin https://api.example.com
  --load-balance
  --servers server1.example.com:5
  --servers server2.example.com:3
  --strategy weighted-round-robin
"""


def test_the_example_of_the_documentation_as_it_is_written(
    start_origin: StartOrigin, authority: Authority
) -> None:
    """The names lead to servers of this test; nothing else is put in the example's place."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    for line in DOCUMENTED.strip().splitlines():
        assert line.strip() in readme, line
    given: dict[str, Any] = {"origin_ca": str(authority.path), "servers": [], "store": "memory"}
    for option in DOCUMENTED.strip().splitlines():
        name, _, value = option.strip().removeprefix("--").partition(" ")
        if name == "servers":
            given["servers"].append(value)
        else:
            given[name.replace("-", "_")] = value or True
    servers = {}
    for name, letter in (("server1", "1"), ("server2", "2")):
        server = start_origin(tls=authority.server("api.example.com"))
        for number in range(32):
            server.on(f"/{number}", named_answer(letter))
        servers[f"{name}.example.com"] = server

    async def resolver(host: str, port: int) -> list[Address]:
        assert port == 443
        return [("127.0.0.1", servers[host].port)]

    async def answers() -> str:
        async with in_process(configure(given, {}), resolver) as port:
            return "".join([await get(port, f"/{number}") for number in range(32)])

    assert asyncio.run(answers()) == "12112121" * 4
    hosts = {r.fields["host"] for server in servers.values() for r in server.requests}
    assert hosts == {"api.example.com"}


async def get(port: int, target: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % target.encode())
    response = await reader.read()
    writer.close()
    return response.partition(b"\r\n\r\n")[2].decode()
