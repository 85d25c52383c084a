"""A server that answers wrongly is found out before it gets a figure."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bench import verify
from bench.lanes import LANES, Lane
from bench.processes import CLIENT_CPU, Process
from bench.results import OURS
from bench.servers import Origin, Server

BODY = b"x" * 1024
TAG = '"tag"'


class Behaviour:
    """How the server under test answers, and how often it lets the origin know."""

    status = 200
    body = BODY
    x_cache: str | None = "HIT"
    forwards = False
    breaks_off = False


class Handler(BaseHTTPRequestHandler):
    """Server and origin in one: /requests tells the count, in the words of stub_status."""

    protocol_version = "HTTP/1.1"
    behaviour: Behaviour
    origin_requests = 0

    def do_GET(self) -> None:
        if self.path == "/requests":
            type(self).origin_requests += 1
            return self._answer(200, f"requests\n 9 9 {self.origin_requests} \n".encode())
        if self.behaviour.breaks_off:
            self.close_connection = True
            return None
        type(self).origin_requests += self.behaviour.forwards
        if "If-None-Match" in self.headers:
            return self._answer(304, b"")
        return self._answer(self.behaviour.status, self.behaviour.body)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("ETag", TAG)
        if self.behaviour.x_cache:
            self.send_header("X-Cache", self.behaviour.x_cache)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[int]:
    handler = type("BoundHandler", (Handler,), {"behaviour": behaviour})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    """Some process, which a server has."""
    process = Process(["sleep", "60"], CLIENT_CPU, tmp_path / "log", tmp_path)
    yield process
    process.end()


def faults(lane: Lane, behaviour: Behaviour, process: Process, name: str = OURS) -> list[str]:
    with serving(behaviour) as port:
        server, origin = Server(name, port, process), Origin("origin", port, process)
        tag = verify.entity_tag(lane, server) if not behaviour.breaks_off else None
        return verify.faults(lane, server, origin, BODY, tag)


def behaving(**attributes: object) -> Behaviour:
    behaviour = Behaviour()
    for name, value in attributes.items():
        setattr(behaviour, name, value)
    return behaviour


@pytest.mark.parametrize("lane", ["hit", "hit-one", "hit-many", "conditional"])
def test_right_answers_have_no_faults(lane: str, process: Process) -> None:
    assert faults(LANES[lane], Behaviour(), process) == []


def test_forward_reaches_the_origin_each_time(process: Process) -> None:
    right = behaving(forwards=True, x_cache="MISS")
    assert faults(LANES["forward"], right, process) == []
    assert faults(LANES["forward"], behaving(x_cache="MISS"), process) == [
        "0 of 10 requests reached the origin instead of 10"
    ]


def test_miss_that_is_not_stored(process: Process) -> None:
    found = faults(LANES["miss"], behaving(forwards=True, x_cache="MISS"), process)
    assert "X-Cache: MISS instead of HIT" in found


@pytest.mark.parametrize(
    ("behaviour", "fault"),
    [
        (behaving(status=404), "status 404 instead of 200"),
        (behaving(body=b"short"), "a wrong body of 5 bytes instead of 1024"),
        (behaving(body=b"y" * 1024), "a wrong body of 1024 bytes instead of 1024"),
        (behaving(x_cache=None), "X-Cache: None instead of HIT"),
        (behaving(x_cache="MISS"), "X-Cache: MISS instead of HIT"),
        (behaving(forwards=True), "10 of 10 requests reached the origin instead of 0"),
    ],
)
def test_faults(behaviour: Behaviour, fault: str, process: Process) -> None:
    assert faults(LANES["hit"], behaviour, process) == [fault]


def test_peers_need_no_x_cache(process: Process) -> None:
    assert faults(LANES["hit"], behaving(x_cache=None), process, "nginx") == []


def test_connection_broken(process: Process) -> None:
    (fault,) = faults(LANES["hit"], behaving(breaks_off=True), process)
    assert fault.startswith("no answer: RemoteDisconnected")
