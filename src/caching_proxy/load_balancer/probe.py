"""One health check of an upstream server: what is asked, and in which words it fails."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Collection, Coroutine
from dataclasses import dataclass
from typing import Any, Literal

from caching_proxy.http.body import MalformedBody
from caching_proxy.http.problems import OriginFailed
from caching_proxy.load_balancer.answer import Answer, CheckFailed, Connection

_WORDS_MAX = 120  # characters


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
    max_head: int = 32 << 10
    """Octets that each head of the answer may have."""
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
    share = target.check.timeout / max(1, len(target.addresses))  # so that each has its turn
    failure: Exception = CheckFailed("the name has no address")
    for host, port in target.addresses:
        with Connection() as connection:
            try:
                await _within(share, connection.open(host, port, target.tls, target.tls_name))
            except ssl.SSLError:  # it did connect
                raise
            except (OSError, asyncio.TimeoutError) as error:
                failure = error
                continue
            if target.check.kind == "http":
                await _ask(connection, target.check, host, port)
            return
    raise failure


# -- HTTP


async def _ask(connection: Connection, check: HealthCheck, host: str, port: int) -> None:
    connection.write(_request(check, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"))
    answer = Answer(connection, check.max_head)
    head = await answer.head()
    status = str(head.status)
    if status not in check.statuses and f"{status[0]}xx" not in check.statuses:
        raise CheckFailed(f"status {status}")
    if check.body and not await answer.holds(check.body.encode(), head):
        raise CheckFailed(f"the body lacks {check.body!r}")


def _request(check: HealthCheck, authority: str) -> bytes:
    return (
        f"{check.method} {check.path} HTTP/1.1\r\n"
        f"Host: {check.host or authority}\r\n"
        "User-Agent: caching-proxy-health-check\r\n"
        "Accept: */*\r\n"
        "Accept-Encoding: identity\r\n"
        "Connection: close\r\n"
        "\r\n"
    ).encode()


# -- words


# The first that fits; a ConnectionError that has no number is of an end within a handshake of TLS.
_WORDS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    ((asyncio.TimeoutError, TimeoutError), "no answer within {timeout:g} s"),
    ((EOFError, ConnectionError), "closed without an answer"),
    ((OriginFailed, MalformedBody), "the answer is not HTTP"),
    (CheckFailed, "{error}"),
)


def _words(error: BaseException, check: HealthCheck) -> str:
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
