"""An origin server in a process of its own: `backend_process.py HOST PORT NAME`.

Each line on standard input is JSON: the Behaviour from then on. Each is answered by a line
`{"requests": NUMBER}`; so is the start. A line `{"post": ID}` tells of a POST when its head has
come. What a target's body is depends on the target alone. It ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import sys
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

BACKLOG = 1024
SIZE = 200  # octets of a body, where the target does not name a `size`


@dataclass(frozen=True)
class Behaviour:
    """What it does with requests, and with which share of them; the others are answered well."""

    delay: float = 0.0
    """Seconds before an answer, whatever the share."""
    share: float = 1.0
    status: int = 200
    reset: str = ""
    """Where the connection is reset: accept, head (before it) or body."""
    after: int = 0
    """Octets of the body before it is reset there."""


def body_of(target: str) -> bytes:
    """What a target's body is: as many octets as its `size` says."""
    size = int(parse_qs(urlsplit(target).query).get("size", [str(SIZE)])[0])
    line = target.encode() + b"\n"
    return (line * (size // len(line) + 1))[:size]


def cache_control(target: str) -> str:
    """What a target's `age` says; without one nothing is stored."""
    ages = parse_qs(urlsplit(target).query).get("age")
    return f"max-age={ages[0]}" if ages else "no-store"


class Backend:
    """What all connections share."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.behaviour = Behaviour()
        self.requests = 0
        self._due = 0.0

    def next_behaviour(self) -> Behaviour:
        """That of one more request; the share is kept exactly."""
        self._due += self.behaviour.share
        if self._due < 1 - 1e-9:
            return Behaviour(self.behaviour.delay)
        self._due -= 1
        return self.behaviour

    def behave(self, told: dict[str, Any]) -> None:
        self.behaviour = Behaviour(**told)
        self._due = 0.0


class Connection(asyncio.Protocol):
    """One request at a time, each with its Content-Length if it has a body."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._buffer = b""
        self._missing = 0  # octets of a request's body
        self._request: tuple[str, str] | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        if self._backend.behaviour.reset == "accept":
            self._reset()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._request is None:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            self._buffer = rest
            self._begin(head.decode("latin-1"))
        if len(self._buffer) >= self._missing:
            self._buffer = self._buffer[self._missing :]
            behaviour = self._backend.next_behaviour()
            asyncio.get_running_loop().call_later(behaviour.delay, self._answer, behaviour)

    def _begin(self, head: str) -> None:
        line, *lines = head.split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in map(_parted, lines)}
        method, target, _ = line.split(" ")
        self._request = method, target
        self._missing = int(fields.get("content-length", "0"))
        self._backend.requests += 1
        if method == "POST":
            tell({"post": fields["x-id"]})

    def _answer(self, behaviour: Behaviour) -> None:
        assert self._request is not None
        method, target = self._request
        self._request = None
        if self._transport.is_closing():
            return
        if behaviour.reset == "head":
            self._reset()
            return
        body = body_of(target)
        head = (
            f"HTTP/1.1 {behaviour.status} Told\r\nX-Backend: {self._backend.name}\r\n"
            f"Cache-Control: {cache_control(target)}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        cut = behaviour.reset == "body"
        shown = b"" if method == "HEAD" else body[: behaviour.after] if cut else body
        self._transport.write(head + shown)
        if cut:
            self._reset()

    def _reset(self) -> None:
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


def _parted(line: str) -> tuple[str, str, str]:
    return line.partition(":")


def tell(words: dict[str, Any]) -> None:
    """At once: it may be killed."""
    os.write(1, json.dumps(words).encode() + b"\n")


async def serve(host: str, port: int, name: str) -> None:
    backend = Backend(name)
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Connection(backend), host, port, backlog=BACKLOG)
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    tell({"requests": 0})
    while line := await commands.readline():
        backend.behave(json.loads(line))
        tell({"requests": backend.requests})


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
