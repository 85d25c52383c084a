"""Running a proxy with its control API until it is asked to end: reloads and upgrades meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import click

from caching_proxy import __version__
from caching_proxy.cache_manager.store_folder import find_server, store_folder
from caching_proxy.cli import event_loop, notify
from caching_proxy.cli.upgrade import Heritage, upgrade
from caching_proxy.configuration import DEFAULT, Configuration, Sources
from caching_proxy.control.api import ControlApi
from caching_proxy.declared import SettingsError
from caching_proxy.proxy_server import privileges
from caching_proxy.proxy_server.embedded_store import EmbeddedStore, Place
from caching_proxy.proxy_server.errors import ListenError
from caching_proxy.proxy_server.fleet import Alone, Fleet
from caching_proxy.proxy_server.workers import Supervisor
from caching_proxy.setting_kinds import format_seconds, format_size
from caching_proxy.settings import Origin, Settings

logger = logging.getLogger("caching_proxy")

_NEEDED = {"redis": "Redis", "embedded": "the embedded store"}
"""What a proxy is not ready without, by store."""
WATCH_INTERVAL = 1.0  # seconds between two looks at the configuration file

Hints = Callable[[list[str]], list[str]]  # the proxy's addresses -> lines printed after the banner


def serve(
    sources: Sources, configuration: Configuration, hints: Hints = lambda addresses: []
) -> None:
    """Serve until SIGTERM or SIGINT and then drain; ClickException when a port cannot be had."""
    logging.basicConfig(
        level=configuration.settings.log_level.upper(),
        format="caching-proxy: %(levelname)s: %(message)s",
    )
    for line in warnings(configuration):
        logger.warning(line)
    if sys.platform == "win32" and configuration.settings.workers != 1:
        raise click.ClickException("--workers: on Windows there is one: leave it out")
    try:
        event_loop.run(_Proxy(sources, configuration).run(hints))
    except (ListenError, privileges.PrivilegesError) as error:
        raise click.ClickException(str(error)) from None


class NotTakenOver(ValueError):
    """Why a configuration was not taken over: told in the log already."""


class _Proxy:
    """A proxy from its start to its end."""

    def __init__(self, sources: Sources, configuration: Configuration) -> None:
        self._sources = sources
        self._configuration = configuration
        self._heritage = Heritage.take()
        self._fleet: Fleet = (
            Alone(self._heritage.bound, self._heritage.orders)
            if configuration.settings.workers == 1
            else Supervisor(sources, self._heritage.bound, self._heritage.orders)
        )
        self._store = EmbeddedStore()
        self._control: ControlApi | None = None
        self._orders = event_loop.Orders()
        self._changing = asyncio.Lock()
        self._ending = False
        self._stopping: list[asyncio.Future[None]] = []

    async def run(self, hints: Hints) -> None:
        """Serve until told to end. Raises ListenError, PrivilegesError."""
        event_loop.heed_signals(self._orders, self._fleet.kill)
        settings = self._configuration.settings
        try:
            await self._start()
            addresses = self._fleet.sockets.addresses
            workers = await self._fleet.stats()
            lines = [banner(self._configuration, addresses, workers, self._control)]
            click.echo("\n".join([*lines, *hints(addresses)]))
            watches = self._watch(), self._store.watch(), notify.watchdog()
            async with _running(*watches):
                self._heritage.ready()
                self._fleet.sockets.own()
                notify.tell("READY=1", f"STATUS={lines[0]}")
                await self._heed_orders()
            async with self._changing:  # a reload under way ends first
                self._ending = True
            if self._control is not None:
                self._control.draining = True
            await self._fleet.drain(settings.grace)
        except (ListenError, privileges.PrivilegesError):
            await self._fleet.drain(0)
            self._heritage.leave_admin()
            raise
        finally:
            self._stop_soon(self._control)
            await asyncio.gather(*self._stopping)
            await self._store.leave()
            event_loop.ignore_signals()

    async def _start(self) -> None:
        settings = self._configuration.settings
        await self._store.take_over(_embedded(settings))
        await self._fleet.take_over(self._configuration)
        self._control = await self._new_control(settings, self._heritage)
        if self._control is None:
            self._heritage.leave_admin()
        if isinstance(self._fleet, Alone):  # a supervisor needs its rights to start workers anew
            privileges.drop(settings.user)

    async def _new_control(
        self, settings: Settings, heritage: Heritage | None = None
    ) -> ControlApi | None:
        """The control API, listening. Raises ListenError."""
        if not settings.admin:
            return None
        control = ControlApi(self, settings.admin_host, settings.admin_port, settings.admin_token)
        place = settings.admin_host, settings.admin_port
        await control.start([] if heritage is None else heritage.take_admin(*place))
        return control

    async def _heed_orders(self) -> None:
        while True:
            order = await self._orders.next()
            if order == event_loop.RELOAD:
                try:
                    await self.reload()
                except NotTakenOver:
                    pass  # told already
                except Exception:
                    logger.exception("a reload failed: the configuration before it may be gone")
            elif order == event_loop.END:
                notify.tell("STOPPING=1")
                return
            elif await self._upgrade():
                return

    async def _upgrade(self) -> bool:
        """Start the program anew on these sockets; whether it is ready and this one may end."""
        if os.getpid() == 1:  # its end would be that of all others
            logger.error("no upgrade of process 1: start a new container instead")
            return False
        admin = self._control.sockets if self._control is not None else []
        async with self._changing:
            ready = await upgrade(
                self._fleet.sockets.bound,
                admin,
                self._fleet.orders,
                self._configuration.settings.start_timeout,
                self._orders.ending,
            )
            if ready:
                self._ending = True
                self._fleet.sockets.leave()
                self._stop_soon(self._control)  # the new process speaks for the proxy now
                self._control = None
            return ready

    async def _watch(self) -> None:
        """Reload when the configuration file changes, where that is asked for."""
        seen = self._configuration.stamp
        while True:
            await asyncio.sleep(WATCH_INTERVAL)
            now = self._sources.stamp()
            if now != seen and self._configuration.settings.reload_on_change:
                self._orders.give(event_loop.RELOAD)
            seen = now

    # -- what the control API asks for

    async def reload(self) -> dict[str, Any]:
        """Take over the configuration as it is now, whole or not at all.

        NotTakenOver (a line a problem) where it is wrong; the old one stays then.
        """
        async with self._changing:
            if self._ending:
                raise NotTakenOver("the proxy is ending: nothing is reloaded any more")
            notify.tell("RELOADING=1", notify.monotonic())
            try:
                configuration = await asyncio.to_thread(self._sources.load)
                await self._take_over(configuration)
            except (SettingsError, ListenError) as error:
                for line in str(error).splitlines():
                    logger.error("%s", line)
                logger.error("the configuration is not taken over: the one before it stays")
                raise NotTakenOver(str(error)) from None
            finally:
                notify.tell("READY=1")
        lines = [*warnings(configuration), *self._fixed(configuration)]
        for line in lines:
            logger.warning(line)
        self._configuration = configuration
        logger.info("the configuration is taken over")
        return {"reloaded": True, "warnings": lines}

    async def _take_over(self, configuration: Configuration) -> None:
        """Raises ListenError; then nothing has changed."""
        old, new = self._configuration.settings, configuration.settings
        control = self._control
        admin = ("admin", "admin_host", "admin_port")
        moved = any(getattr(old, name) != getattr(new, name) for name in admin)
        if moved:
            control = await self._new_control(new)
        store = _embedded(new)
        if store is not None:  # first: the fleet looks for it
            await self._store.take_over(store)
        try:
            await self._fleet.take_over(configuration)
        except BaseException:
            await self._store.take_over(_embedded(old))
            if moved and control is not None:
                await control.stop()
            raise
        if moved:
            # The answer to the request that asked for this still has to leave.
            asyncio.get_running_loop().call_later(1, self._stop_soon, self._control)
        self._control = control
        if control is not None:
            control.token = new.admin_token
        await self._store.take_over(store)
        logging.getLogger().setLevel(new.log_level.upper())

    def _stop_soon(self, control: ControlApi | None) -> None:
        if control is not None:
            self._stopping.append(asyncio.ensure_future(control.stop()))

    def _fixed(self, configuration: Configuration) -> list[str]:
        """One line for each setting that a running proxy cannot change."""
        old, new = self._configuration.settings, configuration.settings
        fixed = ["user"] if old.user != new.user else []
        if (old.workers == 1) != (new.workers == 1):
            fixed.append("workers")
        lines = [f"{name} changes at the next start or upgrade (SIGUSR2)" for name in fixed]
        if old.embedded_memory != new.embedded_memory:
            lines.append("embedded_memory changes once no proxy uses the store any more")
        return lines

    async def drain(self) -> dict[str, Any]:
        """Begin to end; the receipt tells how many workers that reaches, and their connections."""
        if self._control is not None:
            self._control.draining = True
        try:
            stats = await self._fleet.stats()
        finally:
            self._orders.give(event_loop.END)
        workers = stats.get("workers", 1)
        return {"draining": True, "workers": workers, "connections": stats.get("connections", 0)}

    @property
    def serving(self) -> bool:
        """Whether anybody accepts connections."""
        return self._fleet.serving

    async def missing(self) -> str | None:
        """What it cannot do without and does not have."""
        store = self._configuration.settings.store
        if store not in _NEEDED:
            return None
        stats = await self.stats()
        connected = stats["redis_connected"] == stats.get("workers", 1)
        return None if connected else f"{_NEEDED[store]} does not answer"

    async def stats(self) -> dict[str, Any]:
        """Counters by name, of all workers together."""
        return await self._fleet.stats()

    async def origins(self) -> list[dict[str, Any]]:
        """What there is to tell of each origin and its servers."""
        return await self._fleet.origins()

    async def order(self, server: str, order: str, origin: str | None) -> dict[str, str]:
        """Have a server ready, drained or disabled. Raises ValueError (one line)."""
        async with self._changing:  # a successor that is starting would not hear of it
            if self._ending:
                raise ValueError("the proxy is ending: ask the one that has taken over, if any")
            return await self._fleet.order(server, order, origin)

    async def clear(self) -> Any:
        """Drop every stored response."""
        return await self._fleet.clear()

    async def purge(self, selection: Any) -> Any:
        """Drop what is selected, or make it stale."""
        return await self._fleet.purge(selection)

    async def explain(self, method: str, url: str, fields: Any, content: bytes) -> dict[str, Any]:
        """How a request would be answered now. Raises ValueError (one line)."""
        return await self._fleet.explain(method, url, fields, content)


@contextlib.asynccontextmanager
async def _running(*coroutines: Any) -> AsyncIterator[None]:
    """A task each, for as long as the block."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _embedded(settings: Settings) -> Place | None:
    """The embedded store that the settings ask for."""
    if settings.store != "embedded":
        return None
    server = find_server()
    assert server is not None, "the settings would not have been accepted"
    folder = store_folder(settings.data_dir, settings.user)
    return Place(server, folder, settings.embedded_memory, settings.user)


