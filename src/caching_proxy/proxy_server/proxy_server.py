"""A proxy: its wiring and its life."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Sequence
from typing import Any

from caching_proxy.http.problems import RequestRefused
from caching_proxy.http.target import split_absolute
from caching_proxy.proxy_server import http1, listeners
from caching_proxy.proxy_server.access_log import AccessLog
from caching_proxy.proxy_server.dialer import Dialer, Resolve, origin_tls, resolve
from caching_proxy.proxy_server.errors import ListenError
from caching_proxy.proxy_server.explain import explain
from caching_proxy.proxy_server.origin import Origin
from caching_proxy.proxy_server.service import Service
from caching_proxy.proxy_server.upstream import Pool
from caching_proxy.settings import Settings

SWEEP_INTERVAL = 0.25  # seconds between two looks at all deadlines
SPARE_DESCRIPTORS = 64  # for listeners, logs, the control API
FEW_DESCRIPTORS = 1024  # assumed where the system does not tell


class ProxyServer:
    """One proxy on the running event loop."""

    def __init__(self, settings: Settings, resolver: Resolve = resolve) -> None:
        """`resolver` finds the addresses of the origin's name."""
        self._settings = settings
        self._resolver = resolver
        self._origin = Origin.parse(settings.origin)
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self._sweeping: asyncio.TimerHandle | None = None
        self._addresses: list[str] = []
        self._log: AccessLog | None = None

    async def start(self) -> None:
        """Bind and listen. Raises ListenError; then nothing is left open."""
        settings = self._settings
        try:
            tls = origin_tls(self._origin, settings.origin_ca, settings.origin_insecure)
            self._log = AccessLog(settings.access_log) if settings.access_log else None
        except ValueError as error:
            raise ListenError(str(error)) from None
        except OSError as error:
            raise ListenError(
                f"--access-log {settings.access_log}: {error.strerror}: choose another file"
            ) from None
        self._dialer = Dialer(
            self._origin,
            tls,
            settings.connect_timeout,
            settings.resolve_interval,
            self._resolver,
        )
        self._pool = Pool(self._dialer, settings)
        self._service = Service(settings, self._origin, self._pool, _client_limit(settings))
        self._service.set_access_log(self._log)
        loop = asyncio.get_running_loop()
        self._sweep()
        try:
            self._sockets = listeners.listen(
                settings.host, settings.port, settings.unix_socket, settings.backlog
            )
            self._addresses = [listeners.describe(sock) for sock in self._sockets]
            for sock in self._sockets:
                self._servers.append(await self._serve(loop, sock))
        except BaseException:
            self._close()
            raise

    async def _serve(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> asyncio.Server:
        def connection() -> asyncio.Protocol:
            return http1.ClientConnection(self._service)

        backlog = self._settings.backlog
        if hasattr(socket, "AF_UNIX") and sock.family == socket.AF_UNIX:
            return await loop.create_unix_server(connection, sock=sock, backlog=backlog)
        return await loop.create_server(connection, sock=sock, backlog=backlog)

    @property
    def addresses(self) -> list[str]:
        """Where it listens: http://host:port, unix:/path."""
        return self._addresses

    async def drain(self, grace: float) -> None:
        """Take no new connections, let exchanges end for at most `grace` seconds, close all."""
        for server in self._servers:
            server.close()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(http1.drain(self._service).wait(), grace)
        self._close()
        await asyncio.sleep(0)

    def _close(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
        http1.end(self._service)
        self._dialer.close()
        for sock in self._sockets:
            sock.close()
        for address in self._addresses:
            listeners.remove_unix_socket(address)
        if self._log is not None:
            self._log.close()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweeping = loop.call_later(SWEEP_INTERVAL, self._sweep)
        http1.sweep(self._service, loop.time())
        if self._log is not None:
            self._log.flush()

    def stats(self) -> dict[str, int | float]:
        """All counters by name; sizes in bytes."""
        return self._service.stats()

    def clear(self) -> int:
        """Drop every stored response; how many there were."""
        return self._service.clear()

    def explain(
        self, method: str, url: str, fields: Sequence[tuple[str, str]], content: bytes
    ) -> dict[str, Any]:
        """How a request would be answered now, and why, as a dictionary for JSON.

        `url` is a path with its query, or an absolute URL. ValueError (one line) where that and
        the fields make no request.
        """
        absolute = split_absolute(url.encode())
        host, target = (b"localhost", url.encode()) if absolute is None else absolute[1:]
        lines = [b"%b %b HTTP/1.1" % (method.encode(), target)]
        if not any(name.lower() == "host" for name, _ in fields):
            lines.append(b"Host: " + host)
        lines += [f"{name}: {value}".encode() for name, value in fields]
        if content:
            lines.append(b"Content-Length: %d" % len(content))
        if any(b"\n" in line or b"\r" in line for line in lines):
            raise ValueError("a line break in a request's head: leave it out")
        try:
            return explain(self._service, b"\r\n".join(lines) + b"\r\n\r\n", content)
        except RequestRefused as refused:
            raise ValueError(f"no proxy takes this request: {refused.problem.detail}") from None

    def purge(
        self,
        *,
        url: str | None = None,
        prefix: str | None = None,
        tags: Sequence[str] = (),
        group: str | None = None,
        soft: bool = False,
    ) -> int:
        """Drop what one of these names, or make it stale (`soft`); how many responses it was.

        `url` and `prefix` are a path with its query, or an absolute URL.
        """
        return self._service.purge(url=url, prefix=prefix, tags=tags, group=group, soft=soft)


def _client_limit(settings: Settings) -> int:
    """How many clients may be connected.

    As asked, else half the descriptors, since each may need one upstream.
    """
    available = _raise_descriptor_limit()
    if settings.max_connections is not None:
        return settings.max_connections
    return max(16, (available - SPARE_DESCRIPTORS) // 2)


def _raise_descriptor_limit() -> int:
    """As many descriptors as this process may have."""
    if sys.platform == "win32":
        return FEW_DESCRIPTORS
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return FEW_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
