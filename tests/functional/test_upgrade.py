"""A new process takes over the listening sockets, from the one before it or from systemd."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from .support.configured import Configured
from .support.processes import alive, children
from .support.proxy import ProxyProcess, environment
from .support.raw_client import RawClient
from .support.scripted_origin import ScriptedOrigin, fresh
from .support.scripted_servers import ScriptedServers, named_answer, post
from .support.stand import StartOrigin, StartProxy
from .support.waiting import DEADLINE, wait_until

WORKERS = pytest.mark.parametrize("workers", ["1", "2"])


def successor(proxy: ProxyProcess) -> int:
    """The process id of the one that has taken over."""
    pattern = r"process (\d+) has taken over"
    wait_until(lambda: re.search(pattern, proxy.errors()), "a successor")
    found = re.search(pattern, proxy.errors())
    assert found is not None
    return int(found[1])


@pytest.fixture
def upgraded(start_proxy: StartProxy) -> Iterator[list[int]]:
    """Processes to be ended with the test."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda p=pid: not alive(p), "the successor to end")


@WORKERS
def test_the_successor_has_the_same_addresses(
    start_proxy: StartProxy, origin: ScriptedOrigin, upgraded: list[int], workers: str
) -> None:
    """Connections of the old process end in order; no request is refused meanwhile."""
    origin.on("/upgraded", fresh(b"stored"))
    proxy = start_proxy("--workers", workers)
    with proxy.client() as kept:
        assert kept.get("/upgraded").status == 200
        proxy.process.send_signal(signal.SIGUSR2)
        pid = successor(proxy)
        upgraded.append(pid)
        assert proxy.wait() == 0
    assert alive(pid)
    assert {proxy.get("/upgraded").status for _ in range(8)} == {200}
    assert proxy.stats()["requests"] == 8
    assert len(children(pid)) == (2 if workers == "2" else 0)


