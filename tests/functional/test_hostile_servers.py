"""Servers, clients, names and operators that misbehave: nothing hangs, nothing is miscounted."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from .support.configured import Configured
from .support.scripted_origin import Exchange, ScriptedOrigin
from .support.scripted_servers import ScriptedServers
from .support.stand import StartOrigin, StartProxy
from .support.waiting import wait_until

Start = tuple[StartProxy, StartOrigin]


@pytest.fixture
def start(start_proxy: StartProxy, start_origin: StartOrigin) -> Start:
    return start_proxy, start_origin


def hang(exchange: Exchange) -> None:
    exchange.read_body()
    exchange.wait_for_close()


def configuration(servers: list[ScriptedOrigin], more: str = "") -> str:
    """Nothing but the strategy and the retries decides where requests go."""
    named = [f"127.0.0.1:{server.port}:1" for server in servers]
    return (
        'origin = "http://127.0.0.1:9"\nload_balance = true\nhealth_check = "off"\n'
        f"eject_after = 0\neject_gap = 0\ncircuit_error_rate = 0\nservers = {named!r}\n{more}"
    )


# -- clients


def test_a_client_that_stalls_is_no_fault_of_servers(start: Start) -> None:
    found = ScriptedServers(
        *start,
        *("--eject-after", "2", "--eject-max", "100", "--origin-head-timeout", "0.5s"),
        *("--circuit-error-rate", "50", "--circuit-min-requests", "2", "--circuit-latency", "0.1s"),
    )
    clients = [found.proxy.client() for _ in range(9)]
    for client in clients:
        client.send(client.head("POST", "/", {"Content-Length": "2"}), b"x")
    for client in clients:
        assert client.response().status == 504
        client.close()
    found.check_idle()
    for server in found.origin()["servers"]:
        assert (server["state"], server["requests"], server["errors"]) == ("up", 3, 0)
        assert server["latency"] is None


def test_the_time_of_a_server_begins_when_it_has_the_whole_request(start: Start) -> None:
    options = ("--circuit-error-rate", "50", "--circuit-min-requests", "1")
    found = ScriptedServers(*start, *options, "--circuit-latency", "0.4s", weights=(1,))
    began = time.monotonic()
    with found.proxy.client() as client:
        client.send(client.head("POST", "/", {"Content-Length": "2"}), b"x")
        wait_until(lambda: time.monotonic() - began > 0.5, "longer than a server may take")
        client.send(b"x")
        assert client.response().body == b"a"
    (server,) = found.origin()["servers"]
    assert server["state"] == "up" and server["latency"]["p99"] < 0.4


# -- reloading


def test_after_a_reload_what_is_under_way_keeps_its_timeouts(start: Start, tmp_path: Path) -> None:
    """Also at a server that it comes to only then."""
    start_proxy, start_origin = start
    servers = [start_origin(), start_origin()]
    for server in servers:
        server.on("/hangs", hang)
    before, after = (
        configuration(servers, f'origin_head_timeout = "1s"\nstrategy = "{strategy}"\n')
        for strategy in ("round-robin", "random")
    )
    configured = Configured(start_proxy, tmp_path, before)
    with configured.proxy.client() as client:
        client.send(client.head("GET", "/hangs", {}))
        wait_until(lambda: servers[0].seen("/hangs"), "the first to be asked")
        configured.reload(after)
        assert client.response().status == 504
    assert [len(server.seen("/hangs")) for server in servers] == [1, 1]
