"""What serves, be it one process or several: the same calls for both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from caching_proxy.configuration import Configuration
from caching_proxy.proxy_server.listeners import Bound, Sockets, endpoints, of_worker
from caching_proxy.proxy_server.orders import Orders
from caching_proxy.proxy_server.proxy_server import ProxyServer
from caching_proxy.proxy_server.receipt import Receipt
from caching_proxy.proxy_server.server_states import ServerStates, merged


class Fleet(Protocol):
    """All that serves under one configuration."""

    sockets: Sockets

    @property
    def orders(self) -> Orders:
        """What operators want of servers."""

    @property
    def serving(self) -> bool:
        """Whether anybody accepts connections."""

    async def take_over(self, configuration: Configuration) -> None:
        """Go by this from now on, whole or not at all. Raises ListenError."""

    async def stats(self) -> dict[str, Any]:
        """Counters by name, of all workers together."""

    async def origins(self) -> list[dict[str, Any]]:
        """What there is to tell of each origin and its servers, of all workers together."""

    async def order(self, server: str, order: str, origin: str | None) -> dict[str, str]:
        """Have a server ready, drained or disabled, in all workers. Raises ValueError."""

    async def clear(self) -> Receipt:
        """Drop every stored response."""

    async def purge(self, selection: Mapping[str, Any]) -> Receipt:
        """Drop what `url`, `prefix`, `tags` or `group` names, or make it stale (`soft`)."""

    async def explain(
        self, method: str, url: str, fields: Sequence[Sequence[str]], content: bytes
    ) -> dict[str, Any]:
        """How a request would be answered now. Raises ValueError (one line)."""

    async def drain(self, grace: float) -> None:
        """Take nothing new, let exchanges end for at most `grace` seconds, close all."""

    def kill(self) -> None:
        """End every other process of it at once."""


class Alone:
    """This process serves itself."""

    def __init__(self, inherited: Bound | None = None, orders: Orders | None = None) -> None:
        """`orders` hold from the first request on."""
        self.sockets = Sockets(inherited)
        self._server = ProxyServer()
        self._states = ServerStates(self._tell, orders)

    def _tell(self) -> None:
        self._server.tell(self._states.snapshot)

    @property
    def orders(self) -> Orders:
        """What operators want of servers."""
        return self._states.orders

    @property
    def serving(self) -> bool:
        """It does as long as this process runs."""
        return True

    async def take_over(self, configuration: Configuration) -> None:
        """Go by this from now on, whole or not at all. Raises ListenError."""
        bound = self.sockets.prepare(endpoints(configuration), 1)
        try:
            plan = self._server.prepare(configuration)
        except BaseException:
            self.sockets.discard(bound)
            raise
        self._server.commit(plan)
        self._states.take_over(configuration)
        self._tell()
        await self._server.listen(of_worker(bound, 0, 1, configuration.settings.backlog))
        self.sockets.commit(bound)

    async def stats(self) -> dict[str, Any]:
        """Counters by name."""
        return self._server.stats()

    async def origins(self) -> list[dict[str, Any]]:
        """What there is to tell of each origin and its servers."""
        return merged([self._server.origins()], self._states)

    async def order(self, server: str, order: str, origin: str | None) -> dict[str, str]:
        """Have a server ready, drained or disabled. Raises ValueError (one line)."""
        receipt = self._states.order(server, order, origin)
        self._tell()
        return receipt

    async def clear(self) -> Receipt:
        """Drop every stored response."""
        return await self._server.clear()

    async def purge(self, selection: Mapping[str, Any]) -> Receipt:
        """Drop what is selected, or make it stale."""
        return await self._server.purge(**selection)

    async def explain(
        self, method: str, url: str, fields: Sequence[Sequence[str]], content: bytes
    ) -> dict[str, Any]:
        """How a request would be answered now. Raises ValueError (one line)."""
        return self._server.explain(method, url, fields, content)

    async def drain(self, grace: float) -> None:
        """Take nothing new, let exchanges end for at most `grace` seconds, close all."""
        self.sockets.close()
        await self._server.drain(grace)
        await self._states.stop()

    def kill(self) -> None:
        """There is no other."""
