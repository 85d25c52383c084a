"""Where the servers of an origin are: their names, looked up again and again."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Sequence
from typing import NamedTuple

from caching_proxy.load_balancer.server_address import ServerAddress
from caching_proxy.proxy_server.names import RETRY_PAUSE, Address, Name, Resolve
from caching_proxy.proxy_server.origin import Origin

HTTP_PORT, HTTPS_PORT = 80, 443
TOGETHER = 1.0  # seconds that those found first wait for the others at the start


class Member(NamedTuple):
    """One server: a name has as many as it has addresses.

    `name` is HOST:PORT as configured, or ADDRESS:PORT where there are several; `addresses` are
    tried in order.
    """

    name: str
    server: ServerAddress
    origin: Origin
    addresses: tuple[Address, ...]

    @property
    def configured(self) -> str:
        """HOST:PORT as configured, whatever it is called."""
        return host_port(self.server.name, self.origin.port)


Changed = Callable[[list[Member]], None]


class Discovery:
    """Tells who the servers are, at first and whenever that changes.

    A name is looked up every `interval` seconds; while it does not resolve its last addresses hold.
    While no name has an address at all, that is every RETRY_PAUSE, and it tells of no member after
    each time.
    """

    def __init__(
        self,
        origin: Origin,
        servers: Sequence[ServerAddress],
        resolver: Resolve,
        interval: float,
        changed: Changed,
        quiet: bool = False,
    ) -> None:
        """`quiet`: another one tells the log of names that fail."""
        self._servers = [(server, server_origin(server, origin)) for server in servers]
        self._names = {
            number: Name(server.host, place.port, resolver, quiet)
            for number, (server, place) in enumerate(self._servers)
            if not is_address(server.host)
        }
        self._interval = interval
        self._changed = changed
        self._known: dict[int, list[tuple[Address, ...]]] = {}
        self._last: list[Member] = []
        self._started = False
        self._together = True
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Tell of those that need no looking up at once, where there are no others."""
        if self._started:
            return
        self._started = True
        for number, (server, place) in enumerate(self._servers):
            if number not in self._names:
                self._known[number] = [((server.host, place.port),)]
        if self._names:
            self._task = asyncio.ensure_future(self._run())
        else:
            self._tell()

    def stop(self) -> None:
        """Tell nothing any more."""
        if self._task is not None:
            self._task.cancel()

    @property
    def failures(self) -> list[str]:
        """Why names do not resolve, in words."""
        return [f"{name.host}: {name.failure}" for name in self._names.values() if name.failure]

    async def _run(self) -> None:
        while True:
            looking = [asyncio.ensure_future(self._look_up(number)) for number in self._names]
            try:
                if self._together:  # else those that come first would get everything at first
                    await asyncio.wait(looking, timeout=TOGETHER)
                    self._together = False
                    self._tell()
                await asyncio.gather(*looking)
            finally:
                for each in looking:
                    each.cancel()
            if not self._known:
                self._changed([])
            pause = self._interval if self._known else min(RETRY_PAUSE, self._interval)
            await asyncio.sleep(pause)

    async def _look_up(self, number: int) -> None:
        name = self._names[number]
        await name.look_up()
        if name.failure:
            return
        self._known[number] = grouped(name.addresses)
        if not self._together:
            self._tell()

    def _tell(self) -> None:
        members = [
            Member(name, server, place, addresses)
            for number, (server, place) in enumerate(self._servers)
            for name, addresses in named(server, place, self._known.get(number, []))
        ]
        members = list({member.name: member for member in reversed(members)}.values())[::-1]
        if members and members != self._last:
            self._last = members
            self._changed(members)


def is_address(host: str) -> bool:
    """Whether it is an IP address, that needs no looking up."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def grouped(addresses: Sequence[Address]) -> list[tuple[Address, ...]]:
    """The servers behind a name, each with the addresses at which it may be tried.

    One address a family is one server that both lead to, as localhost does; several are as many
    servers, of the family that has more of them.
    """
    families = [
        [address for address in addresses if (":" in address[0]) == six] for six in (False, True)
    ]
    most = max(families, key=len)
    if len(most) > 1:
        return [(address,) for address in sorted(most)]
    return [tuple(addresses)] if addresses else []


def named(
    server: ServerAddress, place: Origin, groups: Sequence[tuple[Address, ...]]
) -> list[tuple[str, tuple[Address, ...]]]:
    """What each of a name's servers is called."""
    if len(groups) == 1:
        return [(host_port(server.name, place.port), groups[0])]
    return [(host_port(*addresses[0]), addresses) for addresses in groups]


def host_port(host: str, port: int) -> str:
    """As it stands in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def server_origin(server: ServerAddress, origin: Origin) -> Origin:
    """Where a server is: what it does not say itself is the origin's."""
    secure = origin.secure if server.scheme is None else server.scheme == "https"
    port = server.port
    if port is None:
        port = origin.port if secure == origin.secure else HTTPS_PORT if secure else HTTP_PORT
    scheme = "https" if secure else "http"
    default = HTTPS_PORT if secure else HTTP_PORT
    name = f"[{server.name}]" if ":" in server.name else server.name
    authority = name if port == default else f"{name}:{port}"
    return Origin(
        url=f"{scheme}://{authority}".encode(),
        authority=authority.encode(),
        base_path=origin.base_path,
        host=origin.host,  # what TLS verifies
        port=port,
        secure=secure,
    )
