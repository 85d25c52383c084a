"""The command line as a user meets it: real processes, their output and exit status."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from caching_proxy import __version__

from .support.messages import Response
from .support.ports import unused_port
from .support.raw_client import RawClient
from .support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
APP = (sys.executable, str(ROOT / "app.py"))
MODULE = (sys.executable, "-m", "caching_proxy")
NOTHING_LISTENS = "1"  # TCP port 1 of this machine
TIMEOUT = 60.0  # seconds, for commands that end by themselves


def environment(**variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "PROXY_PORT"}
    return {**kept, "PYTHONPATH": str(ROOT / "src"), **variables}


def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*words],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
    )


def one_line(text: str) -> str:
    """The only line of an error message."""
    assert re.fullmatch(r"caching-proxy: [^\n]+\n", text), text
    return text


class Started:
    """A proxy that was started by a command, once it has printed its banner."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.process = process
        self.banner = process.stdout.readline()
        assert self.banner, process.communicate()[1]
        addresses = re.search(r" on (\S+?)[,;]", self.banner)
        assert addresses is not None, self.banner
        self.port = int(addresses[1].rpartition(":")[2])
        admin = re.search(r"admin http://\S+:(\d+)", self.banner)
        self.admin_port = int(admin[1]) if admin else 0

    def get(self, target: str) -> Response:
        with RawClient(("127.0.0.1", self.port)) as client:
            return client.get(target)

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Exit status and standard error after a signal."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=TIMEOUT)
        return self.process.returncode, errors


@contextmanager
def started(*words: str, **variables: str) -> Iterator[Started]:
    process = subprocess.Popen(
        [*words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**variables),
    )
    with process:
        try:
            yield Started(process)
        finally:
            if process.poll() is None:
                process.kill()


WITH_REDIS = ("--host", "127.0.0.1", "--port", "0", "--admin-port", "0")
ANY_PORTS = (*WITH_REDIS, "--store", "memory")


@pytest.mark.parametrize("command", [APP, MODULE])
def test_version(command: tuple[str, ...]) -> None:
    assert run(*command, "--version").stdout == f"caching-proxy {__version__}\n"


@pytest.mark.parametrize("verb", ["start", "stats", "clear-cache", "demo"])
def test_every_command_has_help(verb: str) -> None:
    done = run(*APP, verb, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: caching-proxy {verb} ")


def test_demo_serves_what_its_hints_say() -> None:
    with started(*APP, "demo", *ANY_PORTS) as proxy:
        first, second = proxy.get("/products/1"), proxy.get("/products/1")
        assert (first.status, first.fields["X-Cache"]) == (200, "MISS")
        assert (second.status, second.fields["X-Cache"]) == (200, "HIT")
        assert first.fields["X-Cache-Key"] == second.fields["X-Cache-Key"]
        assert json.loads(first.body) == json.loads(second.body)
        assert proxy.get("/image").body.startswith(b"\x89PNG")
        assert proxy.get("/stream").body.count(b"\n") == 5
        assert proxy.get("/error").status == 500
        assert proxy.get("/nowhere").status == 404
        assert proxy.end() == (0, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_status_0_and_in_silence(number: int) -> None:
    with started(*APP, "demo", *ANY_PORTS) as proxy:
        assert proxy.end(number) == (0, "")


def test_a_second_signal_ends_it_at_once() -> None:
    with (
        started(*APP, "demo", *ANY_PORTS, "--grace", "3600") as proxy,
        RawClient(("127.0.0.1", proxy.port)) as client,
    ):
        client.send(client.head("GET", "/slow"))
        proxy.get("/products")  # a round trip: the request before it was read
        proxy.process.send_signal(signal.SIGTERM)
        wait_until(lambda: refuses(proxy.port), "the listener to close")
        assert proxy.process.poll() is None
        status, errors = proxy.end()
    assert (status, errors) == (-signal.SIGTERM, "")


def refuses(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0


def test_the_banner_tells_addresses_origin_tiers_and_limits() -> None:
    options = ("--origin", "http://127.0.0.1:9/base", "--memory", "64MB", "--max-object", "1MB")
    with started(*APP, "start", *ANY_PORTS, *options) as proxy:
        for words in (
            f"http://127.0.0.1:{proxy.port}",
            "origin http://127.0.0.1:9/base",
            "memory 64MB, objects up to 1MB",
            f"admin http://127.0.0.1:{proxy.admin_port}",
        ):
            assert words in proxy.banner


def test_no_verb_starts_the_proxy() -> None:
    with started(*APP, *ANY_PORTS, "--origin", "http://127.0.0.1:9") as proxy:
        assert proxy.get("/").status == 502


def test_the_port_comes_from_the_environment() -> None:
    port = unused_port()
    options = ("--host", "127.0.0.1", "--admin-port", "0", "--origin", "http://127.0.0.1:9")
    with started(*APP, "start", *options, PROXY_PORT=str(port)) as proxy:
        assert proxy.port == port


@contextmanager
def occupied_port() -> Iterator[int]:
    """A port that somebody listens on with SO_REUSEPORT, which must not hide it."""
    with socket.socket() as listener:
        if hasattr(socket, "SO_REUSEPORT"):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    ("flag", "others"), [("--port", ("--admin-port", "0")), ("--admin-port", ("--port", "0"))]
)
def test_a_port_in_use_is_one_line_with_the_cure(flag: str, others: tuple[str, str]) -> None:
    with occupied_port() as port:
        options = ("--host", "127.0.0.1", "--origin", "http://127.0.0.1:9")
        done = run(*APP, "start", *options, flag, str(port), *others)
    assert (done.returncode, done.stdout) == (1, "")
    line = one_line(done.stderr)
    assert str(port) in line and "in use" in line and flag in line


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--servers", "a:5"), "without --load-balance"),
        (("--origin-insecure",), "certificate"),
    ],
)
def test_what_is_not_so_is_warned_of_in_one_line(options: tuple[str, ...], word: str) -> None:
    with started(*APP, "start", *ANY_PORTS, "--origin", "http://127.0.0.1:9", *options) as proxy:
        status, errors = proxy.end()
    assert status == 0
    assert word in one_line(errors)


