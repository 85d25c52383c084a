"""A proxy in a thread of its own that balances between the addresses of a name, by a test's DNS."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from caching_proxy.configuration import Configuration, configure
from caching_proxy.proxy_server.names import Address
from caching_proxy.proxy_server.proxy_server import ProxyServer
from caching_proxy.proxy_server.server_states import ServerStates

from .in_process import in_process
from .waiting import wait_until

NAME = "servers.example"
INTERVAL = 0.02  # seconds from one look-up to the next


class Names:
    """DNS: one name, whose addresses a test changes; none at all is a failure."""

    def __init__(self, *hosts: str) -> None:
        self.hosts = hosts
        self.asked = 0

    async def resolve(self, host: str, port: int) -> list[Address]:
        assert host == NAME
        self.asked += 1
        if not self.hosts:
            raise OSError("no such name, says the test")
        return [(host, port) for host in self.hosts]

    def lead_to(self, *hosts: str) -> None:
        """Return when this answer has been given, and taken over."""
        self.hosts = hosts
        wanted = self.asked + 2
        wait_until(lambda: self.asked >= wanted, "the name to be looked up again")


class NamedProxy:
    """The proxy, once it runs."""

    def __init__(self, configuration: Configuration, names: Names, supervised: Names) -> None:
        self.address = ("127.0.0.1", 0)
        self._configuration = configuration
        self._server = ProxyServer(names.resolve)
        self._states = ServerStates(self._tell, resolver=supervised.resolve)
        self._begun = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=[self._serve()], name="proxy")
        self._thread.start()
        wait_until(self._begun.is_set, "the proxy to listen")

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ending = asyncio.Event()
        async with in_process(self._configuration, proxy=self._server) as port:
            self.address = ("127.0.0.1", port)
            self._states.take_over(self._configuration)
            self._begun.set()
            await self._ending.wait()
            await self._states.stop()

    def _tell(self) -> None:
        self._server.tell(self._states.snapshot)

    def order(self, server: str, order: str) -> None:
        """What an operator does."""

        async def give() -> None:
            self._states.order(server, order)
            self._tell()

        asyncio.run_coroutine_threadsafe(give(), self._loop).result()

    def origin(self) -> dict[str, Any]:
        """What it tells of the origin."""

        async def ask() -> dict[str, Any]:
            (origin,) = self._server.origins()
            return origin

        return asyncio.run_coroutine_threadsafe(ask(), self._loop).result()

    def servers(self) -> dict[str, dict[str, Any]]:
        """... and of its servers by name."""
        return {server["server"]: server for server in self.origin()["servers"]}

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join()


@contextmanager
def named(
    names: Names, port: int, *, supervised: Names | None = None, **more: object
) -> Iterator[NamedProxy]:
    """The name's servers listen on this port; `more` are settings.

    `supervised` is the DNS of what directs the proxy's processes; without, it knows of no address.
    """
    given = {
        "host": ["127.0.0.1"],
        "port": 0,
        "store": "memory",
        "origin": "http://origin.example",
        "load_balance": True,
        "servers": [f"{NAME}:{port}:1"],
        "health_check": "off",
        "resolve_interval": INTERVAL,
        "connect_timeout": 1.0,
        "origin_head_timeout": 1.0,
        **more,
    }
    proxy = NamedProxy(configure(given, {}), names, supervised or Names())
    try:
        yield proxy
    finally:
        proxy.stop()
