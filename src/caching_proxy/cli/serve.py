"""Running a proxy with its control API until it is asked to end."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import click

from caching_proxy import __version__
from caching_proxy.cli import event_loop
from caching_proxy.control.api import ControlApi
from caching_proxy.proxy_server.errors import ListenError
from caching_proxy.proxy_server.proxy_server import ProxyServer
from caching_proxy.setting_kinds import format_seconds, format_size
from caching_proxy.settings import Settings

logger = logging.getLogger("caching_proxy")


Hints = Callable[[list[str]], list[str]]  # the proxy's addresses -> lines printed after the banner


def serve(settings: Settings, hints: Hints = lambda addresses: []) -> None:
    """Serve until SIGTERM or SIGINT and then drain; ClickException when a port cannot be had."""
    logging.basicConfig(
        level=settings.log_level.upper(), format="caching-proxy: %(levelname)s: %(message)s"
    )
    for line in warnings(settings):
        logger.warning(line)
    try:
        event_loop.run(_serve(settings, hints))
    except ListenError as error:
        raise click.ClickException(str(error)) from None


async def _serve(settings: Settings, hints: Hints) -> None:
    ending = event_loop.end_requested()
    proxy = ProxyServer(settings)
    await proxy.start()
    try:
        async with _control(settings, proxy) as control:
            click.echo("\n".join([banner(settings, proxy, control), *hints(proxy.addresses)]))
            await ending.wait()
            if control is not None:
                control.draining = True
            await proxy.drain(settings.grace)
    except ListenError:
        await proxy.drain(0)
        raise


@asynccontextmanager
async def _control(settings: Settings, proxy: ProxyServer) -> AsyncIterator[ControlApi | None]:
    if not settings.admin:
        yield None
        return
    control = ControlApi(proxy, settings.admin_host, settings.admin_port)
    await control.start()
    try:
        yield control
    finally:
        await control.stop()


def banner(settings: Settings, proxy: ProxyServer, control: ControlApi | None) -> str:
    """The one line that tells where the proxy is and what it was set up for."""
    tiers = f"memory {format_size(settings.memory)}" if settings.memory else "no cache"
    objects = f"objects up to {format_size(settings.max_object)}"
    body = "of any size" if settings.max_body is None else f"up to {format_size(settings.max_body)}"
    parts = [
        f"caching-proxy {__version__} on {', '.join(proxy.addresses)}",
        f"origin {settings.origin}",
        f"{tiers}, {objects}" if settings.memory else tiers,
        f"ttl {format_seconds(settings.cache_ttl)} s",
        f"up to {proxy.stats()['connections_limit']} connections",
        f"heads up to {format_size(settings.max_head)}, request bodies {body}",
        f"admin {control.address}" if control is not None else "no admin",
    ]
    return "; ".join(parts)


def warnings(settings: Settings) -> list[str]:
    """One line for everything that was asked for and is not so, or is risky."""
    given = settings.model_fields_set
    lines = []
    if given & {"redis_host", "redis_port", "use_cluster"}:
        lines.append("Redis is not used by this version: responses are kept in memory alone")
    if given & {"load_balance", "servers", "strategy"}:
        lines.append("load balancing is not in this version: the origin answers every request")
    if settings.origin_insecure:
        lines.append("--origin-insecure: the origin's certificate is not verified")
    if settings.admin and not _is_loopback(settings.admin_host):
        lines.append(
            f"--admin-host {settings.admin_host}: other machines may reach the control API and"
            " clear the cache"
        )
    return lines


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
