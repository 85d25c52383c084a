"""An origin as it is reached: its servers, their connections, and what finds them."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from caching_proxy.load_balancer.load_balancer import LoadBalancer
from caching_proxy.load_balancer.server import Server
from caching_proxy.proxy_server.dialer import Dialer, origin_tls
from caching_proxy.proxy_server.discovery import Discovery, Member
from caching_proxy.proxy_server.names import Resolve
from caching_proxy.proxy_server.orders import order_of
from caching_proxy.proxy_server.origin import Origin
from caching_proxy.proxy_server.service import Service
from caching_proxy.proxy_server.upstream import Pool
from caching_proxy.settings import Origin as OriginSettings

NOTHING_KNOWN: Mapping[str, Any] = {"health": {}, "orders": {}}
"""Of an origin (server_states.States): its servers are up and ready."""
_UP = {"up": True, "why": ""}


class Upstream:
    """One origin under one configuration. It lives from `start` to `stop`."""

    def __init__(
        self, name: str, settings: OriginSettings, max_head: int, resolver: Resolve
    ) -> None:
        """Raises ValueError."""
        self.settings = settings
        self.max_head = max_head
        self.origin = Origin.parse(settings.url)
        strategy = (settings.strategy,) if settings.load_balance else ()
        self.balancer = LoadBalancer(name, settings, *strategy)
        self._resolver = resolver
        self._dialers: dict[str, Dialer] = {}
        self._tls: dict[bool, ssl.SSLContext | None] = {}
        self._service: Service | None = None
        self._discovery: Discovery | None = None
        self._members: list[Member] = []
        self._known = NOTHING_KNOWN

    def is_same(self, name: str, settings: OriginSettings, max_head: int) -> bool:
        """Whether this one does for these."""
        return (self.balancer.name, self.settings, self.max_head) == (name, settings, max_head)

    def start(self, service: Service) -> None:
        """Have its servers found, and their connections kept by `service`."""
        if self._service is not None:
            return
        self._service = service
        settings = self.settings
        if not settings.load_balance:
            dialer = self._dialer(self.origin, self._resolver, settings.resolve_interval)
            name = self.origin.socket_path or self.origin.authority.decode()
            self.balancer.set_servers([self._server(name, 1, False, 0, dialer, self.origin)])
            return
        self._discovery = Discovery(
            *(self.origin, settings.servers, self._resolver, settings.resolve_interval),
            self._found,
            quiet=True,  # ServerStates tells of names that fail, for all processes
        )
        self._discovery.start()

    def stop(self) -> None:
        """Find nothing more; what is under way ends by itself."""
        if self._discovery is not None:
            self._discovery.stop()
        for server in self.balancer.servers:
            server.pool.let_go()

    def tell(self, known: Mapping[str, Any]) -> None:
        """What is known of the servers besides what this process sees (server_states.States)."""
        self._known = known
        self.balancer.tell(self._states)

    @property
    def _states(self) -> dict[str, dict[str, Any]]:
        """... of those that are there, by name, as the balancer wants it."""
        health, orders = self._known["health"], self._known["orders"]
        return {
            member.name: {**health.get(member.name, _UP), "order": order_of(member, orders)}
            for member in self._members
        }

    def _found(self, members: list[Member]) -> None:
        """The servers are these from now on."""
        if not members:
            assert self._discovery is not None
            self.balancer.unresolvable("; ".join(self._discovery.failures))
            return
        self._members = members
        known = {server.name: server for server in self.balancer.servers}
        servers = [self._kept(known, member) or self._new(member) for member in members]
        for server in known.values():
            if server not in servers:
                server.pool.let_go()
                del self._dialers[server.name]
        self.balancer.set_servers(servers, self._states)

    def _kept(self, known: dict[str, Server], member: Member) -> Server | None:
        """The server of this name, led to where it is now."""
        server = known.get(member.name)
        if server is not None:
            self._dialers[member.name].lead_to(member.addresses, server.pool)
        return server

    def _new(self, member: Member) -> Server:
        dialer = self._dialer(member.origin, _nowhere, float("inf"))
        self._dialers[member.name] = dialer
        limit = self.settings.server_limit(member.server)
        server = self._server(
            *(member.name, member.server.weight, member.server.backup),
            *(limit, dialer, member.origin),
        )
        dialer.lead_to(member.addresses, server.pool)
        return server

    def _server(
        self, name: str, weight: int, backup: bool, limit: int, dialer: Dialer, place: Origin
    ) -> Server:
        assert self._service is not None
        server = self.balancer.server(name, weight, backup, limit)
        server.pool = Pool(dialer, self.settings, self.max_head, self._service.allowance)
        server.authority = place.authority
        self._service.keep_pool(server.pool)
        return server

    def _dialer(self, place: Origin, resolver: Resolve, interval: float) -> Dialer:
        if place.secure not in self._tls:
            authorities = self.settings.origin_ca
            pem = authorities.pem if authorities is not None else None
            self._tls[place.secure] = origin_tls(place, pem, self.settings.origin_insecure)
        timeout = self.settings.connect_timeout
        return Dialer(place, self._tls[place.secure], timeout, interval, resolver)


async def _nowhere(host: str, port: int) -> list[tuple[str, int]]:
    """A server that was found is led to by what found it."""
    raise OSError("it has no address")