def test_an_exchange_under_way_ends_in_the_old_process(
    start_proxy: StartProxy, origin: ScriptedOrigin, upgraded: list[int]
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
    origin.on("/slow", lambda exchange: exchange.send(head + b"first"))
    proxy = start_proxy("--grace", "20")
    with proxy.client() as client:
        client.send(client.head("GET", "/slow"))
        wait_until(lambda: origin.seen("/slow"), "the origin to be asked")
        connection = origin.served_on[-1]
        proxy.process.send_signal(signal.SIGUSR2)
        upgraded.append(successor(proxy))
        assert proxy.get("/other").status == 200
        connection.sock.sendall(b"-last")
        assert client.response().body == b"first-last"
    assert proxy.wait() == 0


@WORKERS
def test_only_the_new_process_has_the_control_api(
    start_proxy: StartProxy, origin: ScriptedOrigin, upgraded: list[int], workers: str
) -> None:
    """A purge there would miss the new one if the old one, still busy, took it."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
    origin.on("/slow", lambda exchange: exchange.send(head + b"first"))
    proxy = start_proxy("--grace", "20", "--workers", workers)
    with proxy.client() as client:
        client.send(client.head("GET", "/slow"))
        wait_until(lambda: origin.seen("/slow"), "the origin to be asked")
        connection = origin.served_on[-1]
        proxy.process.send_signal(signal.SIGUSR2)
        upgraded.append(successor(proxy))
        origin.on("/purged", *[fresh(b"%d" % number) for number in range(40)])
        for _ in range(20):
            proxy.get("/purged")
            assert proxy.clear().status == 200
            assert proxy.get("/purged").cache == "MISS"
        connection.sock.sendall(b"-last")
        assert client.response().body == b"first-last"
    assert proxy.wait() == 0


@WORKERS
def test_one_that_does_not_start_leaves_the_unix_socket(
    start_proxy: StartProxy,
    origin: ScriptedOrigin,
    tmp_path: Path,
    socket_path: Path,
    workers: str,
) -> None:
    """It fails late, with all that it inherited in its hands."""
    text = f'origin = "{origin.url}"\nworkers = {workers}\n'
    for address in ("127.0.0.1:0", f"unix:{socket_path}"):
        text += f'[[listeners]]\naddress = "{address}"\n'
    configured = Configured(start_proxy, tmp_path, text, "--no-host")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        configured.write(text + f'[[listeners]]\naddress = "127.0.0.1:{port}"\n')
        configured.proxy.process.send_signal(signal.SIGUSR2)
        wait_until(lambda: "this one goes on" in configured.proxy.errors(), "the complaint")
    with RawClient(str(socket_path)) as client:
        assert client.get("/").status == 200


def test_one_that_does_not_start_leaves_the_old_one(
    start_proxy: StartProxy, origin: ScriptedOrigin, tmp_path: Path
) -> None:
    configured = Configured(start_proxy, tmp_path, f'origin = "{origin.url}"')
    configured.write("wrong")
    configured.proxy.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: "this one goes on" in configured.proxy.errors(), "the complaint")
    assert configured.proxy.get("/").status == 200
    assert configured.proxy.stats()["requests"] == 1


def test_the_end_does_not_wait_for_a_successor(
    start_proxy: StartProxy, origin: ScriptedOrigin, tmp_path: Path
) -> None:
    """One that hangs before it has read anything."""
    hangs = tmp_path / "hangs"
    (tmp_path / "sitecustomize.py").write_text(
        f"import os, time\nif os.path.exists({str(hangs)!r}): time.sleep(600)\n"
    )
    places = [str(tmp_path), environment()["PYTHONPATH"]]
    proxy = start_proxy(more={"PYTHONPATH": os.pathsep.join(places)})
    hangs.touch()
    proxy.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: len(children(proxy.process.pid)) == 1, "the successor to be started")
    (hanging,) = children(proxy.process.pid)
    proxy.terminate()
    assert proxy.wait() == 0
    assert not alive(hanging)


def test_a_unix_socket_stays(
    start_proxy: StartProxy, upgraded: list[int], socket_path: Path
) -> None:
    proxy = start_proxy("--unix-socket", str(socket_path))
    proxy.process.send_signal(signal.SIGUSR2)
    upgraded.append(successor(proxy))
    assert proxy.wait() == 0
    with RawClient(str(socket_path)) as client:
        assert client.get("/").status == 200


# --- what operators want of servers ---------------------------------------------------------------


@WORKERS
def test_orders_hold(
    start_proxy: StartProxy, start_origin: StartOrigin, upgraded: list[int], workers: str
) -> None:
    """No request reaches a server that was to get none, the successor's first ones neither."""
    found = ScriptedServers(start_proxy, start_origin, "--workers", workers)
    found.order(0, "disabled")
    found.order(1, "drain")
    before = found.seen()
    found.proxy.process.send_signal(signal.SIGUSR2)
    answered = ""
    while found.proxy.process.poll() is None:
        answered += found.ask()
    upgraded.append(successor(found.proxy))
    assert set(answered) == {"c"}
    assert found.states() == ["disabled", "drain", "up"]
    assert set(found.ask(20)) == {"c"}
    assert found.seen()[:2] == before[:2]
    found.order(0, "ready")
    wait_until(lambda: "a" in found.ask(), "it to be used again")


def test_orders_for_servers_that_are_gone_are_dropped(
    start_proxy: StartProxy, start_origin: StartOrigin, upgraded: list[int], tmp_path: Path
) -> None:
    servers = [start_origin() for _ in "ab"]
    for server, letter in zip(servers, "ab", strict=True):
        server.on("/", named_answer(letter))
    names = [f"127.0.0.1:{server.port}" for server in servers]

    def text(*names: str) -> str:
        return (
            'origin = "http://127.0.0.1:9"\nload_balance = true\nhealth_check = "off"\n'
            f"servers = {[f'{name}:1' for name in names]!r}\n"
        )

    configured = Configured(start_proxy, tmp_path, text(*names))
    assert post(configured.proxy, {"server": names[1], "state": "disabled"})[0] == 200
    configured.write(text(names[0]))
    configured.proxy.process.send_signal(signal.SIGUSR2)
    upgraded.append(successor(configured.proxy))
    assert configured.proxy.wait() == 0
    configured.write(text(*names))
    os.kill(upgraded[0], signal.SIGHUP)
    wait_until(lambda: len(configured.proxy.origins()[0]["servers"]) == 2, "the reload")
    assert [server["order"] for server in configured.proxy.origins()[0]["servers"]] == ["ready"] * 2
    assert "WARNING" not in configured.proxy.errors()


def test_an_order_during_an_upgrade_is_not_lost(
    start_proxy: StartProxy, start_origin: StartOrigin, upgraded: list[int], tmp_path: Path
) -> None:
    """Who gives it is told that the successor has to be asked, which would not hear of it else."""
    hangs = tmp_path / "hangs"
    (tmp_path / "sitecustomize.py").write_text(
        f"import os, time\nwhile os.path.exists({str(hangs)!r}): time.sleep(0.01)\n"
    )
    places = [str(tmp_path), environment()["PYTHONPATH"]]

    def start(*options: str, **more: object) -> ProxyProcess:
        return start_proxy(*options, more={"PYTHONPATH": os.pathsep.join(places)}, **more)

    found = ScriptedServers(start, start_origin)
    hangs.touch()
    found.proxy.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: children(found.proxy.process.pid), "the successor to be started")
    asked = {"server": f"127.0.0.1:{found.servers[0].port}", "state": "disabled"}
    with RawClient(("127.0.0.1", found.proxy.admin_port)) as client:
        body = json.dumps(asked).encode()
        client.send(client.head("POST", "/servers", {"Content-Length": str(len(body))}) + body)
        assert found.states() == ["up"] * 3  # the order, which came first, is waiting
        hangs.unlink()
        response = client.response()
    assert (response.status, b"has taken over" in response.body) == (400, True)
    upgraded.append(successor(found.proxy))
    assert post(found.proxy, asked)[0] == 200
    assert found.states() == ["disabled", "up", "up"]


