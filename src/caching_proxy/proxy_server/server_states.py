"""What all processes of a proxy are told of its servers: what checks find, what operators want.

There is one prober a machine, however many workers serve.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from caching_proxy.configuration import Configuration
from caching_proxy.inputs import shown
from caching_proxy.load_balancer.health import Health, HealthCheck, Prober, Target
from caching_proxy.load_balancer.measures import quantiles
from caching_proxy.proxy_server.dialer import origin_tls
from caching_proxy.proxy_server.discovery import Discovery, Member, host_port, server_origin
from caching_proxy.proxy_server.names import Resolve, resolve
from caching_proxy.proxy_server.orders import ORDERS, Orders
from caching_proxy.proxy_server.origin import Origin
from caching_proxy.settings import Origin as OriginSettings

States = dict[str, dict[str, Any]]
"""Origin -> `health` (server -> `up`, `why` it is not) and `orders` (orders.OfOrigin)."""


@dataclass
class _Origin:
    """A balanced origin: who its servers are, and how they are checked."""

    settings: OriginSettings
    place: Origin
    discovery: Discovery | None = None
    members: tuple[Member, ...] = ()
    tls: ssl.SSLContext | None = None

    @property
    def configured(self) -> set[str]:
        """HOST:PORT of each server as configured."""
        places = [
            (server.name, server_origin(server, self.place)) for server in self.settings.servers
        ]
        return {host_port(host, place.port) for host, place in places}

    @property
    def names(self) -> dict[str, str]:
        """Everything that a server is called -> HOST:PORT as configured."""
        found = {member.name: member.configured for member in self.members}
        return {**found, **{name: name for name in self.configured}}

    def targets(self, name: str, max_head: int) -> list[Target]:
        settings = self.settings
        if settings.health_check == "off":
            return []
        check = HealthCheck(
            kind="http" if settings.health_check == "http" else "tcp",
            method=settings.health_method,
            path=self.place.base_path.decode() + settings.health_path,
            host=settings.health_host or self.place.authority.decode(),
            statuses=tuple(settings.health_status),
            body=settings.health_body,
            max_head=max_head,
            interval=settings.health_interval,
            fast_interval=settings.health_fast_interval,
            timeout=settings.health_timeout,
            rise=settings.health_rise,
            fall=settings.health_fall,
        )
        return [
            Target(
                name=f"{name} {member.name}",
                addresses=member.addresses,
                tls=self.tls if member.origin.secure else None,
                tls_name=member.origin.host,
                check=check,
            )
            for member in self.members
        ]


class ServerStates:
    """Of all balanced origins under the present configuration."""

    def __init__(
        self,
        changed: Callable[[], None],
        orders: Orders | None = None,
        resolver: Resolve = resolve,
    ) -> None:
        """`changed` is called soon after anything of `snapshot` has; `orders` hold at first."""
        self._changed = changed
        self._resolver = resolver
        self._origins: dict[str, _Origin] = {}
        self.orders: Orders = {} if orders is None else orders
        """Of all servers that are configured."""
        self._max_head = 0
        self._prober: Prober | None = None
        self._told = False

    def take_over(self, configuration: Configuration) -> None:
        """Check the servers of this from now on; what is known of those that stay is kept."""
        origins: dict[str, _Origin] = {}
        for name, settings in configuration.origins.items():
            known = self._origins.pop(name, None)
            if known is not None and known.settings == settings:
                origins[name] = known
                continue
            if known is not None and known.discovery is not None:
                known.discovery.stop()
            if settings.load_balance:
                origins[name] = self._origin(name, settings)
                origins[name].members = known.members if known is not None else ()
        self._stop_finding()
        self._origins = origins
        self._max_head = configuration.settings.max_head
        self._forget()
        for origin in origins.values():
            if origin.discovery is not None:
                origin.discovery.start()
        self._watch()
        self._tell()

    def _origin(self, name: str, settings: OriginSettings) -> _Origin:
        place = Origin.parse(settings.url)
        origin = _Origin(settings, place)
        authorities = settings.origin_ca.pem if settings.origin_ca is not None else None
        origin.tls = origin_tls(replace(place, secure=True), authorities, settings.origin_insecure)

        def found(members: list[Member]) -> None:
            origin.members = tuple(members)
            if name in self._origins:
                self._watch()
                self._tell()

        origin.discovery = Discovery(
            place, settings.servers, self._resolver, settings.resolve_interval, found
        )
        return origin

    def _watch(self) -> None:
        targets = [
            target
            for name, origin in self._origins.items()
            for target in origin.targets(name, self._max_head)
        ]
        if self._prober is None and targets:
            self._prober = Prober(lambda name, health: self._tell())
        if self._prober is not None:
            self._prober.watch(targets)

    def _tell(self) -> None:
        """Say so once for all that changes now."""
        if not self._told:
            self._told = True
            asyncio.get_running_loop().call_soon(self._tell_now)

    def _tell_now(self) -> None:
        self._told = False
        self._changed()

    @property
    def snapshot(self) -> States:
        """What every process is to know."""
        return {
            name: {
                "health": {member.name: self._health(name, member) for member in origin.members},
                "orders": self.orders[name],
            }
            for name, origin in self._origins.items()
        }

    def _health(self, origin: str, member: Member) -> dict[str, Any]:
        health = self._known(origin, member.name)
        if health is None or not health.known:
            return {"up": True, "why": ""}
        return {"up": health.up, "why": health.told}

    def _known(self, origin: str, server: str) -> Health | None:
        return None if self._prober is None else self._prober.health.get(f"{origin} {server}")

    def checked(self, origin: str, server: str) -> dict[str, Any] | None:
        """The last health check of a server, for reports; None: there was none."""
        health = self._known(origin, server)
        if health is None or not health.known:
            return None
        return {"up": health.up, "at": health.checked_at, "took": health.took, "why": health.why}

    def order(self, server: str, order: str, origin: str | None = None) -> dict[str, str]:
        """Have a server ready, drained or disabled; who asks tells the others. ValueError.

        HOST:PORT as configured means all addresses of a name, whatever they were told before.
        """
        if order not in ORDERS:
            raise ValueError(
                f"{shown(order)} is no state: use {', '.join(ORDERS[:-1])} or {ORDERS[-1]}"
            )
        names = {name: each.names for name, each in self._origins.items()}
        found = [name for name in names if origin in (None, name) and server in names[name]]
        if not found:
            known = sorted(name for each in names.values() for name in each)
            cure = f"use one of {', '.join(known[:10])}" if known else "no origin is balanced"
            raise ValueError(f"there is no server {shown(server)}: {cure}")
        if len(found) > 1:
            raise ValueError(f"{server} is of several origins: name one of {', '.join(found)}")
        configured = names[found[0]][server]
        told = {} if server == configured else self.orders[found[0]].get(configured, {})
        self.orders[found[0]][configured] = {**told, server: order}
        return {"origin": found[0], "server": server, "state": order}

    def _forget(self) -> None:
        """Drop the orders of servers that are not configured any more."""
        orders, self.orders = self.orders, {}
        for name, origin in self._origins.items():
            given, stay = orders.get(name, {}), origin.configured
            self.orders[name] = {server: given[server] for server in given if server in stay}

    def _stop_finding(self) -> None:
        """Look up no names any more."""
        for origin in self._origins.values():
            if origin.discovery is not None:
                origin.discovery.stop()

    async def stop(self) -> None:
        """Check nothing any more."""
        self._stop_finding()
        self._origins = {}
        if self._prober is not None:
            await self._prober.stop()


def merged(
    reports: Sequence[Sequence[Mapping[str, Any]]], states: ServerStates
) -> list[dict[str, Any]]:
    """What the processes report of their origins, as one report; with the last health checks."""
    origins: dict[str, dict[str, Any]] = {}
    for report in (one for of_worker in reports for one in of_worker):
        name = report["origin"]
        origins[name] = _both(origins[name], report) if name in origins else dict(report)
    for origin in origins.values():
        for server in origin["servers"]:
            server["latency"] = _quantiles(server["latency"])
            server["check"] = states.checked(origin["origin"], server["server"])
    return list(origins.values())


_SUMS = ("waiting", "queued", "turned_away", "retries", "retries_denied", "hedged")
_SERVER_SUMS = ("in_flight", "limit", "requests", "errors", "circuit_opened")
_QUANTILES = (0.5, 0.95, 0.99)


def _both(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    servers = {server["server"]: dict(server) for server in one["servers"]}
    for server in other["servers"]:
        name = server["server"]
        servers[name] = _both_servers(servers[name], server) if name in servers else dict(server)
    return {
        **one,
        **{name: one[name] + other[name] for name in _SUMS},
        "healthy": min(one["healthy"], other["healthy"]),
        "panic": one["panic"] or other["panic"],
        "servers": list(servers.values()),
    }


def _both_servers(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **one,
        **{name: one[name] + other[name] for name in _SERVER_SUMS},
        **{name: _either(one[name], other[name]) for name in ("state", "circuit", "why")},
        "latency": [sum(pair) for pair in zip(one["latency"], other["latency"], strict=True)],
    }


def _either(one: str, other: str) -> str:
    """What processes say that do not see the same."""
    words = dict.fromkeys([*one.split(" / "), *other.split(" / ")])
    return " / ".join(word for word in words if word)


def _quantiles(buckets: list[int]) -> dict[str, float] | None:
    found = quantiles(buckets, _QUANTILES)
    if found is None:
        return None
    return {f"p{100 * share:g}": seconds for share, seconds in zip(_QUANTILES, found, strict=True)}
