"""One health check of an upstream server: what is asked, and in which words it fails."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Collection, Coroutine
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp
from aiohttp.connector import Connection
from yarl import URL

BODY_READ = 1 << 16  # bytes of a body in which a text is looked for
_WORDS_MAX = 120  # characters
_FIELDS = {
    "User-Agent": "caching-proxy-health-check",
    "Accept-Encoding": "identity",
    "Connection": "close",
}


@dataclass(frozen=True)
class HealthCheck:
    """What a server is asked, what it has to answer, and when; times are in seconds."""

    kind: Literal["tcp", "http"]
    method: str = "GET"
    path: str = "/"
    host: str = ""
    """The Host field; without one, the address."""
    statuses: Collection[str] = ("2xx", "3xx")
    """Those that pass, such as 204 or 4xx."""
    body: str = ""
    """What has to occur in the first 64 KB of the body."""
    interval: float = 5.0
    fast_interval: float = 1.0
    """While the server is down, or on its way there."""
    timeout: float = 2.0
    """Of the whole check."""
    rise: int = 2
    """Successes in a row that make up of down."""
    fall: int = 3
    """Failures in a row that make down of up."""

    def __post_init__(self) -> None:
        if self.body and self.method == "HEAD":
            raise ValueError("an answer to HEAD has no body to find a text in: use GET")


@dataclass(frozen=True)
class Target:
    """A server that is checked."""

    name: str
    """As reports have it."""
    addresses: tuple[tuple[str, int], ...]
    """Tried in turn, as for requests: the first that connects counts."""
    tls: ssl.SSLContext | None
    tls_name: str | None
    """What the certificate has to name; without one, the address."""
    check: HealthCheck


async def probe(target: Target) -> str:
    """Check once. Tells in a few words why it failed, nothing when it passed."""
    try:
        await _within(target.check.timeout, _try_addresses(target))
    except Exception as error:
        words = " ".join(_words(error, target.check).split())
        return words if len(words) <= _WORDS_MAX else f"{words[:_WORDS_MAX]} ..."
    return ""


async def _within(seconds: float, work: Coroutine[Any, Any, None]) -> None:
    """As asyncio.wait_for, which before Python 3.12 may lose a cancellation."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task], timeout=seconds)
    finally:
        if task.cancel():
            await asyncio.wait([task])
        failure = None if task.cancelled() else task.exception()
    if task.cancelled():
        raise asyncio.TimeoutError
    if failure is not None:
        raise failure


async def _try_addresses(target: Target) -> None:
    ask = _ask if target.check.kind == "http" else _connect
    failure: Exception = _FailedError("the name has no address")
    for host, port in target.addresses:
        try:
            return await ask(target, host, port)
        except Exception as error:
            if not _never_connected(error):
                raise
            failure = error
    raise failure


def _never_connected(error: Exception) -> bool:
    if isinstance(error, ssl.SSLError):
        return False
    if isinstance(error, aiohttp.ClientError):
        return isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError))
    return isinstance(error, (OSError, asyncio.TimeoutError))


def _share(target: Target) -> float:
    """Seconds for connecting to one of the addresses, so that each has its turn."""
    return target.check.timeout / len(target.addresses)


# -- TCP, and TLS on it


async def _connect(target: Target, host: str, port: int) -> None:
    await _within(_share(target), _open_and_close(target, host, port))


async def _open_and_close(target: Target, host: str, port: int) -> None:
    name = target.tls_name if target.tls else None
    transport, _ = await asyncio.get_running_loop().create_connection(
        asyncio.Protocol, host, port, ssl=target.tls, server_hostname=name
    )
    transport.abort()


# -- HTTP


class _Response(aiohttp.ClientResponse):
    """The answer to the only request on a connection."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        if connection.transport is not None:
            connection.add_callback(connection.transport.abort)  # no goodbye of TLS to wait for
        try:
            return await super().start(connection)
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            raise _LostError from error  # after one of theirs aiohttp would ask once more


async def _ask(target: Target, host: str, port: int) -> None:
    check = target.check
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    url = URL(f"{'https' if target.tls else 'http'}://{authority}{check.path}", encoded=True)
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True, ssl=target.tls or True),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_share(target)),
        headers={**_FIELDS, "Host": check.host or authority},
        cookie_jar=aiohttp.DummyCookieJar(),
        response_class=_Response,
        auto_decompress=False,
        trust_env=False,
    )
    asking = {"allow_redirects": False, "server_hostname": target.tls_name}
    async with session, session.request(check.method, url, **asking) as response:
        await _judge(response, check)


async def _judge(response: aiohttp.ClientResponse, check: HealthCheck) -> None:
    status = str(response.status)
    if status not in check.statuses and f"{status[0]}xx" not in check.statuses:
        raise _FailedError(f"status {status}")
    if check.body and not await _holds(response.content, check.body.encode()):
        raise _FailedError(f"the body lacks {check.body!r}")


async def _holds(content: aiohttp.StreamReader, text: bytes) -> bool:
    body = bytearray()
    while len(body) < BODY_READ and (piece := await content.readany()):
        start = max(0, len(body) - len(text) + 1)
        body += piece
        if body.find(text, start, BODY_READ) >= 0:
            return True
    return False


# -- words


class _FailedError(Exception):
    """The check failed, in words."""


class _LostError(Exception):
    """A connection ended before an answer; the cause tells how."""


# The first that fits; a ConnectionError that has no number is of an end within a handshake of TLS.
_WORDS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    ((asyncio.TimeoutError, TimeoutError), "no answer within {timeout:g} s"),
    ((aiohttp.ServerDisconnectedError, ConnectionError), "closed without an answer"),
    (aiohttp.ClientResponseError, "the answer is not HTTP"),
    (aiohttp.ClientPayloadError, "the body breaks off"),
    (_FailedError, "{error}"),
)


def _words(error: BaseException, check: HealthCheck) -> str:
    while isinstance(error, (_LostError, aiohttp.ClientOSError)) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, ssl.SSLError):
        return f"TLS: {_tls_words(error)}"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    for kind, words in _WORDS:
        if isinstance(error, kind):
            return words.format(error=error, timeout=check.timeout)
    return f"{type(error).__name__}: {error}"


def _tls_words(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message.rstrip(".")
    return (error.reason or str(error)).replace("_", " ").lower()