# --- systemd --------------------------------------------------------------------------------------

# Puts the socket where systemd does, and becomes the proxy.
ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


class Notified:
    """The socket that NOTIFY_SOCKET names."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(path))
        self.sock.settimeout(DEADLINE)
        self.path = path

    def next(self) -> dict[str, str]:
        """The assignments of the next message."""
        lines = self.sock.recv(4096).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def until(self, name: str) -> dict[str, str]:
        """The next message that has this assignment."""
        while name not in (told := self.next()):
            pass
        return told

    def close(self) -> None:
        self.sock.close()


@WORKERS
def test_a_socket_of_systemd_is_used(
    origin: ScriptedOrigin, socket_path: Path, workers: str
) -> None:
    """Whatever --port says; what the service is doing is told (sd_notify)."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        closing(Notified(socket_path)) as notified,
    ):
        number = listener.fileno()
        command = [sys.executable, "-c", ACTIVATE, str(number)]
        command += ProxyProcess.command(origin.url)[1:]
        command += ["--port", "1", "--admin-port", "0", "--workers", workers]
        process = subprocess.Popen(
            command,
            pass_fds=[number],
            env={**environment(), "NOTIFY_SOCKET": str(socket_path), "WATCHDOG_USEC": "2000000"},
            stdout=subprocess.DEVNULL,
        )
        try:
            told = notified.until("READY")
            assert told["READY"] == "1" and "caching-proxy" in told["STATUS"]
            with RawClient(listener.getsockname()) as client:
                assert client.get("/").status == 200
            assert notified.until("WATCHDOG")["WATCHDOG"] == "1"
            process.send_signal(signal.SIGHUP)
            assert notified.until("RELOADING")["MONOTONIC_USEC"].isdigit()
            assert notified.until("READY") == {"READY": "1"}
            process.send_signal(signal.SIGUSR2)
            new = int(notified.until("MAINPID")["MAINPID"])
            assert process.wait(DEADLINE) == 0
            with RawClient(listener.getsockname()) as client:
                assert client.get("/").status == 200
            os.kill(new, signal.SIGTERM)
            assert notified.until("STOPPING") == {"STOPPING": "1"}
            wait_until(lambda: not alive(new), "its successor to end")
        finally:
            process.kill()
            process.wait()
