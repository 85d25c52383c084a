"""Health checks of servers that send more than anybody can take: what a check does has bounds."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import pytest

from caching_proxy.http.head import INTERIMS_MAX
from caching_proxy.load_balancer.answer import PIECE
from caching_proxy.load_balancer.probe import probe
from tests.unit.load_balancer.scripted_server import (
    OK,
    Connection,
    Script,
    asked,
    in_pieces,
    serving,
    target,
)

INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
INTERIMS_OVER = f"more than {INTERIMS_MAX} interim responses"
HEAD_OVER = "the head is over 32 KB"


def endless(beginning: bytes, more: bytes) -> Script:
    """Send `more` over and over, until nobody listens any more."""

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(beginning)
        while True:
            await connection.send(more * 1000)

    return script


# --- heads ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (endless(b"", INTERIM), INTERIMS_OVER),
        (endless(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), INTERIMS_OVER),
        (endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), HEAD_OVER),
        (endless(b"HTTP/1.1 200 OK\r\nX: ", b"y"), HEAD_OVER),
        (endless(b"HTTP/1.1 200 OK\r\n", b"x"), HEAD_OVER),
        (endless(b"HTTP/1.1 200 ", b"O"), HEAD_OVER),
        (endless(INTERIM + b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), HEAD_OVER),
        (endless(b"", b"\r\n"), "the answer is not HTTP"),
        (endless(b"", b"x"), "the answer is not HTTP"),
    ],
    ids=[
        *("interim", "early hints", "fields", "a field", "a name", "a reason"),
        *("fields behind interim", "lines", "letters"),
    ],
)
async def test_heads_without_end(script: Script, why: str) -> None:
    async with serving(script) as server:
        assert await asked(server) == why


@pytest.mark.parametrize("number", [INTERIMS_MAX, INTERIMS_MAX + 1])
async def test_the_number_of_interim_answers(number: int) -> None:
    async with serving(INTERIM * number + OK) as server:
        assert await asked(server) == (INTERIMS_OVER if number > INTERIMS_MAX else "")


@pytest.mark.parametrize("max_head", [len(OK) - 2, len(OK) - 3])
@pytest.mark.parametrize("piece", [1, 1000])
async def test_the_size_of_a_head(piece: int, max_head: int) -> None:
    """Each of them has its own."""
    async with serving(in_pieces(INTERIM * 2 + OK, piece)) as server:
        why = await asked(server, max_head=max_head, body="ok")
    assert why == ("" if max_head == len(OK) - 2 else f"the head is over {max_head / 1024:g} KB")


# --- bodies ---------------------------------------------------------------------------------------


async def test_chunks_that_have_next_to_nothing_in_them() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serving(endless(head, b"1;x=%b\r\na\r\n" % (b"y" * 16_000))) as server:
        assert await asked(server, body="ok") == "the body lacks 'ok'"


async def test_a_text_behind_the_smallest_chunks() -> None:
    """What chunks take besides does not count against the first 64 KB."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serving(head + b"1\r\na\r\n" * 65_534 + b"2\r\nok\r\n0\r\n\r\n") as server:
        assert await asked(server, body="ok") == ""


# --- others that wait -----------------------------------------------------------------------------


async def test_others_have_their_turns_during_a_check() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nX: %b\r\n\r\n" % (b"y" * 30_000)
    turns = 0

    def flood(listener: socket.socket) -> None:
        with listener.accept()[0] as connection, suppress(ConnectionError):
            while True:
                connection.sendall(hints)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        flooding = asyncio.create_task(asyncio.to_thread(flood, listener))
        check = asyncio.create_task(probe(target(listener.getsockname())))
        while not check.done():
            turns += 1
            await asyncio.sleep(0)
        await flooding
    assert check.result() == INTERIMS_OVER
    assert turns > INTERIMS_MAX * len(hints) // PIECE
