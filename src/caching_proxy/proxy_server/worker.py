"""One worker: the data plane of a process that a supervisor directs over a channel."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

from caching_proxy.cache_manager.generations import Generations
from caching_proxy.configuration import Configuration, ConfigurationFile, configure
from caching_proxy.declared import SettingsError
from caching_proxy.proxy_server import privileges
from caching_proxy.proxy_server.channel import CallFailed, Channel, ChannelClosed
from caching_proxy.proxy_server.errors import ListenError
from caching_proxy.proxy_server.listeners import Accepting
from caching_proxy.proxy_server.privileges import PrivilegesError
from caching_proxy.proxy_server.proxy_server import Plan, ProxyServer
from caching_proxy.proxy_server.receipt import Receipt

logger = logging.getLogger("caching_proxy")


class Worker:
    """Does what the supervisor calls for, until that is gone."""

    def __init__(self, sock: socket.socket, shared: int) -> None:
        """`sock` is the channel, `shared` the descriptor of the Generations."""
        self._server = ProxyServer()
        self._server.generations = Generations(shared)
        self._server.relay = self._relay
        self._plan: Plan | None = None
        self._user: str | None = None
        self._grace = 0.0
        self._ended = asyncio.Event()
        self._relaying: set[asyncio.Task[None]] = set()
        handlers = {
            "ping": self._ping,
            "prepare": self._prepare,
            "discard": self._discard,
            "commit": self._commit,
            "listen": self._listen,
            "states": self._states,
            "stats": self._stats,
            "origins": self._origins,
            "clear": self._clear,
            "purge": self._purge,
            "explain": self._explain,
            "drain": self._drain,
        }
        self._channel = Channel(sock, handlers, self._ended.set)

    async def run(self) -> None:
        """Serve until the supervisor has drained this worker, or is gone."""
        await self._ended.wait()
        await self._server.drain(self._grace)

    async def _ping(self, asked: dict[str, Any], sockets: list[socket.socket]) -> str:
        return "here"

    async def _prepare(self, asked: dict[str, Any], sockets: list[socket.socket]) -> None:
        try:
            configuration = read_configuration(asked)
            self._plan = self._server.prepare(configuration)
            self._user = asked["user"]
        except (SettingsError, ListenError) as error:
            raise CallFailed(str(error)) from None

    async def _discard(self, asked: dict[str, Any], sockets: list[socket.socket]) -> None:
        if self._plan is not None:
            self._server.discard(self._plan)
            self._plan = None

    async def _commit(self, asked: dict[str, Any], sockets: list[socket.socket]) -> None:
        assert self._plan is not None
        settings = self._plan.configuration.settings
        self._server.commit(self._plan)
        logging.getLogger().setLevel(settings.log_level.upper())
        try:
            privileges.drop(self._user)
        except PrivilegesError as error:
            raise CallFailed(str(error)) from None
        self._plan = None
        self._grace = settings.grace
        await self._listen(asked, sockets)

    async def _listen(self, asked: dict[str, Any], sockets: list[socket.socket]) -> None:
        await self._server.listen(list(map(Accepting, sockets, asked["backlogs"])))
        for sock in sockets:
            sock.close()

    async def _stats(self, asked: dict[str, Any], sockets: list[socket.socket]) -> dict[str, Any]:
        return self._server.stats()

    async def _states(self, asked: dict[str, Any], sockets: list[socket.socket]) -> None:
        self._server.tell(asked)

    async def _origins(
        self, asked: dict[str, Any], sockets: list[socket.socket]
    ) -> list[dict[str, Any]]:
        return self._server.origins()

    async def _clear(self, asked: dict[str, Any], sockets: list[socket.socket]) -> Receipt:
        return await self._server.clear()

    async def _purge(self, asked: dict[str, Any], sockets: list[socket.socket]) -> Receipt:
        return await self._server.purge(**asked)

    async def _explain(self, asked: dict[str, Any], sockets: list[socket.socket]) -> dict[str, Any]:
        try:
            return self._server.explain(
                asked["method"], asked["url"], asked["fields"], asked["content"].encode("latin-1")
            )
        except ValueError as error:
            raise CallFailed(str(error)) from None

    async def _drain(self, asked: dict[str, Any], sockets: list[socket.socket]) -> None:
        await self._server.drain(asked["grace"])

    # -- purges that come from clients are for all workers

    def _relay(
        self, selection: dict[str, Any], done: Callable[[dict[str, Any] | None], None]
    ) -> None:
        """Purge everywhere; `done` gets the receipt, or None where that could not be."""
        task = asyncio.ensure_future(self._relayed(selection, done))
        self._relaying.add(task)
        task.add_done_callback(self._relaying.discard)

    async def _relayed(
        self, selection: dict[str, Any], done: Callable[[dict[str, Any] | None], None]
    ) -> None:
        try:
            done(await self._channel.call("purge", selection))
        except (ChannelClosed, CallFailed):
            done(None)


def described(configuration: Configuration, given: Any, environment: Any) -> dict[str, Any]:
    """What it takes to read the same configuration in another process."""
    file = configuration.file
    return {
        "given": given,
        "environment": environment,
        "file": None if file is None else [file.name, file.text],
        "found": configuration.found,
    }


def read_configuration(asked: dict[str, Any]) -> Configuration:
    """The worker's configuration: its share of what is bounded for all of them. SettingsError."""
    file = None if asked["file"] is None else ConfigurationFile(*asked["file"])
    configuration = configure(asked["given"], asked["environment"], file, asked["found"])
    return configuration.share(asked["workers"])