def test_without_a_redis_there_is_one_warning() -> None:
    at = ("--redis-host", "127.0.0.1", "--redis-port", NOTHING_LISTENS)
    with started(*APP, "start", *WITH_REDIS, "--origin", "http://127.0.0.1:9", *at) as proxy:
        assert proxy.process.stderr is not None
        warning = proxy.process.stderr.readline()
        status, errors = proxy.end()
    assert (status, errors) == (0, "")
    assert f"127.0.0.1:{NOTHING_LISTENS}: Connection refused" in one_line(warning)


def test_wrong_settings_are_one_line_each_and_status_2() -> None:
    done = run(*APP, "start", "--servers", "localhost:9001", "--port", "x", CACHE_TTL="soon")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 4
    assert "localhost:9001:1" in done.stderr
    assert "CACHE_TTL" in done.stderr


@pytest.mark.parametrize("verb", ["stats", "clear-cache"])
def test_with_nothing_running_there_is_one_line_and_status_1(verb: str) -> None:
    done = run(*APP, verb, "--admin-port", NOTHING_LISTENS)
    assert (done.returncode, done.stdout) == (1, "")
    assert "--admin-port" in one_line(done.stderr)


def test_stats_and_clear_cache_reach_a_running_proxy() -> None:
    with started(*APP, "demo", *ANY_PORTS) as proxy:
        proxy.get("/products/1")
        proxy.get("/products/1")
        proxy.get("/products/2")
        port = str(proxy.admin_port)
        counters = json.loads(run(*APP, "stats", "--admin-port", port, "--json").stdout)
        assert (counters["entries"], counters["hits"], counters["misses"]) == (2, 1, 2)
        plain = run(*APP, "stats", "--admin-port", port).stdout.splitlines()
        assert "entries 2" in plain
        cleared = run(*APP, "clear-cache", "--admin-port", port)
        assert (cleared.returncode, cleared.stdout) == (0, "Removed 2 cached responses.\n")
        proxy.get("/products/1")
        again = run(*APP, "--clear-cache", "--admin-port", port)
        assert again.stdout == "Removed 1 cached response.\n"


def test_what_is_no_proxy_at_the_admin_port_is_told() -> None:
    with started(*APP, "demo", *ANY_PORTS) as proxy:
        done = run(*APP, "stats", "--admin-port", str(proxy.port))
    assert done.returncode == 1
    assert "is not the admin API" in one_line(done.stderr)
