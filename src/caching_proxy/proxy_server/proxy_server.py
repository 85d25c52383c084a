"""The data plane of one process: its wiring and its life."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caching_proxy.cache_manager.generations import Generations
from caching_proxy.cache_manager.redis_address import RedisAddress
from caching_proxy.cache_manager.store_folder import socket_in, store_folder
from caching_proxy.configuration import DEFAULT, Configuration
from caching_proxy.http.problems import RequestRefused
from caching_proxy.http.target import split_absolute
from caching_proxy.proxy_server import http1, privileges
from caching_proxy.proxy_server.access_log import AccessLog
from caching_proxy.proxy_server.errors import ListenError
from caching_proxy.proxy_server.explain import explain
from caching_proxy.proxy_server.listeners import Accepting
from caching_proxy.proxy_server.names import Resolve, resolve
from caching_proxy.proxy_server.receipt import Receipt
from caching_proxy.proxy_server.routing import Router
from caching_proxy.proxy_server.server_states import States
from caching_proxy.proxy_server.service import Service
from caching_proxy.proxy_server.upstreams import NOTHING_KNOWN, Upstream
from caching_proxy.settings import Origin as OriginSettings
from caching_proxy.settings import Settings

logger = logging.getLogger("caching_proxy")

SWEEP_INTERVAL = 0.25  # seconds between two looks at all deadlines
SPARE_DESCRIPTORS = 128  # for listeners, logs, the control API, Redis, health checks
FEW_DESCRIPTORS = 1024  # assumed where the system does not tell

# From Python 3.13 on a server that closes removes its socket's file: Sockets does where it is time.
_KEEP_FILE: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}

_REDIS_SETTINGS = (
    *("redis_url", "redis_ca", "redis_host", "redis_port", "use_cluster", "redis_prefix"),
    *("redis_replica_reads", "redis_timeout", "stale_if_error", "redis_compress"),
)


@dataclass(frozen=True)
class Plan:
    """Everything that a configuration needs, made and not yet used."""

    configuration: Configuration
    upstreams: Mapping[str, Upstream]
    router: Router
    log: AccessLog | None


Relay = Callable[[dict[str, Any], Callable[[dict[str, Any] | None], None]], None]


class ProxyServer:
    """The data plane on the running event loop."""

    def __init__(self, resolver: Resolve = resolve) -> None:
        """`resolver` finds the addresses of origins' names."""
        self._resolver = resolver
        self._service: Service | None = None
        self._upstreams: list[Upstream] = []
        self._states: States = {}
        self._servers: dict[int, asyncio.Server] = {}  # by inode
        self._sweeping: asyncio.TimerHandle | None = None
        self._log: AccessLog | None = None
        self._shared: tuple[Any, ...] | None = None  # how Redis is reached
        self.generations: Generations | None = None
        """What all workers share; None: this process serves alone."""
        self.relay: Relay | None = None
        """Carries out a purge that a client asks for, in all workers; None: here alone."""

    # -- configurations

    def prepare(self, configuration: Configuration) -> Plan:
        """All that it takes to go by this. Raises ListenError; then nothing has changed."""
        service = self._service or Service(configuration.settings)
        service.relay = self.relay
        service.cache.generations = self.generations
        self._service = service
        try:
            upstreams = {
                name: self._upstream(name, origin, configuration.settings.max_head)
                for name, origin in configuration.origins.items()
            }
            routes = [
                service.make_route(
                    route,
                    upstreams[route.origin or DEFAULT].origin,
                    upstreams[route.origin or DEFAULT].balancer,
                )
                for route in configuration.routes
            ]
            log = _open_log(configuration.settings)
        except ValueError as error:
            raise ListenError(str(error)) from None
        return Plan(configuration, upstreams, Router(routes), log)

    def commit(self, plan: Plan) -> None:
        """Go by this from now on; exchanges under way end by what they began with."""
        assert self._service is not None
        settings = plan.configuration.settings
        authorities = {name.encode() for name in settings.server_name}
        authorities |= {upstream.origin.authority for upstream in plan.upstreams.values()}
        self._service.take_over(settings, plan.router, authorities, *_limits(settings))
        http1.judge_trust(self._service)
        self._share(settings)
        upstreams = list(plan.upstreams.values())
        for upstream in upstreams:
            upstream.start(self._service)
            upstream.tell(self._states.get(upstream.balancer.name, NOTHING_KNOWN))
        for upstream in self._upstreams:
            if upstream not in upstreams:
                upstream.stop()
        self._upstreams = upstreams
        self._service.set_access_log(plan.log)
        if self._log is not None:
            self._log.close()
        self._log = plan.log
        if self._sweeping is None:
            self._sweep()

    def _share(self, settings: Settings) -> None:
        """Keep what is stored in Redis as the settings have it, where they have changed."""
        assert self._service is not None
        address = _redis_address(settings)
        named = [getattr(settings, name) for name in _REDIS_SETTINGS]
        folder = (settings.data_dir, settings.user) if settings.store == "embedded" else None
        wanted = (folder, *named)
        shared = None if address is None else wanted
        if shared != self._shared:
            self._shared = shared
            self._service.share(address, settings)

    def discard(self, plan: Plan) -> None:
        """Let go of what was made for a plan that is not carried out."""
        if plan.log is not None:
            plan.log.close()

    def _upstream(self, name: str, settings: OriginSettings, max_head: int) -> Upstream:
        """The present one where nothing has changed. Raises ValueError."""
        for known in self._upstreams:
            if known.is_same(name, settings, max_head):
                return known
        return Upstream(name, settings, max_head, self._resolver)

    def tell(self, states: States) -> None:
        """What is known of the servers besides what this process sees."""
        self._states = states
        for upstream in self._upstreams:
            upstream.tell(states.get(upstream.balancer.name, NOTHING_KNOWN))

    # -- life

    async def listen(self, accepting: Sequence[Accepting]) -> None:
        """Accept on exactly these from now on; connections that are open stay so."""
        wanted = {os.fstat(each.sock.fileno()).st_ino: each for each in accepting}
        for inode in [inode for inode in self._servers if inode not in wanted]:
            self._servers.pop(inode).close()
        for inode, (sock, backlog) in wanted.items():
            if inode in self._servers:
                sock.listen(backlog)
            else:
                self._servers[inode] = await self._serve(sock, backlog)

    async def _serve(self, sock: socket.socket, backlog: int) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        own = sock.dup()  # the server closes it

        def connection() -> asyncio.Protocol:
            assert self._service is not None
            return http1.ClientConnection(self._service)

        if hasattr(socket, "AF_UNIX") and sock.family == socket.AF_UNIX:
            return await loop.create_unix_server(
                connection, sock=own, backlog=backlog, **_KEEP_FILE
            )
        return await loop.create_server(connection, sock=own, backlog=backlog)

    async def drain(self, grace: float) -> None:
        """Take no new connections, let exchanges end for at most `grace` seconds, close all."""
        for server in self._servers.values():
            server.close()
        self._servers.clear()
        if self._service is None:
            return
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(http1.drain(self._service).wait(), grace)
        if self._service.cache.tier is not None:
            await self._service.cache.tier.give_turns_back()
        self._close()
        await asyncio.sleep(0)

    def _close(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
        assert self._service is not None
        for upstream in self._upstreams:
            upstream.stop()
        http1.end(self._service)
        if self._service.cache.tier is not None:
            self._service.share(None, None)
            if self._service.unheard:
                logger.warning(
                    "Redis has not heard of %d purges: what they purged may come back; purge it"
                    " again, or run clear-cache, when Redis is back",
                    len(self._service.unheard),
                )
        if self._log is not None:
            self._log.close()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweeping = loop.call_later(SWEEP_INTERVAL, self._sweep)
        assert self._service is not None
        http1.sweep(self._service, loop.time())
        if self._log is not None:
            self._log.flush()

    # -- what is asked of it

    def stats(self) -> dict[str, int | float]:
        """All counters by name; sizes in bytes."""
        return self._running.stats()

    def origins(self) -> list[dict[str, Any]]:
        """What there is to tell of each origin and its servers."""
        now = asyncio.get_running_loop().time()
        return [upstream.balancer.report(now) for upstream in self._upstreams]

    async def clear(self) -> Receipt:
        """Drop every stored response; how many there were here."""
        number = self._running.clear()
        await self._running.settled()
        return Receipt(number, self._running.reach())

    def explain(
        self, method: str, url: str, fields: Sequence[Sequence[str]], content: bytes
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
            return explain(self._running, b"\r\n".join(lines) + b"\r\n\r\n", content)
        except RequestRefused as refused:
            raise ValueError(f"no proxy takes this request: {refused.problem.detail}") from None

    async def purge(
        self,
        *,
        url: str | None = None,
        prefix: str | None = None,
        tags: Sequence[str] = (),
        group: str | None = None,
        site: str | None = None,
        soft: bool = False,
    ) -> Receipt:
        """Drop what one of these names, or make it stale (`soft`); how many responses it was.

        `url` and `prefix` are a path with its query, or an absolute URL.
        """
        number = self._running.purge(
            url=url, prefix=prefix, tags=tags, group=group, site=site, soft=soft
        )
        await self._running.settled()
        return Receipt(number, self._running.reach())

    @property
    def _running(self) -> Service:
        assert self._service is not None, "nothing is prepared yet"
        return self._service


def _redis_address(settings: Settings) -> RedisAddress | None:
    """Where responses are stored besides memory, if anywhere."""
    if settings.store == "memory":
        return None
    if settings.store == "embedded":
        return RedisAddress(path=str(socket_in(store_folder(settings.data_dir, settings.user))))
    return settings.redis_address()


def _open_log(settings: Settings) -> AccessLog | None:
    """The access log, opened anew: whoever rotates it wants that. Raises ValueError."""
    if not settings.access_log:
        return None
    log = None
    try:
        log = AccessLog(settings.access_log)
        if settings.user is not None and settings.access_log != "-":
            privileges.own(log.fileno(), settings.user)
        return log
    except (privileges.PrivilegesError, OSError) as error:
        if log is not None:
            log.close()
        if isinstance(error, privileges.PrivilegesError):
            raise ValueError(str(error)) from None
        raise ValueError(
            f"--access-log {settings.access_log}: {error.strerror}: choose another file"
        ) from None


def _limits(settings: Settings) -> tuple[int, int]:
    """How many clients may be connected, and how many connections lead to servers.

    Each client may need one to a server: without --max-connections both get half the descriptors.
    """
    available = max(32, _raise_descriptor_limit() - SPARE_DESCRIPTORS)
    clients = settings.max_connections or available // 2
    return clients, max(available - clients, available // 4)


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
