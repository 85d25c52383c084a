"""Reloads, an upgrade and killed workers while clients keep asking."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from .support.configured import Configured
from .support.processes import alive, children, connections
from .support.programs import requires_program
from .support.proxy import ProxyProcess
from .support.scripted_origin import ScriptedOrigin, fresh
from .support.stand import StartProxy
from .support.steady import failures, go_on, steady
from .support.waiting import wait_until

WORKERS = pytest.mark.parametrize("workers", ["1", "2"])
RELOADS = 20


def resident(proxy: ProxyProcess) -> int:
    """Octets of memory of the proxy with its workers."""
    total = 0
    for pid in [proxy.process.pid, *children(proxy.process.pid)]:
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        assert found is not None
        total += int(found[1]) * 1024
    return total


@WORKERS
def test_reloads_cost_no_request_and_no_connection(
    start_proxy: StartProxy, origin: ScriptedOrigin, tmp_path: Path, workers: str
) -> None:
    """Counted by wrk, which forgives nothing."""
    wrk = requires_program("wrk")
    origin.on("/steady", fresh(b"x" * 1000))
    text = f'origin = "{origin.url}"\n[[routes]]\nresponse_headers = {{ set = {{ X-V = "%d" }} }}\n'
    configured = Configured(start_proxy, tmp_path, text % 0, "--workers", workers)
    proxy = configured.proxy
    configured.reload(text % 0)
    before = resident(proxy)
    load = subprocess.Popen(
        [wrk, "-t1", "-c32", "-d60s", f"{proxy.url}/steady"], stdout=subprocess.PIPE, text=True
    )
    wait_until(lambda: proxy.stats()["requests"] > 1000, "the load")
    for version in range(1, RELOADS + 1):
        asked = proxy.stats()["requests"]
        configured.reload(text % version)
        wait_until(lambda n=asked: proxy.stats()["requests"] > n + 100, "the load to go on")
    connections = proxy.stats()["connections_accepted"]
    load.send_signal(signal.SIGINT)
    report, _ = load.communicate(timeout=60)
    assert "Socket errors" not in report and "Non-2xx" not in report, report
    assert connections <= 32 + int(workers)
    assert proxy.get("/steady").fields["x-v"] == str(RELOADS)
    assert resident(proxy) < before + (12 << 20) * int(workers), "memory is back where it was"


@WORKERS
def test_an_upgrade_costs_no_request(
    start_proxy: StartProxy, origin: ScriptedOrigin, workers: str
) -> None:
    origin.on("/steady", fresh(b"x" * 1000))
    proxy = start_proxy("--workers", workers)
    with steady(proxy.address, "/steady", 8) as clients:
        go_on(clients, 20)
        proxy.process.send_signal(signal.SIGUSR2)
        assert proxy.wait() == 0
        go_on(clients, 20)
    assert failures(clients) == []
    found = re.search(r"process (\d+) has taken over", proxy.errors())
    assert found is not None
    os.kill(int(found[1]), signal.SIGTERM)
    wait_until(lambda: not alive(int(found[1])), "the successor to end")


def test_killed_workers_cost_only_what_was_in_flight_on_them(
    start_proxy: StartProxy, origin: ScriptedOrigin
) -> None:
    origin.on("/steady", fresh(b"x" * 1000))
    proxy = start_proxy("--workers", "2")
    in_flight = 0
    with steady(proxy.address, "/steady", 8) as clients:
        for number in range(1, 6):
            go_on(clients, 5)
            victim = children(proxy.process.pid)[0]
            os.kill(victim, signal.SIGSTOP)
            in_flight += connections(victim, proxy.port)
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda n=number: proxy.stats()["worker_restarts"] >= n, "its successor")
            wait_until(lambda: proxy.stats()["workers"] == 2, "both workers")
        go_on(clients, 5)
    assert len(failures(clients)) <= in_flight, failures(clients)
    assert {failure.partition(":")[0] for failure in failures(clients)} <= {
        *("IncompleteError", "PeerResetError", "ConnectionResetError", "BrokenPipeError")
    }
