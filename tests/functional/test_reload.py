"""A new configuration is taken over whole or not at all, without dropping a connection."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from .support.configured import NOT_TAKEN_OVER, TAKEN_OVER, Configured
from .support.ports import unused_port
from .support.processes import children, connections
from .support.proxy import ProxyProcess, environment
from .support.raw_client import RawClient
from .support.scripted_origin import ScriptedOrigin, answer, fresh
from .support.stand import StartOrigin, StartProxy
from .support.waiting import wait_until

Configure = Callable[..., Configured]
WORKERS = pytest.mark.parametrize("workers", ["1", "2"])


@pytest.fixture
def configure(start_proxy: StartProxy, tmp_path: Path) -> Configure:
    def start(text: str, *options: str) -> Configured:
        return Configured(start_proxy, tmp_path, text, *options)

    return start


@WORKERS
def test_connections_and_what_is_stored_stay(
    configure: Configure, origin: ScriptedOrigin, workers: str
) -> None:
    shown = 'response_headers = { set = { "X-Version" = "%d" } }'
    text = f'origin = "{origin.url}"\n[[routes]]\n{shown}\n'
    origin.on("/stays", fresh(b"stored"))
    configured = configure(text % 1, "--workers", workers)
    with configured.proxy.client() as client:
        assert client.get("/stays").fields["x-version"] == "1"
        for version in (2, 3):
            configured.reload(text % version)
            response = client.get("/stays")
            assert (response.cache, response.fields["x-version"]) == ("HIT", str(version))
    assert len(origin.seen("/stays")) == 1
    assert configured.proxy.stats()["connections_accepted"] >= 1


@WORKERS
def test_an_exchange_under_way_ends_by_what_it_began_with(
    configure: Configure, start_origin: StartOrigin, workers: str
) -> None:
    """Its origin is gone from the configuration meanwhile."""
    old, new = start_origin(), start_origin()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
    old.on("/moved", lambda exchange: exchange.send(head + b"first"))
    new.on("/moved", answer("200 OK", {}, b"the new one"))
    configured = configure(f'origin = "{old.url}"', "--workers", workers)
    with configured.proxy.client() as client:
        client.send(client.head("GET", "/moved"))
        wait_until(lambda: old.seen("/moved"), "the old origin to be asked")
        configured.reload(f'origin = "{new.url}"')
        assert configured.proxy.get("/moved", {"Cache-Control": "no-store"}).body == b"the new one"
        old.served_on[-1].sock.sendall(b"-last")
        assert client.response().body == b"first-last"
        assert client.get("/other").status == 200
    old.served_on[-1].wait_closed()
    assert new.seen("/other")


@WORKERS
def test_a_wrong_one_changes_nothing_and_is_told(
    configure: Configure, origin: ScriptedOrigin, workers: str
) -> None:
    right = f'origin = "{origin.url}"\ncache_ttl = "5m"\n'
    configured = configure(right, "--workers", workers)
    configured.write(right + 'strateg = "random"\n[[routes]]\npath = "no"\n')
    configured.signal(NOT_TAKEN_OVER)
    errors = configured.proxy.errors()
    assert f"{configured.file}:3: strateg: there is no such setting: did you mean" in errors
    assert f"{configured.file}:5: routes[0].path: 'no' is not a path" in errors
    status, told = configured.post("/reload")
    assert status == 400 and "did you mean `strategy`?" in str(told["error"])
    assert configured.proxy.get("/").status == 200


@WORKERS
def test_an_address_that_cannot_be_had_changes_nothing(
    configure: Configure, origin: ScriptedOrigin, workers: str
) -> None:
    """What else the configuration says is not taken over either."""
    text = f'origin = "{origin.url}"\nname = "%s"\n[[listeners]]\naddress = "127.0.0.1:{{port}}"\n'
    port = unused_port()
    configured = configure((text % "one").format(port=port), "--workers", workers, "--no-host")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        other = f'[[listeners]]\naddress = "127.0.0.1:{taken.getsockname()[1]}"\n'
        configured.write((text % "two").format(port=port) + other)
        configured.signal(NOT_TAKEN_OVER)
        assert "is in use" in configured.proxy.errors()
    with RawClient(("127.0.0.1", port)) as client:
        assert "one" in client.get("/").fields["via"]


@WORKERS
def test_listeners_come_and_go(configure: Configure, origin: ScriptedOrigin, workers: str) -> None:
    first, second = unused_port(), unused_port()
    text = f'origin = "{origin.url}"\n[[listeners]]\naddress = "127.0.0.1:%d"\n'
    configured = configure(text % first, "--workers", workers, "--no-host")
    with RawClient(("127.0.0.1", first)) as kept:
        assert kept.get("/").status == 200
        configured.reload(text % second)
        assert kept.get("/").status == 200, "what is open stays open"
        with RawClient(("127.0.0.1", second)) as client:
            assert client.get("/").status == 200
        with pytest.raises(ConnectionRefusedError), RawClient(("127.0.0.1", first)):
            pass


def test_who_is_trusted_is_judged_anew(configure: Configure, origin: ScriptedOrigin) -> None:
    """Of those connected already, too."""
    text = f'origin = "{origin.url}"\ncache = false\n'
    configured = configure(text)
    forwarded = []
    with configured.proxy.client() as client:
        for networks in ("[]", '["127.0.0.0/8"]', '["10.0.0.0/8"]'):
            configured.reload(f"{text}trusted_proxies = {networks}\n")
            client.get("/", {"X-Forwarded-For": "192.0.2.1"})
            forwarded.append(origin.requests[-1].fields["x-forwarded-for"])
    assert forwarded == ["127.0.0.1", "192.0.2.1, 127.0.0.1", "127.0.0.1"]


def test_without_a_file_nothing_happens(proxy: ProxyProcess, origin: ScriptedOrigin) -> None:
    origin.on("/same", fresh())
    with proxy.client() as client:
        assert client.get("/same").cache == "MISS"
        for number in (1, 2, 3):
            proxy.process.send_signal(signal.SIGHUP)
            wait_until(lambda n=number: proxy.errors().count(TAKEN_OVER) == n, "the reload")
        assert client.get("/same").cache == "HIT"


def test_a_log_that_was_moved_is_opened_anew(
    start_proxy: StartProxy, origin: ScriptedOrigin, tmp_path: Path
) -> None:
    log, moved = tmp_path / "access.log", tmp_path / "access.log.1"
    proxy = start_proxy("--access-log", str(log))
    proxy.get("/before")
    log.rename(moved)
    proxy.process.send_signal(signal.SIGHUP)
    wait_until(lambda: TAKEN_OVER in proxy.errors(), "the reload")
    proxy.get("/after")
    wait_until(lambda: "/after" in log.read_text(), "the line in the new file")
    assert "/before" in moved.read_text() and "/after" not in moved.read_text()


def test_a_change_of_the_file_is_taken_over_when_asked(
    configure: Configure, origin: ScriptedOrigin
) -> None:
    text = f'origin = "{origin.url}"\nreload_on_change = true\nname = "%s"\n'
    configured = configure(text % "one")
    configured.write(text % "two")
    wait_until(lambda: "two" in configured.proxy.get("/").fields["via"], "the new name")
    configured.write("wrong")
    wait_until(lambda: configured.said(NOT_TAKEN_OVER), "the complaint")
    assert configured.proxy.get("/").status == 200


def test_the_command(configure: Configure, origin: ScriptedOrigin) -> None:
    configured = configure(f'origin = "{origin.url}"')

    def run() -> subprocess.CompletedProcess[str]:
        command = [*ProxyProcess.command("")[:-1], "reload"]
        command += ["--admin-port", str(configured.proxy.admin_port)]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, env=environment()
        )

    ended = run()
    assert (ended.returncode, ended.stdout) == (0, "The configuration is taken over.\n")
    configured.write(f'origin = "{origin.url}"\nmemory = "x"')
    ended = run()
    assert ended.returncode == 1
    assert re.search(r"caching-proxy: .*:2: memory: 'x' is not a size", ended.stderr)


def all_serve(configured: Configured) -> bool:
    """Ask until each worker has a connection; they are shared out by chance."""
    proxy = configured.proxy
    with ExitStack() as stack:
        for _ in range(32):
            stack.enter_context(proxy.client()).get("/")
        return all(connections(pid, proxy.port) for pid in children(proxy.process.pid))


def test_the_number_of_workers_changes(configure: Configure, origin: ScriptedOrigin) -> None:
    text = f'origin = "{origin.url}"\nworkers = %d\n'
    configured = configure(text % 2)
    for number in (4, 2, 3):
        configured.reload(text % number)
        wait_until(lambda n=number: configured.proxy.stats()["workers"] == n, f"{number} workers")
        assert {configured.proxy.get("/").status for _ in range(20)} == {200}
        wait_until(lambda: all_serve(configured), "every worker to have had a connection")


def test_workers_come_back_while_others_of_their_number_end(
    configure: Configure, origin: ScriptedOrigin
) -> None:
    """Those that end what they have begun are reached by purges, and are nobody else's number."""
    text = f'origin = "{origin.url}"\nworkers = %d\ngrace = "20s"\n'
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
    origin.on("/slow", lambda exchange: exchange.send(head + b"first"))
    configured = configure(text % 3)
    with ExitStack() as stack:
        slow = [stack.enter_context(configured.proxy.client()) for _ in range(16)]
        for client in slow:
            client.send(client.head("GET", "/slow?"))
        wait_until(lambda: len(origin.seen("/slow?")) >= 3, "every worker to have asked")
        configured.reload(text % 2)
        configured.reload(text % 3)
        pid = configured.proxy.process.pid
        wait_until(lambda: configured.proxy.stats()["workers"] == 3, "another to accept")
        assert len(children(pid)) == 4, "that one ends what it has begun"
        assert configured.post("/clear")[1] == {"removed": 0, "workers": 4}
        for connection in origin.served_on:
            connection.sock.sendall(b"-last")
        assert {client.response().body for client in slow} == {b"first-last"}
    wait_until(lambda: len(children(pid)) == 3, "it to have ended")
    for worker in children(pid):
        os.kill(worker, signal.SIGKILL)
    wait_until(lambda: configured.proxy.stats()["workers"] == 3, "successors")
    assert len(children(pid)) == 3


