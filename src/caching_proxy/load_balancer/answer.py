"""The answer to a health check: read with the parsers of the proxy, and no further than it counts.

A server that is checked may be broken or hostile. Whatever it sends, a check takes at most
INTERIMS_MAX + 1 heads and ENCODED_READ octets of a body of it, PIECE at a time; between two pieces
others have their turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from http import HTTPStatus
from typing import cast

from caching_proxy.http import problems
from caching_proxy.http.body import response_body
from caching_proxy.http.head import INTERIMS_MAX, ResponseHead, first_response
from caching_proxy.http.problems import OriginFailed

BODY_READ = 1 << 16  # octets of a body in which a text is looked for
ENCODED_READ = 8 * BODY_READ  # octets with what chunks take besides: enough for chunks of one
PIECE = 1 << 14  # octets


class CheckFailed(Exception):
    """The check failed, in words."""


class Connection(asyncio.BufferedProtocol):
    """A connection of one check; it ends with the block that it is for.

    While nobody waits for more, at most a piece is read.
    """

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray(PIECE)
        self._heard = b""
        self._error: Exception | None = None
        self._ended = False
        self._woken = asyncio.Event()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *error: object) -> None:
        if self._transport is not None:
            self._transport.abort()  # no goodbye of TLS to wait for

    async def open(
        self, host: str, port: int, tls: ssl.SSLContext | None, tls_name: str | None
    ) -> None:
        """Connect; with TLS the certificate has to name `tls_name`, or `host`. Raises OSError."""
        await asyncio.get_running_loop().create_connection(
            lambda: self, host, port, ssl=tls, server_hostname=tls_name if tls else None
        )

    def write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    async def read(self) -> bytes:
        """What has come; nothing at the end. Raises OSError."""
        assert self._transport is not None
        while not self._heard and not self._ended:
            self._woken.clear()
            self._resume(self._transport)
            await self._woken.wait()
        if self._error is not None and not self._heard:
            raise self._error
        heard, self._heard = self._heard, b""
        return heard

    @staticmethod
    def _resume(transport: asyncio.Transport) -> None:
        # Where the end is near uvloop refuses, and asyncio has nothing any more before Python 3.11.
        with contextlib.suppress(AttributeError):
            if not transport.is_closing():
                transport.resume_reading()

    # -- what the event loop says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, size: int) -> None:
        assert self._transport is not None
        self._heard += self._buffer[:size]
        self._transport.pause_reading()
        self._woken.set()

    def eof_received(self) -> None:
        self._ended = True
        self._woken.set()

    def connection_lost(self, error: Exception | None) -> None:
        self._error, self._ended = error, True
        self._woken.set()


class Answer:
    """What comes on a connection on which a request was sent."""

    def __init__(self, connection: Connection, max_head: int) -> None:
        """`max_head`, in octets, is for each of the heads."""
        self._connection = connection
        self._max_head = max_head
        self._data = b""

    async def head(self) -> ResponseHead:
        """That of the final response. Raises CheckFailed, OriginFailed, EOFError and OSError."""
        for _ in range(INTERIMS_MAX + 1):
            head = await self._next_head()
            if head.status >= 200 or head.status == HTTPStatus.SWITCHING_PROTOCOLS:
                return head
        raise CheckFailed(f"more than {INTERIMS_MAX} interim responses")

    async def _next_head(self) -> ResponseHead:
        searched = 0
        try:
            while (head := first_response(self._data, searched, self._max_head)) is None:
                searched = len(self._data)
                data = await self._connection.read()
                if not data:
                    raise EOFError
                self._data += data
        except OriginFailed as error:
            if error.problem is problems.ORIGIN_HEAD_TOO_LARGE:
                raise CheckFailed(f"the head is over {self._max_head / 1024:g} KB") from error
            raise
        self._data = self._data[head.size :]
        return head

    async def holds(self, text: bytes, head: ResponseHead) -> bool:
        """Whether the first BODY_READ octets of the body behind `head`, not of HEAD, have `text`.

        Raises CheckFailed, MalformedBody and OSError.
        """
        decoder = response_body(head, False)
        body, encoded = bytearray(), 0
        while not decoder.complete and len(body) < BODY_READ and encoded < ENCODED_READ:
            data = await self._of_body(head)
            if not data:
                break
            encoded += len(data)
            start = max(0, len(body) - len(text) + 1)
            body += b"".join(decoder.decode(data)[0])
            if body.find(text, start, BODY_READ) >= 0:
                return True
        return False

    async def _of_body(self, head: ResponseHead) -> bytes:
        """What is next of a body that goes on; nothing where the connection ends it."""
        try:
            data = self._data or await self._connection.read()
            if not data and (head.chunked or head.content_length >= 0):
                raise EOFError
        except (EOFError, ConnectionError) as error:
            raise CheckFailed("the body breaks off") from error
        self._data = b""
        return data
