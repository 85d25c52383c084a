"""What operators want of servers and are told of them; health checks; reloads."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from .support.commands import command
from .support.configured import Configured
from .support.proxy import ProxyProcess, environment
from .support.scripted_origin import answer
from .support.scripted_servers import NO_STORE, ScriptedServers, named_answer, post
from .support.stand import StartOrigin, StartProxy
from .support.waiting import wait_until

Start = tuple[StartProxy, StartOrigin]


@pytest.fixture
def start(start_proxy: StartProxy, start_origin: StartOrigin) -> Start:
    return start_proxy, start_origin


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


def test_checks_take_heads_as_requests_do(start: Start) -> None:
    fast = ("--health-interval", "0.1s", "--health-fast-interval", "50ms")
    options = ("--health-check", "http", "--health-path", "/health", "--max-head", "10KB")
    found = ScriptedServers(*start, *options, *fast, weights=(1, 1))
    fits, over = (answer("200 OK", {"X": "x" * size}) for size in (9 << 10, 11 << 10))
    found.on("/health", fits, over)
    wait_until(lambda: found.states() == ["up", "down"], "the second one to be down")
    assert found.origin()["servers"][1]["why"] == "the head is over 10 KB"
    assert found.origin()["servers"][0]["check"]["up"]


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


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_order_goes_with_its_server(start: Start, tmp_path: Path, workers: str) -> None:
    """It holds through a reload; where that takes the server away, it comes back ready."""
    start_proxy, start_origin = start
    names = [f"127.0.0.1:{start_origin().port}" for _ in "ab"]

    def text(*names: str) -> str:
        return (
            f'workers = {workers}\norigin = "http://127.0.0.1:9"\nload_balance = true\n'
            f"health_check = \"off\"\nservers = {[f'{name}:1' for name in names]!r}\n"
        )

    def orders() -> list[str]:
        return [server["order"] for server in configured.proxy.origins()[0]["servers"]]

    configured = Configured(start_proxy, tmp_path, text(*names))
    assert post(configured.proxy, {"server": names[1], "state": "drain"})[0] == 200
    configured.reload(text(*names) + "strategy = 'random'\n")
    assert orders() == ["ready", "drain"]
    configured.reload(text(names[0]))
    configured.reload(text(*names))
    assert orders() == ["ready", "ready"]