@WORKERS
def test_a_log_on_a_full_disk_ends_nobody(configure: Configure, workers: str) -> None:
    """Closing the old one fails, with what it could not write."""
    configured = configure(
        f'workers = {workers}\naccess_log = "/dev/full"\n', "--origin", "unix:/x"
    )
    serving = children(configured.proxy.process.pid)
    configured.proxy.get("/")
    configured.reload()
    assert configured.proxy.get("/").status == 502
    assert children(configured.proxy.process.pid) == serving


@WORKERS
def test_the_user_stays(configure: Configure, origin: ScriptedOrigin, workers: str) -> None:
    """Rights do not come back, so another one is for the next start."""
    text = f'origin = "{origin.url}"\nworkers = {workers}\n'
    configured = configure(text)
    serving = children(configured.proxy.process.pid)
    configured.reload(text + 'user = "nobody-of-that-name"\n')
    assert "user changes at the next start or upgrade" in configured.proxy.errors()
    assert {configured.proxy.get("/").status for _ in range(8)} == {200}
    assert children(configured.proxy.process.pid) == serving


def test_the_end_waits_for_a_reload_under_way(configure: Configure, origin: ScriptedOrigin) -> None:
    """Exchanges have their grace all the same."""
    text = f'origin = "{origin.url}"\nworkers = 2\ngrace = "20s"\n'
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
    origin.on("/slow", lambda exchange: exchange.send(head + b"first"))
    configured = configure(text)
    with configured.proxy.client() as client:
        client.send(client.head("GET", "/slow"))
        wait_until(lambda: origin.seen("/slow"), "the origin to be asked")
        connection = origin.served_on[-1]
        with RawClient(("127.0.0.1", configured.proxy.admin_port)) as admin:
            admin.send(admin.head("POST", "/reload", {"Content-Length": "0"}))
            configured.proxy.terminate()
            assert admin.response().status in (200, 400)
        connection.sock.sendall(b"-last")
        assert client.response().body == b"first-last"
    assert configured.proxy.wait() == 0


def test_memory_shrinks_at_once(configure: Configure, origin: ScriptedOrigin) -> None:
    text = f'origin = "{origin.url}"\nmemory = "%s"\n'
    configured = configure(text % "1MB")
    for number in range(20):
        origin.on(f"/{number}", fresh(b"x" * 20000))
        configured.proxy.get(f"/{number}")
    assert configured.proxy.stats()["entries"] == 20
    configured.reload(text % "100KB")
    stats = configured.proxy.stats()
    assert stats["memory_bytes"] <= stats["memory_limit"] == 100 << 10
    assert stats["entries"] < 6
