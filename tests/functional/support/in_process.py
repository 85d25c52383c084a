"""A proxy in the test's own process, for what has to be put in its place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from caching_proxy.configuration import Configuration
from caching_proxy.proxy_server import listeners
from caching_proxy.proxy_server.names import Resolve, resolve
from caching_proxy.proxy_server.proxy_server import ProxyServer


@asynccontextmanager
async def in_process(
    configuration: Configuration, resolver: Resolve = resolve, proxy: ProxyServer | None = None
) -> AsyncIterator[int]:
    """Serves on a port of 127.0.0.1, which is given; `proxy` is for who wants to look into it."""
    proxy = proxy or ProxyServer(resolver)
    (sock,) = listeners.listen(["127.0.0.1"], 0, [], 16)
    port: int = sock.getsockname()[1]
    with sock:
        proxy.commit(proxy.prepare(configuration))
        await proxy.listen([listeners.Accepting(sock, 16)])
    try:
        yield port
    finally:
        await proxy.drain(0)