def banner(
    configuration: Configuration,
    addresses: list[str],
    stats: dict[str, Any],
    control: ControlApi | None,
) -> str:
    """The one line that tells where the proxy is and what it was set up for."""
    settings = configuration.settings
    tiers = f"memory {format_size(settings.memory)}" if settings.memory else "no cache"
    objects = f"objects up to {format_size(settings.max_object)}"
    body = "of any size" if settings.max_body is None else f"up to {format_size(settings.max_body)}"
    origins = [
        _named(origin) if name == DEFAULT else f"{name} {_named(origin)}"
        for name, origin in configuration.origins.items()
    ]
    parts = [
        f"caching-proxy {__version__} on {', '.join(addresses)}",
        f"origin {', '.join(origins)}",
        *([f"{stats['workers']} workers"] if "workers" in stats else []),
        f"{tiers}, {objects}" if settings.memory else tiers,
        f"ttl {format_seconds(settings.cache_ttl)} s",
        f"up to {stats['connections_limit']} connections",
        f"heads up to {format_size(settings.max_head)}, request bodies {body}",
        f"admin {control.address}" if control is not None else "no admin",
    ]
    return "; ".join(parts)


def _named(origin: Origin) -> str:
    """An origin, and how many servers answer for it."""
    if not origin.load_balance:
        return origin.url
    number = len(origin.servers)
    return f"{origin.url} ({number} server{'s' * (number > 1)}, {origin.strategy})"


