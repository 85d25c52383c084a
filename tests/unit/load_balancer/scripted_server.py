"""A server that does whatever a test says, and health checks of it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from caching_proxy.load_balancer.probe import HealthCheck, Target, probe
from tests.functional.support.waiting import wait_until

Address = tuple[str, int]

AMPLE = 20.0  # seconds, of which a check needs none
SHORT = 0.1  # seconds, all of which a check uses
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Connection:
    """One connection, as a script gets it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def request(self) -> bytes:
        """The head of a request."""
        return await self.reader.readuntil(b"\r\n\r\n")

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def send_alone(self, piece: bytes) -> None:
        """Nothing else is read together with it."""
        await self.send(piece)
        for _ in range(5):
            await asyncio.sleep(0)

    def reset(self) -> None:
        """End it with a reset."""
        at_once = struct.pack("ii", 1, 0)
        plain = self.writer.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        self.writer.transport.abort()

    async def ended(self) -> None:
        """Return when the other side has gone; bytes from it mean nothing."""
        while await self.reader.read(65536):
            pass


Script = Callable[[Connection], Awaitable[None]]


class ScriptedServer:
    """Counts connections, and records requests where its script is an answer."""

    def __init__(self, script: Script | bytes) -> None:
        self.script = script
        self.connections = 0
        self.left = 0
        """Connections that are over."""
        self.requests: list[bytes] = []
        self.addresses: tuple[Address, ...] = ()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = Connection(reader, writer)
        try:
            with contextlib.suppress(OSError, EOFError):
                if isinstance(self.script, bytes):
                    self.requests.append(await connection.request())
                    await connection.send(self.script)
                else:
                    await self.script(connection)
        finally:
            self.left += 1
            writer.close()


@asynccontextmanager
async def serving(
    script: Script | bytes, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[ScriptedServer]:
    """A server that is there for as long as the block; then each of its connections has ended."""
    scripted = ScriptedServer(script)
    server = await asyncio.start_server(scripted.serve, host, 0, ssl=tls)
    scripted.addresses = (server.sockets[0].getsockname()[:2],)
    try:
        yield scripted
    finally:
        server.close()
        await until(lambda: scripted.left == scripted.connections, "the end of all connections")


async def until(condition: Callable[[], object], what: str) -> None:
    """As `wait_until`, while the event loop goes on."""
    await asyncio.to_thread(wait_until, condition, what)


def in_pieces(answer: bytes, size: int) -> Script:
    """Send so many octets at a time."""

    async def script(connection: Connection) -> None:
        await connection.request()
        for start in range(0, len(answer), size):
            await connection.send_alone(answer[start : start + size])

    return script


async def never_answers(connection: Connection) -> None:
    await connection.ended()


def target(
    *addresses: Address,
    tls: ssl.SSLContext | None = None,
    tls_name: str | None = None,
    kind: Any = "http",
    timeout: float = AMPLE,
    **check: Any,
) -> Target:
    return Target("server", addresses, tls, tls_name, HealthCheck(kind, timeout=timeout, **check))


async def asked(server: ScriptedServer, **check: Any) -> str:
    return await probe(target(*server.addresses, **check))


@contextmanager
def refusing() -> Iterator[Address]:
    """An address that nobody listens on."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield closed.getsockname()
