"""Answers of DNS that change while the proxy runs; the resolver is the test's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from caching_proxy.configuration import configure
from caching_proxy.proxy_server.names import RETRY_PAUSE, Address

from .support.in_process import in_process

SLACK = 2.0  # seconds that a busy machine may add


class Backend:
    """An origin that answers with its own address and counts who is connected."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.connected = 0

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[int]:
        server = await asyncio.start_server(self.answer, self.host, port)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            while self.connected:  # noqa: ASYNC110 - the proxy has gone, each connection ends
                await asyncio.sleep(0)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected += 1
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\n")
                writer.write(b"Content-Length: %d\r\n\r\n" % len(self.host) + self.host.encode())
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            self.connected -= 1


async def get(port: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    response = await reader.read()
    writer.close()
    return response.partition(b"\r\n\r\n")[2].decode()


async def eventually(told: Callable[[], bool], port: int) -> None:
    """Keep asking until it is so."""
    while not told():
        await get(port)


@asynccontextmanager
async def running(
    port: int, answer: list[Address], interval: float = 0.001, asked: list[str] | None = None
) -> AsyncIterator[int]:
    """No answer is a failure; `asked` gets the name each time."""

    async def resolver(host: str, port: int) -> list[Address]:
        assert host == "origin.example"
        if asked is not None:
            asked.append(host)
        if not answer:
            raise OSError("no such name, says the test")
        return list(answer)

    configuration = configure(
        {
            "host": ["127.0.0.1"],
            "port": 0,
            "origin": f"http://origin.example:{port}",
            "resolve_interval": interval,
        },
        {},
    )
    async with in_process(configuration, resolver) as listening:
        yield listening


async def test_a_name_that_leads_elsewhere() -> None:
    """New connections go to the new address at once, kept ones to the old address are closed."""
    old, new = Backend("127.0.0.1"), Backend("127.0.0.2")
    async with old.serving() as port, new.serving(port):
        answer = [("127.0.0.1", port)]
        async with running(port, answer) as listening:
            assert await get(listening) == "127.0.0.1"
            answer[:] = [("127.0.0.2", port)]
            await asyncio.wait_for(eventually(lambda: old.connected == 0, listening), 20)
            assert await get(listening) == "127.0.0.2"


async def test_one_of_several_addresses_goes() -> None:
    """Connections to an address that stays are kept."""
    old, new = Backend("127.0.0.1"), Backend("127.0.0.2")
    async with old.serving() as port, new.serving(port):
        answer = [("127.0.0.1", port), ("127.0.0.2", port)]
        async with running(port, answer) as listening:
            assert await get(listening) == "127.0.0.1"
            del answer[1]
            for _ in range(20):
                assert await get(listening) == "127.0.0.1"
            assert old.connected == 1


async def test_a_name_that_does_not_resolve() -> None:
    """DNS is asked neither by every request nor too late; no circuit holds up who comes then."""
    asked: list[str] = []
    origin = Backend("127.0.0.1")
    async with origin.serving() as port:
        answer: list[Address] = []
        async with running(port, answer, 60.0, asked) as listening:
            begun = time.monotonic()
            failed = await asyncio.gather(*[get(listening) for _ in range(50)])
            assert {"502" in each for each in failed} == {True}
            assert len(asked) <= 1 + (time.monotonic() - begun) / RETRY_PAUSE
            answer.append(("127.0.0.1", port))
            mended = time.monotonic()
            while await get(listening) != "127.0.0.1":
                assert time.monotonic() - mended < RETRY_PAUSE + SLACK
