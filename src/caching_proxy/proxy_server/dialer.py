"""Opening connections to the origin: names, addresses, TLS."""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import Sequence
from typing import Any, Protocol

from caching_proxy.http import problems
from caching_proxy.http.problems import OriginFailed
from caching_proxy.proxy_server.names import RETRY_PAUSE, Address, Name, Resolve, resolve
from caching_proxy.proxy_server.origin import Origin

_SHORTAGES = {errno.EMFILE, errno.ENFILE}


class Pool(Protocol):
    """What the dialer needs of a connection pool."""

    def connection(self) -> asyncio.Protocol: ...

    def drop_peers(self, gone: set[str]) -> None: ...


def origin_tls(origin: Origin, authorities: str | None, insecure: bool) -> ssl.SSLContext | None:
    """How an https origin is verified: by these (PEM), or the system's; None for http."""
    if not origin.secure:
        return None
    context = ssl.create_default_context(cadata=authorities)
    context.set_alpn_protocols(["http/1.1"])
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Dialer:
    """Opens connections to one origin.

    An answer of DNS is used for `interval` seconds, and longer when the next one fails. While there
    is none, DNS is asked once at a time, and after a failure not for a RETRY_PAUSE: who comes
    meanwhile hears of that failure.
    """

    def __init__(
        self,
        origin: Origin,
        tls: ssl.SSLContext | None,
        timeout: float,
        interval: float,
        resolver: Resolve = resolve,
    ) -> None:
        self.origin = origin
        self._tls = tls
        self._timeout = timeout
        self._interval = interval
        self._name = Name(origin.host, origin.port, resolver)
        self._addresses: list[Address] = []
        self._heard_at = float("-inf")
        self._resolving: asyncio.Task[None] | None = None

    async def connect(self, pool: Pool, limit: float = float("inf")) -> asyncio.Protocol:
        """A connection, of `pool` to the first address that takes one. Raises OriginFailed.

        `limit` is in seconds, where the request has less time than connections may take.
        """
        try:
            return await asyncio.wait_for(self._connect(pool), min(limit, self._timeout))
        except (asyncio.TimeoutError, TimeoutError):
            raise OriginFailed(problems.ORIGIN_CONNECT_TIMEOUT) from None
        except ssl.SSLError as error:
            raise OriginFailed(problems.ORIGIN_TLS, str(error)) from None
        except (ConnectionRefusedError, FileNotFoundError) as error:
            raise OriginFailed(problems.ORIGIN_REFUSED, str(error)) from None
        except OSError as error:
            ours = error.errno in _SHORTAGES
            problem = problems.NO_DESCRIPTOR if ours else problems.ORIGIN_UNREACHABLE
            raise OriginFailed(problem, str(error)) from None

    async def _connect(self, pool: Pool) -> asyncio.Protocol:
        loop = asyncio.get_running_loop()
        if self.origin.socket_path is not None:
            _, connection = await loop.create_unix_connection(
                pool.connection, self.origin.socket_path
            )
            return connection
        addresses = await self._resolve(pool)
        failure: Exception = OSError("the name has no address")
        for host, port in addresses:
            opening = loop.create_connection(pool.connection, host, port, **self._tls_arguments())
            try:
                _, connection = await asyncio.wait_for(opening, self._timeout / len(addresses))
                return connection
            except ssl.SSLError:
                raise
            except (OSError, asyncio.TimeoutError) as error:
                failure = error
        raise failure

    def _tls_arguments(self) -> dict[str, Any]:
        if self._tls is None:
            return {}
        return {"ssl": self._tls, "server_hostname": self.origin.host}

    # -- names

    async def _resolve(self, pool: Pool) -> list[Address]:
        if self._addresses:
            self.refresh_if_due(pool)
            return self._addresses
        self._look_up_after(min(RETRY_PAUSE, self._interval), pool)
        if self._resolving is not None:
            await asyncio.wait([self._resolving])
        if not self._addresses:
            raise OriginFailed(problems.ORIGIN_UNRESOLVABLE, self._name.failure)
        return self._addresses

    def refresh_if_due(self, pool: Pool) -> None:
        """Ask DNS again, in the background, when its last answer is old; that serves meanwhile."""
        if self._addresses:
            self._look_up_after(self._interval, pool)

    def _look_up_after(self, pause: float, pool: Pool) -> None:
        """... when it has last been heard so many seconds ago, and is not being asked."""
        now = asyncio.get_running_loop().time()
        if self._resolving is None and now - self._heard_at >= pause:
            self._resolving = asyncio.ensure_future(self._look_up(pool))

    async def _look_up(self, pool: Pool) -> None:
        try:
            await self._name.look_up()
            if self._name.failure:
                self._heard_at = asyncio.get_running_loop().time()
            else:
                self.lead_to(self._name.addresses, pool)
        finally:
            self._resolving = None

    def lead_to(self, addresses: Sequence[Address], pool: Pool) -> None:
        """Connect to the first of these that takes it, from now on."""
        gone = {host for host, _ in self._addresses} - {host for host, _ in addresses}
        self._addresses = list(addresses)
        self._heard_at = asyncio.get_running_loop().time()
        if gone:
            pool.drop_peers(gone)

    def close(self) -> None:
        """Stop asking."""
        if self._resolving is not None:
            self._resolving.cancel()
