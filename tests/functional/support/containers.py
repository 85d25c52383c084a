"""What image/ describes, on this machine: an address of the loopback network is a container."""

from __future__ import annotations

import contextlib
import selectors
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import yaml

from .waiting import wait_until

ROOT = Path(__file__).resolve().parents[3]
IMAGE = ROOT / "image"
PORTS = tuple(range(7001, 7007))


def compose() -> dict[str, Any]:
    """The services of docker-compose.yml by name."""
    content = yaml.safe_load((IMAGE / "docker-compose.yml").read_text())
    services: dict[str, Any] = content["services"]
    return services


def address(number: int) -> str:
    """Where node `number` is, which no other node shares."""
    return f"127.0.0.1{number}"


class PublishedPort:
    """A port of this machine that leads to the same one of a container, as Docker's do."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", port))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._stop, self._stopped = socket.socketpair()
        self._selector.register(self._stopped, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name=f"port {port}")
        self._thread.start()

    def close(self) -> None:
        """Close it and all connections through it."""
        self._stop.close()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._stopped:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj.fileno() >= 0:  # type: ignore[union-attr]
                    self._forward(key.fileobj, key.data)  # type: ignore[arg-type]

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection(self._target)
        except OSError:
            client.close()
            return
        self._selector.register(client, selectors.EVENT_READ, server)
        self._selector.register(server, selectors.EVENT_READ, client)

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if octets := source.recv(1 << 16):
                target.sendall(octets)
                return
        for sock in (source, target):
            self._selector.unregister(sock)
            sock.close()


class ImageNodes:
    """The six nodes with their files of image/, each at an address of its own."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._ports: list[PublishedPort] = []

    def start(self) -> None:
        """Start them, and wait until each answers where its port is published."""
        for number, port in enumerate(PORTS, 1):
            self._ports.append(PublishedPort(address(number), port))
            self._processes.append(self._node(number))
        for number, port in enumerate(PORTS, 1):
            wait_until(
                lambda number=number, port=port: self._answers(number, port), f"node {number}"
            )

    def _node(self, number: int) -> subprocess.Popen[bytes]:
        folder = self._folder / f"node-{number}"
        folder.mkdir()
        at = address(number)
        return subprocess.Popen(
            [
                *(self._program, str(IMAGE / f"redis-node-{number}.conf")),
                *("--bind", at, "--bind-source-addr", at),
                *("--dir", str(folder), "--logfile", str(folder / "log")),
            ]
        )

    def _answers(self, number: int, port: int) -> bool:
        log = self._folder / f"node-{number}" / "log"
        assert self._processes[number - 1].poll() is None, log.read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as sock:
            sock.sendall(b"PING\r\n")
            return sock.recv(7) == b"+PONG\r\n"
        return False

    def kill(self) -> None:
        """End them all at once."""
        for process in self._processes:
            process.kill()
            process.wait()
        for port in self._ports:
            port.close()