def _vain(origin: Origin) -> list[str]:
    """One line for each setting of an origin that another one turns off."""
    own = {name for name in origin.model_fields_set if getattr(origin, name) != _default(name)}
    http = {"health_path", "health_method", "health_host", "health_status", "health_body"} & own
    turned_off = {
        "hash_by": origin.strategy != "consistent-hash",
        "sticky_cookie": origin.strategy != "sticky-cookie",
        "hedge": origin.retries == 0 or not origin.load_balance,
        "circuit_latency": origin.circuit_error_rate == 0,
        **dict.fromkeys(http, origin.health_check != "http"),
    }
    needs = {
        "hash_by": "--strategy consistent-hash",
        "sticky_cookie": "--strategy sticky-cookie",
        "hedge": "--load-balance and --retries",
        "circuit_latency": "--circuit-error-rate above 0",
        **dict.fromkeys(http, "--health-check http"),
    }
    return [
        f"--{name.replace('_', '-')}: it does nothing without {needs[name]}"
        for name in sorted(own)
        if turned_off.get(name)
    ]


def _default(name: str) -> Any:
    return Origin.declaration(name).default


def warnings(configuration: Configuration) -> list[str]:
    """One line for everything that was asked for and is not so, or is risky."""
    settings = configuration.settings
    lines = configuration.warnings()
    for name, origin in configuration.origins.items():
        if origin.servers and not origin.load_balance:
            place = "--servers" if name == DEFAULT else f"origins.{name}.servers"
            lines.append(f"{place}: without --load-balance the origin answers every request itself")
        lines += [f"{name}: {line}" if name != DEFAULT else line for line in _vain(origin)]
        if origin.origin_insecure:
            place = "--origin-insecure" if name == DEFAULT else f"origins.{name}.insecure"
            lines.append(f"{place}: the origin's certificate is not verified")
    if settings.admin and not _is_loopback(settings.admin_host) and settings.admin_token is None:
        lines.append(
            f"--admin-host {settings.admin_host}: other machines may reach the control API and"
            " clear the cache: set --admin-token"
        )
    return lines


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
